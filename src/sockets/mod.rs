mod absent;
mod across;
mod alerts;
mod client;
mod drain;
mod ends;
mod event;
mod expiry;
mod gate;
mod handshake;
mod line;
mod onward;
mod outbox;
mod polls;
mod posts;
mod query;
mod reach;
mod rooms;
mod tell;
mod who;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::middleware;
use hyper_util::service::TowerToHyperService;
use socketioxide::adapter::{Adapter, Emitter};
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use socketioxide::{ParserConfig, SocketIo, TransportType};

use socketioxide_redis::{CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr};
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::auth::{Auth, Identity};
use crate::clock::Clock;
use crate::fanout::{ClientId, Handle, Sent};
use crate::limits::{Session, Verdict};
use crate::messages::alerts::{Alerts, Firings};
use crate::messages::backend::Backend;
use crate::messages::emitters::Channels;
use crate::messages::{Inbox, Messages, Presence};
use crate::metrics::Metrics;
use crate::net::{Closer, Upgrades};
use crate::wire::ErrorCode;
use absent::Absent;
use across::Across;
use client::Client;
use ends::Ends;
use event::Event;
use expiry::Expiries;
pub use gate::Gate;
use handshake::note_handshake;
use polls::note_poll;
use query::Query;
use tell::Teller;

/// What knows the rooms of this replica, and carries what is rare (never ticks) to the others.
type Rooming = CustomRedisAdapter<Emitter, Across>;

/// What the adapter's channels in Redis begin with: another than that of Node's adapter, whose messages are different.
const CHANNEL_PREFIX: &str = "tickcast";

/// Packets that may wait for one client that polls, beside the bound in bytes: those of an answer with every symbol that there
/// may be, too. Its memory grows with what waits.
const QUEUE_PACKETS: usize = 16_384;

/// What is read of a WebSocket at once, in bytes. Each holds as much for as long as it lives, and most clients say
/// little.
const READ_BUFFER_BYTES: usize = 512;

/// Attachments that one packet may announce. Nothing here takes any: this only lets a client be told so.
const MAX_ATTACHMENTS: usize = 16;

/// How long one that leaves the namespace has to wait until it is in it again. Socketioxide removes who leaves by the
/// id alone, and later: it would take away one that is back already, without a word, and nobody would know that it goes.
const REJOIN_PAUSE: Duration = Duration::from_millis(200);

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
    /// How many symbols one request may name.
    pub max_symbols_per_request: usize,
    /// How long a session may be in no namespace.
    pub connect_timeout: Duration,
    /// How long the attachments of a binary packet may take. Looked at when one comes; `net` ends a WebSocket on which
    /// none does.
    pub attachments_timeout: Duration,
    /// This replica's id.
    pub server_id: String,
    /// True if everybody is in the room `chat` from the start.
    pub chat_auto_join: bool,
    /// True where frames are sent past the engine's queue to those who have a WebSocket.
    pub lanes: bool,
    /// How much may wait for one client in the process, in bytes.
    pub client_buffer_bytes: usize,
    /// True if everybody in a room is told who is in it.
    pub presence: bool,
    /// Where back ends publish in that Redis.
    pub channels: Channels,
    /// How to reach the Redis that joins the replicas; none for one that is alone.
    pub redis: Option<fred::types::Builder>,
}

/// The Socket.IO server.
pub struct Edge {
    io: SocketIo<Rooming>,
    router: Router,
    shared: Arc<Shared>,
}

/// Where what is said goes, and where it comes from.
pub struct Talk {
    /// Where clients' messages are handed in.
    pub messages: Messages,
    /// Where those come out that were handed in.
    pub inbox: Inbox,
    /// The back end, where there is one.
    pub backend: Option<Backend>,
    /// Who is to be told when a price gets somewhere.
    pub alerts: Alerts,
    /// Where those come out that fire.
    pub firings: Firings,
    /// To be cancelled when another replica asks this one to drain.
    pub asked_to_drain: CancellationToken,
}

/// Carries what is said to clients, on this replica and across.
pub struct Carrier {
    teller: Teller,
    inbox: Inbox,
    firings: Firings,
    router: TowerToHyperService<Router>,
    path: String,
    expiries: Arc<Expiries<Rooming>>,
    absent: Arc<Absent>,
}

/// What every client's handlers share.
struct Shared {
    fanout: Handle,
    auth: Arc<Auth>,
    metrics: Arc<Metrics>,
    clock: Clock,
    upgrades: Upgrades,
    messages: Messages,
    backend: Option<Backend>,
    alerts: Alerts,
    presence: Presence,
    server_id: String,
    /// Names this process among the replicas, also where two have the same id.
    process: String,
    chat_auto_join: bool,
    lanes: bool,
    buffer_bytes: usize,
    max_symbols: usize,
    ends: Ends,
    absent: Arc<Absent>,
}

impl Edge {
    /// A server that hands what clients ask for to the fan-out, and what has to run for its messages.
    ///
    /// # Errors
    /// The address of Redis cannot be used at all. One that does not answer is waited for.
    pub async fn new(
        settings: &Settings,
        talk: Talk,
        fanout: Handle,
        gate: Gate,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Carrier), fred::error::Error> {
        let Talk { messages, inbox, backend, alerts, firings, asked_to_drain } = talk;
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
            .connect_timeout(settings.connect_timeout)
            .max_payload(settings.max_payload_bytes)
            .ws_max_message_size(max_payload)
            .ws_max_frame_size(max_payload)
            .max_buffer_size(QUEUE_PACKETS)
            .ws_read_buffer_size(READ_BUFFER_BYTES)
            .with_parser(parser)
            .build_svc();
        let upgrades = Upgrades::default();
        let absent = Arc::new(Absent::new(settings.connect_timeout));
        let shared = Arc::new(Shared {
            fanout,
            auth: gate.auth.clone(),
            metrics,
            clock,
            upgrades: upgrades.clone(),
            messages,
            backend,
            alerts,
            presence: Presence::new(settings.presence),
            server_id: settings.server_id.clone(),
            process: format!("{:016x}", rand::random::<u64>()),
            chat_auto_join: settings.chat_auto_join,
            lanes: settings.lanes,
            buffer_bytes: settings.client_buffer_bytes,
            max_symbols: settings.max_symbols_per_request,
            ends: Ends::default(),
            absent: absent.clone(),
        });
        let expiries = Arc::new(Expiries::new(&shared.auth, shared.clock.clone()));
        serve_namespace(&io, &shared, &expiries).await;
        upgrades.on_end({
            let io = io.clone();
            move |session| {
                if let Some((client, socket)) = client_of(&io, session) {
                    client.upgraded(&socket);
                }
            }
        });

        let path = &settings.path;
        let router = Router::new()
            .route_service(path, service.clone())
            .route_service(&format!("{path}/"), service.clone())
            .route_service(&format!("{path}/{{*rest}}"), service)
            .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .layer(middleware::from_fn({
                let io = io.clone();
                move |request, next| note_poll(io.clone(), request, next)
            }))
            .layer(middleware::from_fn({
                let io = io.clone();
                move |request, next| note_handshake(io.clone(), gate.clone(), upgrades.clone(), request, next)
            }));
        let inside = TowerToHyperService::new(router.clone());
        let (channels, asks) = (settings.channels.clone(), inbox.asks.clone());
        let teller = Teller { io: io.clone(), across, channels, asks, shared: shared.clone(), asked_to_drain };
        let path = path.clone();
        let carrier = Carrier { teller, inbox, firings, router: inside, path, expiries, absent };
        Ok((Self { io, router, shared }, carrier))
    }

    /// The routes of the endpoint.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Closes every client's transport, so that clients come back by themselves. Does not end while one is stuck.
    pub async fn close(&self) {
        self.io.close().await;
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
            let Some(session) = gate::session_of(&socket) else {
                // Its connection has ended already.
                return Err(ErrorCode::Unavailable.as_str());
            };
            // One that has just left: its leave is carried out first.
            let pause = session.remaining(REJOIN_PAUSE);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let identity = shared.let_in(id, &session, &socket, auth.ok()).inspect_err(|_| {
                shared.absent.add(&session, &shared, &socket);
            })?;
            let client =
                Arc::new(Client::new(id, identity, session.clone(), &socket, shared.clone(), expiries.clone()));
            socket.extensions.insert(client.clone());
            socket.on_fallback({
                let client = client.clone();
                // Not an async block's business: events are carried out here, in the order in which they came.
                move |event: Event<_>| {
                    let later = client.receive(event);
                    async move {
                        if let Some(later) = later {
                            later.await;
                        }
                    }
                }
            });
            socket.on_disconnect(move |socket: SocketRef<Rooming>, reason: DisconnectReason| {
                who::log_gone(id, reason);
                client.count(reason);
                let joined = client.gone(reason);
                if matches!(reason, DisconnectReason::ClientNSDisconnect | DisconnectReason::ServerNSDisconnect) {
                    client.shared.absent.add(&session, &client.shared, &socket);
                }
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

/// The socket of a session; none once the server is closing.
fn socket_of(io: &SocketIo<Rooming>, session: &str) -> Option<SocketRef<Rooming>> {
    io.of("/")?.get_socket(session.parse().ok()?)
}

/// The client of a session, once it has begun to connect to the namespace.
fn client_of(io: &SocketIo<Rooming>, session: &str) -> Option<(Arc<Client<Rooming>>, SocketRef<Rooming>)> {
    let socket = socket_of(io, session)?;
    let client = socket.extensions.get::<Arc<Client<_>>>()?;
    Some((client, socket))
}

impl Shared {
    /// Who it is that asks to be in the namespace, with these credentials (none where they are no JSON).
    ///
    /// # Errors
    /// What it is told that may not.
    fn let_in(
        &self,
        id: ClientId,
        session: &Session,
        socket: &SocketRef<Rooming>,
        auth: Option<serde_json::Value>,
    ) -> Result<Identity, &'static str> {
        match session.join() {
            Verdict::Pass => {}
            Verdict::Refuse(failure) => return Err(failure.code.as_str()),
            Verdict::End | Verdict::Ended => {
                self.close(socket);
                return Err(ErrorCode::RateLimited.as_str());
            }
        }
        let Some(auth) = auth else {
            self.metrics.protocol_errors.inc();
            self.close(socket);
            return Err(BROKEN_AUTH);
        };
        who::identify(&self.auth, socket, &auth).map_err(|denied| {
            self.metrics.connections_refused.inc();
            who::log_refused(id, socket, &denied);
            denied.code().as_str()
        })
    }

    /// The connection that carries a client's WebSocket; none for one that polls.
    fn connection<A: Adapter>(&self, socket: &SocketRef<A>) -> Option<Closer> {
        if socket.transport_type() != TransportType::Websocket {
            return None;
        }
        // The handshake's own connection, unless that was polling: then it is another one, which a proxy may share.
        let handshake = socket.req_parts();
        if Query::of(&handshake.uri).is_websocket() {
            handshake.extensions.get::<Closer>().cloned()
        } else {
            self.upgrades.find(&socket.id.to_string())
        }
    }

    /// A client that missed an answer would wait for it for ever: it is ended, and comes back.
    fn note_sent<A: Adapter>(&self, sent: Sent, socket: &SocketRef<A>) {
        if sent == Sent::Dropped {
            self.metrics.messages_dropped.inc();
            self.close(socket);
        }
    }

    /// Ends a client's connection, whatever it does: its transport, so that an honest client comes back by itself.
    fn close<A: Adapter>(&self, socket: &SocketRef<A>) {
        match self.connection(socket) {
            Some(closer) => closer.close(),
            // A disconnect from here would call the client's own handlers, inside one of which this may be.
            None => self.ends.add(socket.id.to_string(), socket.protocol()),
        }
    }
}
