use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::linger::Linger;

/// Connections that are told at a time that there are too many. Those beyond are just closed.
const AT_A_TIME: usize = 256;

/// How long one may take for that.
const PATIENCE: Duration = Duration::from_secs(1);

const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 92\r\nRetry-After: 5\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n\
    {\"code\":\"unavailable\",\"message\":\"every connection of this server is taken: try again later\"}";

/// Answers connections for which there is no room, without reading what they want.
#[derive(Clone, Debug)]
pub(super) struct TurnedAway(Arc<Semaphore>);

impl Default for TurnedAway {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl TurnedAway {
    /// Tells one, under `tasks`.
    pub(super) fn tell(&self, stream: TcpStream, tasks: &TaskTracker) {
        let Ok(place) = self.0.clone().try_acquire_owned() else { return };
        tasks.spawn(async move {
            let _place = place;
            tokio::time::timeout(PATIENCE, answer(stream)).await.ok();
        });
    }
}

/// Whatever fails, the peer has gone.
async fn answer(mut stream: TcpStream) -> Option<()> {
    stream.write_all(ANSWER).await.ok()?;
    stream.shutdown().await.ok()?;
    let mut linger = Linger::new();
    poll_fn(|cx| linger.poll(&stream, cx)).await;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
