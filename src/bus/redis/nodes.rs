use std::time::Duration;

use fred::error::Error;

use super::{Connections, keys};

/// The list of live replicas in Redis.
#[derive(Clone, Debug)]
pub(in crate::bus) struct Presence {
    connections: Connections,
}

impl Presence {
    /// How often a replica has to say that it lives.
    pub(in crate::bus) const EVERY: Duration = Duration::from_secs(1);

    /// How long what a replica says of itself holds: in Redis, and here where Redis is away.
    pub(in crate::bus) const HOLDS: Duration = Duration::from_secs(5);

    pub(in crate::bus) fn new(connections: Connections) -> Self {
        Self { connections }
    }

    /// Says what this replica says of itself, and returns what all live ones do.
    pub(in crate::bus) async fn say(&self, id: &str, node: &str) -> Result<Vec<String>, Error> {
        let scripts = &self.connections.scripts;
        let args = vec![id.to_owned(), node.to_owned(), Self::HOLDS.as_millis().to_string()];
        scripts.nodes.evalsha_with_reload(&self.connections.commands, vec![keys::NODES, keys::SEEN], args).await
    }

    /// What all live replicas say of themselves.
    pub(in crate::bus) async fn list(&self) -> Result<Vec<String>, Error> {
        self.say("", "").await
    }

    /// This replica goes.
    pub(in crate::bus) async fn leave(&self, id: &str) {
        self.say(id, "").await.ok();
    }
}
