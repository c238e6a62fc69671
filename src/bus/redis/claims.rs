use std::time::Duration;

use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::Expiration;

use super::{Connections, RecordsError, keys};

/// Agrees with other replicas on who does something that is to be done once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Claims {
    connections: Connections,
    /// Names this process.
    me: String,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This replica, until the claim ends; asking again makes it longer.
    Mine,
    /// Another one, which has not said yet that it is done.
    Held,
    /// It has been done.
    Done,
}

impl Claims {
    pub(in crate::bus) fn new(connections: Connections) -> Self {
        Self { connections, me: format!("{:016x}", rand::random::<u64>()) }
    }

    /// Takes on what has this name, for so long, unless another replica has.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn claim(&self, name: &str, holds: Duration) -> Result<Claim, RecordsError> {
        let commands = &self.connections.commands;
        if !commands.is_connected() {
            return Err(RecordsError::Away);
        }
        let args = vec![self.me.clone(), holds.as_millis().to_string()];
        let once = &self.connections.scripts.once;
        let answer: String = once.evalsha_with_reload(commands, keys::claim(name), args).await?;
        Ok(match answer.as_str() {
            "mine" => Claim::Mine,
            "done" => Claim::Done,
            _ => Claim::Held,
        })
    }

    /// Says that it has been done; that is remembered for so long.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn finish(&self, name: &str, remembered: Duration) -> Result<(), RecordsError> {
        let expires = Some(Expiration::PX(i64::try_from(remembered.as_millis()).unwrap_or(i64::MAX)));
        let commands = &self.connections.commands;
        Ok(commands.set::<(), _, _>(keys::claim(name), "done", expires, None, false).await?)
    }
}
