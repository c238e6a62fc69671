use std::pin::Pin;
use std::sync::Mutex;
use std::task::Context;

use futures_util::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::*;

/// A connection that takes each write whole, or makes it wait, as [`Outgoing`] does; and keeps what it was given.
struct Recorder {
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Whether each next call has to wait.
    waits: VecDeque<bool>,
}

impl Recorder {
    fn has_to_wait(&mut self, cx: &Context<'_>) -> bool {
        let waits = self.waits.pop_front().unwrap_or(false);
        if waits {
            cx.waker().wake_by_ref();
        }
        waits
    }
}

impl AsyncRead for Recorder {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.lock().unwrap().push(bytes.to_vec());
        if self.has_to_wait(cx) { Poll::Pending } else { Poll::Ready(Ok(bytes.len())) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_to_wait(cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Debug)]
enum Said {
    Text(usize),
    Binary(usize),
    Ping(usize),
}

/// What is said, and whether it is flushed at once.
fn said() -> impl Strategy<Value = (Said, bool)> {
    let said = prop_oneof![
        4 => (0..2000_usize).prop_map(Said::Text),
        2 => (0..200_000_usize).prop_map(Said::Text),
        1 => (0..2000_usize).prop_map(Said::Binary),
        2 => (0..=125_usize).prop_map(Said::Ping),
    ];
    (said, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What [`Outgoing`] relies on: the engine's WebSocket hands over whole frames, however it is fed and made to wait.
    #[test]
    fn the_engines_websocket_writes_whole_frames(
        all in vec(said(), 1..20),
        waits in vec(any::<bool>(), 0..60),
        buffer in prop_oneof![Just(None), (0..300_000_usize).prop_map(Some)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let writes = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let recorder = Recorder { writes: writes.clone(), waits: waits.into() };
        let config = buffer.map(|bytes| WebSocketConfig::default().write_buffer_size(bytes));
        let payload = |length| "x".repeat(length);
        runtime.block_on(async {
            let mut socket = WebSocketStream::from_raw_socket(recorder, Role::Server, config).await;
            for (said, flushed) in all {
                let message = match said {
                    Said::Text(length) => Message::text(payload(length)),
                    Said::Binary(length) => Message::binary(payload(length)),
                    Said::Ping(length) => Message::Ping(payload(length).into()),
                };
                if flushed {
                    socket.send(message).await.unwrap();
                } else {
                    socket.feed(message).await.unwrap();
                }
            }
            // Nobody answers, so the closing handshake does not end; its frame goes out.
            let _ = socket.send(Message::Close(None)).await;
            let _ = socket.flush().await;
        });
        let writes = writes.lock().unwrap();
        for bytes in writes.iter() {
            split(bytes);
        }
        let last = writes.last().and_then(|bytes| split(bytes).pop()).unwrap();
        prop_assert!(Frame::split(&last).unwrap().0.is_close());
    }
}
