use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Closer, Connection};
use crate::metrics::Metrics;

/// How long a client may take to send the headers of a request: who trickles them holds a connection for nothing.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after a failed accept that is not the peer's fault: out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on; port 0 takes any free one.
    pub address: SocketAddr,
}

/// A bound socket that accepts connections and speaks HTTP/1.1 on them.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address is not this machine's, is taken, or is not allowed.
    pub async fn bind(settings: &Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` on each connection until `stop`; then accepts no more and lets requests in progress finish.
    /// Connections run under `tasks`; one that has become a WebSocket belongs to whoever upgraded it.
    pub async fn serve(self, router: Router, tasks: TaskTracker, metrics: Arc<Metrics>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // A tick is small and must not wait for another to share its packet. A failure means that the
                    // peer has gone already; reading will tell.
                    stream.set_nodelay(true).ok();
                    tasks.spawn(converse(stream, peer, router.clone(), stop.clone()));
                }
                Err(error) => {
                    metrics.accept_errors.inc();
                    let peers_fault = matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionRefused
                    );
                    if !peers_fault {
                        tracing::error!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Speaks HTTP on one connection until it ends or is upgraded.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let (stream, closer) = Connection::new(stream);
    let service = TowerToHyperService::new(
        router.layer(axum::Extension::<Closer>(closer)).layer(axum::Extension(ConnectInfo(peer))),
    );
    // HTTP/1 only: an upgraded connection is one client's alone.
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
