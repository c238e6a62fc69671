use std::sync::Arc;

use socketioxide::SocketIo;
use socketioxide::operators::BroadcastOperators;

use super::who::user_room;
use super::{Edge, Rooming, Shared};

/// The way to everybody who is one user. Cheap to clone.
#[derive(Clone)]
pub struct People {
    io: SocketIo<Rooming>,
    shared: Arc<Shared>,
}

impl Edge {
    /// The way to users, for the HTTP edge.
    pub fn people(&self) -> People {
        People { io: self.io.clone(), shared: self.shared.clone() }
    }
}

impl People {
    /// Ends the connections of a user, with a Socket.IO disconnect: JS clients do not come back by themselves. Returns
    /// how many there were here; other replicas are told.
    pub async fn disconnect(&self, user: &str) -> usize {
        // None once the server is closing.
        let Some(everybody) = self.everybody(user) else { return 0 };
        let here = everybody.sockets();
        let count = here.len();
        for socket in here {
            // On a full queue it closes nothing.
            if socket.clone().disconnect().is_err() {
                self.shared.close(&socket);
            }
        }
        // Nobody is left here: this is for the others. It fails only where a client has gone meanwhile.
        if let Some(others) = self.everybody(user) {
            others.disconnect().await.ok();
        }
        count
    }

    fn everybody(&self, user: &str) -> Option<BroadcastOperators<Rooming>> {
        Some(self.io.of("/")?.within(user_room(user)))
    }
}
