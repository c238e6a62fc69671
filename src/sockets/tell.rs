use std::borrow::Cow;
use std::sync::Arc;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketioxide_redis::drivers::Driver;
use tokio_util::sync::CancellationToken;

use super::{CHANNEL_PREFIX, Client, ERRANDS_IN_FLIGHT, Errand, Messages, Rooming, end_polling};
use crate::fanout::Sent;

/// Something that is said to a room, as one replica tells it to the others: JSON.
#[derive(Debug, Deserialize, Serialize)]
struct Told<'a> {
    /// The replica that tells it.
    server: Cow<'a, str>,
    room: Cow<'a, str>,
    event: Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Messages {
    /// Sends what is said here, and hands on what comes from other replicas, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (across, expiries, shared) = (self.across.clone(), self.expiries.clone(), self.shared.clone());
        let (absent, io) = (self.absent.clone(), self.io.clone());
        let run = async {
            let channel = format!("{CHANNEL_PREFIX}-told");
            // Cannot fail: see `Across`.
            let Ok(mut heard) = across.subscribe(channel.clone(), ERRANDS_IN_FLIGHT).await;
            loop {
                tokio::select! {
                    errand = self.errands.recv() => match errand {
                        Some(Errand::Tell { room, event, body }) => {
                            self.deliver(&room, event, &body);
                            let server = self.shared.server_id.as_str().into();
                            let told = Told { server, room: room.into(), event: event.into(), body: &body };
                            if let Ok(json) = serde_json::to_vec(&told) {
                                let Ok(()) = across.publish(channel.clone(), json).await;
                            }
                        }
                        Some(Errand::End { session, protocol }) => {
                            end_polling(&self.router, &self.path, &session, protocol).await;
                        }
                        None => return,
                    },
                    Some((_, json)) = heard.next() => match serde_json::from_slice::<Told<'_>>(&json) {
                        // What was said here was delivered here.
                        Ok(told) if told.server == self.shared.server_id => {}
                        Ok(told) => self.deliver(&told.room, &told.event, told.body),
                        Err(error) => {
                            self.shared.metrics.messages_lost.inc();
                            tracing::warn!(%error, "a message of another replica cannot be read");
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = across.run(stop.clone()) => {}
            () = run => {}
            () = expiries.watch(|socket| shared.close(socket)) => {}
            () = absent.watch(&io, &shared) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Sends an event to everybody in a room on this replica. One at a time, and not by the engine's broadcast: so each
    /// client's own bound holds.
    fn deliver(&self, room: &str, event: &str, body: &RawValue) {
        // None once the server is closing.
        let Some(namespace) = self.io.of("/") else { return };
        for socket in namespace.within(room.to_owned()).local().sockets() {
            let client = socket.extensions.get::<Arc<Client<Rooming>>>();
            if let Some(line) = client.and_then(|client| client.line())
                && line.pass_on(event, body) == Sent::Dropped
            {
                self.shared.metrics.messages_dropped.inc();
            }
        }
    }
}
