use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_KEY};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::TimedBody;
use super::connection::{Closer, Connection, Limits};
use super::turned_away::TurnedAway;
use crate::metrics::Metrics;

/// Connections that may wait to be accepted: after a restart everybody comes at once. The kernel may allow fewer
/// (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How long to wait after a failed accept that is not the peer's fault: out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the listener is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on; port 0 takes any free one.
    pub address: SocketAddr,
    /// What each connection may use.
    pub limits: Limits,
    /// How many connections there may be; none for any number.
    pub max_connections: Option<u32>,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
}

/// How connections end from here.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// No more of them, and no more requests on those that there are.
    pub stop: CancellationToken,
    /// Not even the end of those requests: a poll of a session in no namespace waits for nothing.
    pub cut: CancellationToken,
}

/// A bound socket that accepts connections and speaks HTTP/1.1 on them.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// The address is not this machine's, is taken, or is not allowed.
    pub fn bind(settings: &Settings) -> io::Result<Self> {
        let socket = if settings.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a restarted server gets its port back at once.
        socket.set_reuseaddr(true)?;
        socket.bind(settings.address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, settings: settings.clone() })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` on each connection until `ends.stop`; then accepts no more and lets requests in progress finish,
    /// until `ends.cut`. Connections run under `tasks`; one that has become a WebSocket belongs to whoever upgraded it.
    pub async fn serve(self, router: Router, tasks: TaskTracker, metrics: Arc<Metrics>, ends: Ends) {
        let turned_away = TurnedAway::default();
        let most = self.settings.max_connections.map(i64::from);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = ends.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) if most.is_some_and(|most| metrics.tcp_connections.get() >= most) => {
                    metrics.limited_tcp_connections.inc();
                    turned_away.tell(stream, &tasks);
                }
                Ok((stream, peer)) => {
                    // A tick is small and must not wait for another to share its packet. A failure means that the
                    // peer has gone already; reading will tell.
                    stream.set_nodelay(true).ok();
                    let (stream, closer) = Connection::new(stream, self.settings.limits, metrics.clone());
                    let served = Served { router: router.clone(), metrics: metrics.clone(), closer, peer };
                    tasks.spawn(converse(stream, served, self.settings.clone(), ends.clone()));
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

/// What the requests of one connection are answered with.
struct Served {
    router: Router,
    metrics: Arc<Metrics>,
    closer: Closer,
    peer: SocketAddr,
}

/// Speaks HTTP on one connection until it ends or is upgraded.
async fn converse(stream: Connection, served: Served, settings: Settings, ends: Ends) {
    let Served { router, metrics, closer, peer } = served;
    let router = TowerToHyperService::new(router);
    let counted = metrics.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        // Put here by hand: a layer would build every route anew for each connection.
        request.extensions_mut().insert(closer.clone());
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(request, &router, &closer, &counted, settings.body_timeout)
    });
    // HTTP/1 only: an upgraded connection is one client's alone. Hyper's bound is for the time between two requests and
    // the head after it; the connection looks at the head alone.
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout.saturating_add(settings.limits.header_timeout))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = ends.stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            tokio::select! {
                ended = conversation => ended,
                () = ends.cut.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        // A head that is late ends the connection itself, and sooner.
        if error.is_timeout() {
            metrics.idle_timeouts.inc();
        }
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Answers one request, and keeps the connection's stage when it is one for WebSocket frames.
///
/// Not an async function: what comes before the future is done before hyper reads on.
fn answer(
    request: Request<Incoming>,
    router: &TowerToHyperService<Router>,
    closer: &Closer,
    metrics: &Arc<Metrics>,
    body_timeout: Duration,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    closer.begin_request();
    // Other upgrades that clients offer (to h2c, without the key) are never taken.
    let handshake =
        request.extensions().get::<OnUpgrade>().is_some() && request.headers().contains_key(SEC_WEBSOCKET_KEY);
    let answered = if handshake && (!request.body().is_end_stream() || !closer.stage().begin_frames()) {
        // A body would come before the frames.
        metrics.protocol_errors.inc();
        None
    } else if request.body().is_end_stream() {
        Some((router.call(request.map(axum::body::Body::new)), None))
    } else {
        let (parts, body) = request.into_parts();
        let (body, late) = TimedBody::new(body, body_timeout);
        Some((router.call(Request::from_parts(parts, axum::body::Body::new(body))), Some(late)))
    };
    let (closer, metrics) = (closer.clone(), metrics.clone());
    async move {
        let Some((answered, late)) = answered else {
            let why =
                "a request for a WebSocket has no body, and its client waits for the answer before it sends more\n";
            return Ok((StatusCode::BAD_REQUEST, [(CONNECTION, "close")], why).into_response());
        };
        let response = answered.await?;
        closer.end_request();
        if handshake && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            closer.refuse_frames();
        }
        if late.is_some_and(|late| late.is_late()) {
            metrics.body_timeouts.inc();
            return Ok(late_body());
        }
        Ok(response)
    }
}

/// Whatever was made of a part of a body.
fn late_body() -> Response {
    let body = "{\"code\":\"unavailable\",\"message\":\"the body of the request took too long: try again\"}";
    let headers = [(CONNECTION, "close"), (CONTENT_TYPE, "application/json")];
    (StatusCode::REQUEST_TIMEOUT, headers, body).into_response()
}
