mod across;
mod client;
mod event;
mod expiry;
mod people;
mod who;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_util::FutureExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::value::RawValue;
use socketioxide::adapter::{Adapter, Emitter};
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use socketioxide::{BroadcastError, ParserConfig, ProtocolVersion, SocketIo, TransportType};

use socketioxide_redis::{CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::fanout::{Handle, Outlet};
use crate::metrics::Metrics;
use crate::net::{Closer, Upgrades};
use across::Across;
use client::Client;
use event::Event;
use expiry::Expiries;

/// What knows the rooms of this replica, and carries what is rare (never ticks) to the others.
type Rooming = CustomRedisAdapter<Emitter, Across>;

/// What the adapter's channels in Redis begin with: another than that of Node's adapter, whose messages are different.
const CHANNEL_PREFIX: &str = "tickcast";

/// Errands that may wait, such as a message to be sent across; a request that finds no room is answered with
/// `unavailable`.
const ERRANDS_IN_FLIGHT: usize = 1024;

/// Packets that may wait for one client; then ticks are dropped for it, and counted.
const QUEUE_PACKETS: usize = 1024;

/// Attachments that one packet may announce. Nothing here takes any: this only lets a client be told so.
const MAX_ATTACHMENTS: usize = 16;

/// What a client is told whose credentials are no JSON, before its connection ends.
const BROKEN_AUTH: &str = "invalid_payload";

/// What the Socket.IO edge is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of the endpoint, such as `/socket.io`.
    pub path: String,
    /// How often each client is pinged.
    pub ping_interval: Duration,
    /// How long a client may take to answer.
    pub ping_timeout: Duration,
    /// The largest message, frame or polling body, in bytes.
    pub max_payload_bytes: u64,
    /// How long the attachments of a binary packet may take. Looked at when one comes; `net` ends a WebSocket on which
    /// none does.
    pub attachments_timeout: Duration,
    /// This replica's id.
    pub server_id: String,
    /// True if everybody is in the room `chat` from the start.
    pub chat_auto_join: bool,
    /// How to reach the Redis that joins the replicas; none for one that is alone.
    pub redis: Option<fred::types::Builder>,
}

/// The Socket.IO server.
pub struct Edge {
    io: SocketIo<Rooming>,
    router: Router,
    shared: Arc<Shared>,
}

/// Carries what is said to rooms, on this replica and across.
pub struct Messages {
    io: SocketIo<Rooming>,
    across: Across,
    router: TowerToHyperService<Router>,
    path: String,
    errands: mpsc::Receiver<Errand>,
    expiries: Arc<Expiries<Rooming>>,
    shared: Arc<Shared>,
}

/// What handlers want done that they cannot wait for.
enum Errand {
    /// An event for everybody in a room, on every replica.
    Tell { room: String, event: &'static str, body: Box<RawValue> },
    /// The end of a polling session: it has no connection that could be closed.
    End { session: String, protocol: ProtocolVersion },
}

/// What every client's handlers share.
struct Shared {
    fanout: Handle,
    auth: Arc<Auth>,
    metrics: Arc<Metrics>,
    clock: Clock,
    upgrades: Upgrades,
    server_id: String,
    chat_auto_join: bool,
    errands: mpsc::Sender<Errand>,
}

impl Edge {
    /// A server that hands what clients ask for to the fan-out, and what has to run for its messages.
    ///
    /// # Errors
    /// The address of Redis cannot be used at all. One that does not answer is waited for.
    pub async fn new(
        settings: &Settings,
        fanout: Handle,
        auth: Arc<Auth>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Messages), fred::error::Error> {
        let max_payload = usize::try_from(settings.max_payload_bytes).unwrap_or(usize::MAX);
        let parser = ParserConfig::common()
            .max_incoming_binaries(MAX_ATTACHMENTS)
            .max_incoming_binary_buf_size(max_payload)
            .packet_completion_timeout(settings.attachments_timeout);
        let across = match settings.redis.clone() {
            Some(redis) => Across::through(redis, metrics.clone())?,
            None => Across::nowhere(metrics.clone()),
        };
        let adapter = RedisAdapterConfig::new().with_prefix(CHANNEL_PREFIX);
        let (service, io) = SocketIo::builder()
            .with_adapter::<Rooming>(RedisAdapterCtr::new_with_driver(across.clone(), adapter))
            .req_path(settings.path.clone())
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .max_payload(settings.max_payload_bytes)
            .ws_max_message_size(max_payload)
            .ws_max_frame_size(max_payload)
            .max_buffer_size(QUEUE_PACKETS)
            .with_parser(parser)
            .build_svc();
        let upgrades = Upgrades::default();
        let (sender, errands) = mpsc::channel(ERRANDS_IN_FLIGHT);
        let shared = Arc::new(Shared {
            fanout,
            auth,
            metrics,
            clock,
            upgrades: upgrades.clone(),
            server_id: settings.server_id.clone(),
            chat_auto_join: settings.chat_auto_join,
            errands: sender,
        });
        let expiries = Arc::new(Expiries::new(&shared.auth, shared.clock.clone()));
        serve_namespace(&io, &shared, &expiries).await;

        let path = &settings.path;
        let router = Router::new()
            .route_service(path, service.clone())
            .route_service(&format!("{path}/"), service.clone())
            .route_service(&format!("{path}/{{*rest}}"), service)
            .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .layer(middleware::from_fn(move |request, next| note_upgrade(upgrades.clone(), request, next)));
        let inside = TowerToHyperService::new(router.clone());
        let messages = Messages {
            io: io.clone(),
            across,
            router: inside,
            path: path.clone(),
            errands,
            expiries,
            shared: shared.clone(),
        };
        Ok((Self { io, router, shared }, messages))
    }

    /// The routes of the endpoint.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The way to every client in a room, for the fan-out.
    pub fn outlet(&self) -> impl Outlet + use<> {
        Rooms { io: self.io.clone() }
    }

    /// Closes every client's transport, so that clients come back by themselves. Does not end while one is stuck.
    pub async fn close(&self) {
        self.io.close().await;
    }
}

impl Messages {
    /// Sends what is said here, and hands on what comes from other replicas, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let run = async {
            while let Some(errand) = self.errands.recv().await {
                match errand {
                    Errand::Tell { room, event, body } => {
                        // None once the server is closing.
                        let Some(namespace) = self.io.of("/") else { return };
                        if let Err(BroadcastError::Socket(full)) = namespace.within(room).emit(event, &*body).await {
                            tracing::debug!(full = full.len(), event, "clients had no room for a message");
                        }
                    }
                    Errand::End { session, protocol } => {
                        end_polling(&self.router, &self.path, &session, protocol).await
                    }
                }
            }
        };
        tokio::select! {
            () = self.across.run(stop.clone()) => {}
            () = run => {}
            () = self.expiries.watch(|socket| self.shared.close(socket)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Ends a polling session as its client would: with the packet that says so. The engine offers no other way.
async fn end_polling(router: &TowerToHyperService<Router>, path: &str, session: &str, protocol: ProtocolVersion) {
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

/// The room of people that has this name. The server's own rooms have other names, whatever people call theirs.
fn room_of(name: &str) -> String {
    format!("room:{name}")
}

/// The handlers of the default namespace.
///
/// They are registered before the connection stands (in the middleware), not after (in the connect handler): a client
/// may send its first event as soon as it has read that it is connected, and one that finds no handler is lost.
async fn serve_namespace(io: &SocketIo<Rooming>, shared: &Arc<Shared>, expiries: &Arc<Expiries<Rooming>>) {
    let prepare = {
        let (shared, expiries) = (shared.clone(), expiries.clone());
        async move |socket: SocketRef<Rooming>, TryData(auth): TryData<serde_json::Value>| {
            let id = Client::<Rooming>::next_id();
            let Ok(auth) = auth else {
                shared.metrics.protocol_errors.inc();
                shared.close(&socket);
                return Err(BROKEN_AUTH);
            };
            let identity = who::identify(&shared.auth, &socket, &auth).map_err(|denied| {
                shared.metrics.connections_refused.inc();
                who::log_refused(id, &socket, &denied);
                denied.code().as_str()
            })?;
            let client = Arc::new(Client::new(id, identity, shared.clone(), expiries.clone()));
            client.note_connection(&socket);
            socket.extensions.insert(client.clone());
            socket.on_fallback({
                let client = client.clone();
                // Not an async block's business: events are carried out here, in the order in which they came.
                move |event: Event<_>| {
                    client.receive(event);
                    std::future::ready(())
                }
            });
            socket.on_disconnect(move |reason: DisconnectReason| {
                who::log_gone(id, reason);
                client.count(reason);
                let joined = client.gone();
                async move {
                    if joined {
                        client.left().await;
                    }
                }
            });
            Ok::<(), &str>(())
        }
    };
    let connected = async |socket: SocketRef<Rooming>| {
        if let Some(client) = socket.extensions.get::<Arc<Client<_>>>() {
            client.open(socket).await;
        }
    };
    // Cannot fail: see `Across`.
    if let Err(error) = io.ns("/", connected.with(prepare)).await {
        tracing::error!(%error, "cannot serve the namespace");
    }
}

/// A request for a WebSocket.
struct WebSocketRequest<'a> {
    /// The session that is to go on over it; none where it begins one.
    session: Option<&'a str>,
}

impl<'a> WebSocketRequest<'a> {
    /// None where the address is that of another request.
    fn of(uri: &'a Uri) -> Option<Self> {
        let pairs = || uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let value = |name| pairs().find(|(key, _)| *key == name).map(|(_, value)| value);
        (value("transport") == Some("websocket")).then(|| Self { session: value("sid") })
    }
}

/// Notes which connection is to carry the WebSocket of a session that began with polling: the session itself only
/// knows the connection of its handshake.
async fn note_upgrade(upgrades: Upgrades, request: Request, next: Next) -> Response {
    if let Some(closer) = request.extensions().get::<Closer>()
        && let Some(WebSocketRequest { session: Some(session) }) = WebSocketRequest::of(request.uri())
    {
        upgrades.register(session, closer);
    }
    next.run(request).await
}

impl Shared {
    /// The connection that carries a client's WebSocket; none for one that polls.
    fn connection<A: Adapter>(&self, socket: &SocketRef<A>) -> Option<Closer> {
        if socket.transport_type() != TransportType::Websocket {
            return None;
        }
        // The handshake's own connection, unless that was polling: then it is another one, which a proxy may share.
        let handshake = socket.req_parts();
        match WebSocketRequest::of(&handshake.uri) {
            Some(_) => handshake.extensions.get::<Closer>().cloned(),
            None => self.upgrades.find(&socket.id.to_string()),
        }
    }

    /// Ends a client's connection, whatever it does: its transport, so that an honest client comes back by itself.
    fn close<A: Adapter>(&self, socket: &SocketRef<A>) {
        match self.connection(socket) {
            Some(closer) => closer.close(),
            None => {
                let end = Errand::End { session: socket.id.to_string(), protocol: socket.protocol() };
                // A disconnect from here would call the client's own handlers, inside one of which this may be.
                if self.errands.try_send(end).is_err() {
                    self.metrics.messages_dropped.inc();
                    tracing::warn!("too busy to end a polling session");
                }
            }
        }
    }
}

/// The way to every client in a room.
struct Rooms<A: Adapter> {
    io: SocketIo<A>,
}

impl<A: Adapter> Outlet for Rooms<A> {
    fn emit(&self, room: &str, event: &str, body: &RawValue) -> usize {
        // None once the server is closing.
        let Some(namespace) = self.io.of("/") else {
            return 0;
        };
        // Local delivery is done when the call returns: every replica reads the bus itself.
        match namespace.local().within(room.to_owned()).emit(event, body).now_or_never() {
            Some(Err(BroadcastError::Socket(full))) => full.len(),
            Some(Err(error)) => {
                tracing::error!(%error, event, "cannot emit");
                0
            }
            Some(Ok(())) | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_a_websocket_is_one() {
        let session = |query: &str| {
            let uri: Uri = format!("/socket.io/?{query}").parse().unwrap();
            WebSocketRequest::of(&uri).map(|request| request.session.map(str::to_owned))
        };
        assert_eq!(session("EIO=4&transport=polling&sid=a"), None);
        assert_eq!(session("EIO=4&transport=websocket"), Some(None));
        assert_eq!(session("sid=a&EIO=4&transport=websocket&sid=b"), Some(Some("a".to_owned())));
        assert_eq!(session("xtransport=websocket"), None);
    }
}
