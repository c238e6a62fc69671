mod api;
mod assets;
mod charts;
mod error;
mod feeds;
mod guard;
mod health;
mod limited;
mod messages;
mod operations;
mod overview;
mod pace;
mod prices;
mod scrape;
mod stats;
mod status;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

use crate::auth::Auth;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{Config, Origins, Role};
use crate::limits::Limits;
use crate::market::Market;
use crate::metrics::Metrics;
use crate::price::Symbol;
use crate::publish::Publisher;
pub use messages::Desk;

/// What the page may do: its own files and its own socket. A socket's `ws:` origin is not `'self'` in every browser.
const PAGE_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; \
                           script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The header with the id of a request.
const REQUEST_ID: &str = "x-request-id";

/// The longest id that is taken from a client or a proxy, in bytes.
const MAX_ID_BYTES: usize = 64;

/// What the HTTP edge answers from.
#[derive(Debug)]
pub struct State {
    /// This replica's id.
    pub id: String,
    /// When it started.
    pub started: Instant,
    /// What is true now.
    pub market: Arc<Market>,
    /// How the bus is.
    pub bus: Arc<Bus>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Who may do what.
    pub auth: Arc<Auth>,
    /// What time it is.
    pub clock: Clock,
    /// Without a tick for this long, the feed counts as down; none where nothing makes ticks at a pace of its own.
    pub silent_after: Option<Duration>,
    /// Which part of the work this replica has.
    pub role: Role,
    /// What sources make, and which.
    pub made: HashMap<Symbol, &'static str>,
    /// Set when a shutdown begins.
    pub draining: AtomicBool,
    /// Cancelled when somebody asks for one here.
    pub asked_to_drain: CancellationToken,
}

impl State {
    /// From now on this replica is not ready for new clients.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// What the HTTP edge hands requests to.
#[derive(Clone)]
pub struct Parts {
    /// Where prices are published.
    pub publisher: Arc<Publisher>,
    /// How much everybody may.
    pub limits: Arc<Limits>,
    /// What messages of back ends are sent by.
    pub desk: Desk,
}

/// For whom endpoints are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Everybody, at one port.
    All,
    /// Those who do not look after the server, where those who do have a port of their own.
    Public,
    /// Those who do.
    Admin,
}

/// What is served.
pub struct Routers {
    /// At `PORT`.
    pub public: Router,
    /// At `ADMIN_PORT`, where there is one.
    pub admin: Option<Router>,
}

/// Everything that is served: the pages, the endpoints, and `sockets`, which has the routes of the Socket.IO endpoint
/// below the base path already. A replica without sockets has no page either.
pub fn routers(config: &Config, state: &Arc<State>, parts: &Parts, sockets: Router) -> Routers {
    let has_admin = config.operations.admin_port.is_some();
    let whom = if has_admin { For::Public } else { For::All };
    Routers {
        public: public(config, state.clone(), parts.clone(), whom, sockets),
        admin: has_admin.then(|| {
            let api = api::router(config, state, parts.clone(), For::Admin);
            let pages = status::router(&config.base_path, state.clone(), For::Admin).merge(api).fallback(not_found);
            dress(pages.layer(CompressionLayer::new()))
        }),
    }
}

fn public(config: &Config, state: Arc<State>, parts: Parts, whom: For, sockets: Router) -> Router {
    let base = config.base_path.as_str();
    let has_sockets = state.role.has_sockets();
    let (auth, limits) = (state.auth.clone(), parts.limits.clone());
    // Who asks whether the server is well has to be told, whoever else asks from there.
    let free = [format!("{base}/health"), format!("{base}/ready")];
    let operations = [format!("{base}/api/"), format!("{base}/back/")];
    let mut pages = api::router(config, &state, parts, whom).merge(status::router(base, state, whom));
    if has_sockets {
        pages = pages.merge(assets::router(config));
    }
    pages = pages.fallback(not_found);
    if has_sockets && !base.is_empty() {
        // The page's addresses are relative to its folder.
        pages = pages.route(base, axum::routing::get(redirect_to_slash));
    }
    // Not for the socket: what it sends is small, and often.
    let pages = pages.layer(CompressionLayer::new());
    // The client libraries lie below the socket's path, and are more exact routes than its own.
    let socket_path = config.full_socket_path();
    let (libraries, sockets) = if has_sockets {
        (assets::libraries(&socket_path).layer(CompressionLayer::new()), sockets)
    } else {
        (Router::new(), api::no_sockets(&socket_path))
    };

    // Read from the bottom: the last layer is the outermost.
    let served = libraries
        .merge(sockets)
        .merge(pages)
        .layer(axum::middleware::from_fn(move |request: axum::extract::Request, next| {
            let is_free = free.iter().any(|path| path == request.uri().path());
            let is_api = operations.iter().any(|path| request.uri().path().starts_with(path));
            limited::count(if is_free { None } else { Some(limits.clone()) }, is_api, auth.clone(), request, next)
        }))
        .layer(cors(&config.cors_origin));
    dress(served)
}

/// What every answer has.
fn dress(router: Router) -> Router {
    let id = HeaderName::from_static(REQUEST_ID);
    router
        .layer(SetResponseHeaderLayer::if_not_present(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY)))
        .layer(SetResponseHeaderLayer::if_not_present(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(SetResponseHeaderLayer::if_not_present(
            REFERRER_POLICY,
            HeaderValue::from_static("strict-origin-when-cross-origin"),
        ))
        .layer(PropagateRequestIdLayer::new(id.clone()))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(SetRequestIdLayer::new(id, NewRequestId))
        .layer(axum::middleware::map_request(keep_plain_id))
}

/// Takes the id of a request that somebody gave it, unless it is one that a log can bear.
async fn keep_plain_id<B>(mut request: Request<B>) -> Request<B> {
    let plain = |id: &HeaderValue| {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
        (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(fits)
    };
    if request.headers().get(REQUEST_ID).is_some_and(|id| !plain(id)) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

/// In every line that is logged for a request, whatever its level. Never the query: there may be a token in it.
fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::error_span!("request", id, method = %request.method(), path = request.uri().path())
}

#[derive(Clone, Copy)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        HeaderValue::from_str(&format!("{:016x}", rand::random::<u64>())).ok().map(RequestId::new)
    }
}

fn cors(origins: &Origins) -> CorsLayer {
    let layer = CorsLayer::new().allow_methods([Method::GET, Method::POST]);
    // The second for tokens of clients that poll. Not for keys of /api: they have no business in a page.
    let headers = [axum::http::header::CONTENT_TYPE, axum::http::header::AUTHORIZATION];
    match origins {
        // Browsers refuse credentials together with `*`, and so does tower-http.
        Origins::Any => layer.allow_origin(AllowOrigin::any()).allow_headers(headers),
        Origins::Listed(listed) => {
            let listed = listed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            layer.allow_origin(AllowOrigin::list(listed)).allow_headers(headers).allow_credentials(true)
        }
    }
}

async fn redirect_to_slash(request: axum::extract::Request) -> Response {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    axum::response::Redirect::permanent(&format!("{}/{query}", request.uri().path())).into_response()
}

async fn not_found() -> Response {
    missing()
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

#[cfg(test)]
mod fuzz;
