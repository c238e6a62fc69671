use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Extract};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use serde::Serialize;

use crate::config::Config;

/// The page and all that it loads: in the binary; read from the disk in a debug build.
#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "vendor/*"]
struct Page;

/// The official client libraries, and the library that draws the dashboard's candles: put there from npm by `make vendor`.
#[derive(RustEmbed)]
#[folder = "static/vendor/"]
struct Libraries;

/// Where the page's settings go.
const PLACEHOLDER: &str = "<!--tickcast:config-->";

/// The file at `/`.
const INDEX: &str = "index.html";

/// The file at `/front/{room}`, one folder below the others.
const FRONT: &str = "front.html";

/// The file at `/ops`. It holds nothing secret: its data asks for a key.
const OPS: &str = "ops.html";

type Script = Extract<Arc<str>>;

/// What the page must know about this server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageConfig<'a> {
    /// Relative to the page, so that it holds behind a proxy that takes a prefix away.
    socket_path: String,
    tick_event: &'a str,
    batch_event: &'a str,
    version: &'static str,
}

/// The page at the base path, and its files.
pub(super) fn router(config: &Config) -> Router {
    let page_config = PageConfig {
        socket_path: format!("{}/", config.socket_path.trim_start_matches('/')),
        tick_event: &config.tick_event,
        batch_event: &config.batch_event,
        version: env!("CARGO_PKG_VERSION"),
    };
    let operations = settings_script(&page_config);
    let script = with_client(&page_config);
    let below = PageConfig { socket_path: format!("../{}", page_config.socket_path), ..page_config };
    let front = with_client(&below);
    let base = &config.base_path;
    Router::new()
        .route(
            &format!("{base}/"),
            get(async |Extract(script): Script, headers: HeaderMap| page(INDEX, &script, &headers)),
        )
        .route(&format!("{base}/ops"), get(async move |headers: HeaderMap| page(OPS, &operations, &headers)))
        .route(&format!("{base}/front/{{room}}"), get(async move |headers: HeaderMap| page(FRONT, &front, &headers)))
        .route(
            &format!("{base}/{{*path}}"),
            get(async |Extract(script): Script, Path(path): Path<String>, headers: HeaderMap| {
                page(&path, &script, &headers)
            }),
        )
        .with_state(script)
}

/// The settings of a page, as it reads them.
fn settings_script(config: &PageConfig<'_>) -> Arc<str> {
    // `<` would end the script early if a name had it.
    let json = serde_json::to_string(config).unwrap_or_default().replace('<', "\\u003c");
    format!(r#"<script type="application/json" id="tickcast-config">{json}</script>"#).into()
}

/// The same for a page with a socket, whose client is fetched before any script of the page asks for it. A path has
/// nothing that would have to be escaped (see its setting).
fn with_client(config: &PageConfig<'_>) -> Arc<str> {
    let PageConfig { socket_path, .. } = config;
    format!("{}\n  <link rel=\"modulepreload\" href=\"{socket_path}socket.io.esm.min.js\">", settings_script(config))
        .into()
}

/// The client libraries, at the paths where Node's server has them.
pub(super) fn libraries(socket_path: &str) -> Router {
    Libraries::iter().fold(Router::new(), |router, name| {
        let path = format!("{socket_path}/{name}");
        router.route(&path, get(async move |headers: HeaderMap| library(&name, &headers)))
    })
}

fn page(name: &str, script: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Page::get(name) else {
        return super::missing();
    };
    // Revalidated each time: the names carry no version.
    let body = match name {
        INDEX | FRONT | OPS => String::from_utf8_lossy(&file.data).replace(PLACEHOLDER, script).into(),
        _ => Bytes::from(file.data.into_owned()),
    };
    serve(name, body, "no-cache", headers)
}

fn library(name: &str, headers: &HeaderMap) -> Response {
    match Libraries::get(name) {
        Some(file) => serve(name, Bytes::from(file.data.into_owned()), "public, max-age=0", headers),
        None => super::missing(),
    }
}

/// A file, or `304 Not Modified` for who has it already.
fn serve(name: &str, body: Bytes, cache: &'static str, headers: &HeaderMap) -> Response {
    // A weak one: the same file may be sent compressed or not.
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let etag = format!("W/\"{:016x}\"", hasher.finish());
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let fresh =
        known.flat_map(|value| value.split(',')).any(|known| matches!(known.trim(), "*") || known.trim() == etag);
    let common = [(ETAG, etag), (CACHE_CONTROL, cache.to_owned())];
    if fresh {
        (StatusCode::NOT_MODIFIED, common).into_response()
    } else {
        (common, [(CONTENT_TYPE, content_type(name))], body).into_response()
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
