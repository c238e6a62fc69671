use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use socketioxide::ProtocolVersion;
use tokio::sync::Notify;

/// Polling sessions that have to end, which handlers cannot wait for: they have no connection that could be closed. Bounded
/// by how many sessions there are.
#[derive(Debug, Default)]
pub(super) struct Ends {
    sessions: Mutex<HashMap<String, ProtocolVersion>>,
    notify: Notify,
}

impl Ends {
    /// Has a session ended soon.
    pub(super) fn add(&self, session: String, protocol: ProtocolVersion) {
        self.lock().insert(session, protocol);
        self.notify.notify_one();
    }

    /// Waits until there are some, and takes them.
    pub(super) async fn next(&self) -> HashMap<String, ProtocolVersion> {
        loop {
            let sessions = std::mem::take(&mut *self.lock());
            if !sessions.is_empty() {
                return sessions;
            }
            self.notify.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ProtocolVersion>> {
        self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Ends a polling session as its client would: with the packet that says so. The engine offers no other way.
pub(super) async fn end_polling(
    router: &TowerToHyperService<Router>,
    path: &str,
    session: &str,
    protocol: ProtocolVersion,
) {
    let (version, close) = match protocol {
        ProtocolVersion::V4 => (3, "1:1"),
        ProtocolVersion::V5 => (4, "1"),
    };
    let uri = format!("{path}/?EIO={version}&transport=polling&sid={session}");
    let request = axum::http::Request::post(uri).body(Body::from(close));
    // Only an address could be wrong, and this one is ours. Who is not there any more has ended already.
    if let Ok(request) = request {
        router.call(request).await.map(drop).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_session_is_ended_however_many_there_are() {
        let ends = Ends::default();
        for session in 0..10_000 {
            ends.add(session.to_string(), ProtocolVersion::V5);
        }
        ends.add("7".to_owned(), ProtocolVersion::V5);
        assert_eq!(ends.next().await.len(), 10_000);
        ends.add("late".to_owned(), ProtocolVersion::V4);
        assert!(ends.next().await.contains_key("late"));
    }
}
