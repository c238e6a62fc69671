use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State as Extract};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Response as Documented};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};

use super::State;
use super::api::Refusals;
use super::error::{ApiError, brief, documented, documented_wait};
use super::pace::Pace;
use crate::auth::Caller;
use crate::bus::{OfferError, OfferKey};
use crate::metrics::Metrics;
use crate::price::Symbol;
use crate::publish::{Candidate, MAX_UPDATES, PriceUpdate, Publisher};
use crate::wire::{ErrorCode, encode_snapshot, from_object, short};

/// The largest body with prices, in bytes: a full batch of long ones.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// How much of a body that is too large is read all the same, in bytes: who is cut off while he sends does not get to
/// read why.
const MAX_DISCARDED_BYTES: usize = 8 * MAX_BODY_BYTES;

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// The header by which a repeated request is known.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that says that an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// When to come again where the bus is away, in s.
const AWAY_S: u64 = 1;

/// What publishing needs.
#[derive(Clone)]
pub(super) struct Outlet {
    pub(super) publisher: Arc<Publisher>,
    pub(super) pace: Arc<Pace>,
}

/// A tick as clients get it.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct ApiTick(Box<RawValue>);

impl ApiTick {
    /// One that is encoded already.
    pub(super) fn new(json: Box<RawValue>) -> Self {
        Self(json)
    }
}

impl PartialSchema for ApiTick {
    fn schema() -> RefOr<Schema> {
        let of = |kind, what: &str| ObjectBuilder::new().schema_type(kind).description(Some(what));
        let number = |what| of(Type::Number, what);
        let whole = |what| of(Type::Integer, what);
        let tick = ObjectBuilder::new().property("symbol", of(Type::String, "What is traded."));
        let tick = tick
            .property("price", number("The last price, with the source's digits."))
            .property("ts", whole("The source's time, in ms since the Unix epoch."))
            .property("seq", whole("Its number: the next tick of the symbol in this epoch has the next one."))
            .property("bid", number("The best bid, where the source has it."))
            .property("ask", number("The best ask, where the source has it."))
            .property("size", number("The size of the last trade, where the source has it."))
            .property("epoch", of(Type::String, "The numbering that `seq` belongs to."))
            .property("stale", of(Type::Boolean, "True where there has been no tick for `STALE_AFTER`."));
        ["symbol", "price", "ts", "seq", "epoch"].into_iter().fold(tick, |tick, name| tick.required(name)).into()
    }
}

impl ToSchema for ApiTick {
    fn name() -> Cow<'static, str> {
        "Tick".into()
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Symbols {
    symbols: Vec<KnownSymbol>,
}

#[derive(Serialize, ToSchema)]
struct KnownSymbol {
    #[schema(value_type = String)]
    symbol: Symbol,
    /// Who makes its prices: a source, such as `simulator` or `coinbase`, or `published` (back ends).
    source: &'static str,
    /// Whether there is a price.
    #[serde(rename = "hasPrice")]
    has_price: bool,
}

/// Every symbol that the server knows.
#[utoipa::path(get, path = "/api/symbols", tag = "prices", responses((status = 200, description = "The symbols", body = Symbols), Refusals))]
pub(super) async fn symbols(Extract(state): Extract<Arc<State>>) -> Json<Symbols> {
    let (_, ticks) = state.market.latest();
    let priced: HashSet<Symbol> = ticks.into_iter().map(|tick| tick.update.symbol).collect();
    let symbols = state.market.symbols().into_iter().map(|symbol| KnownSymbol {
        source: state.made.get(&symbol).copied().unwrap_or("published"),
        has_price: priced.contains(&symbol),
        symbol,
    });
    Json(Symbols { symbols: symbols.collect() })
}

#[derive(Serialize, ToSchema)]
pub(super) struct Prices {
    /// The numbering in force; null before the first tick.
    epoch: Option<String>,
    /// The latest tick of each symbol that has one.
    prices: Vec<ApiTick>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only of these, with commas between.
    #[param(example = "BTC,ETH")]
    symbols: Option<String>,
}

/// The latest prices.
#[utoipa::path(get, path = "/api/prices", tag = "prices", params(Wanted),
    responses((status = 200, description = "The latest prices", body = Prices), BadRequest, Refusals))]
pub(super) async fn prices(
    Extract(state): Extract<Arc<State>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Prices>, ApiError> {
    let Query(Wanted { symbols }) =
        wanted.map_err(|error| ApiError::invalid(format!("the query: {}", error.body_text())))?;
    let wanted: Option<HashSet<&str>> = symbols.as_deref().map(|names| names.split(',').map(str::trim).collect());
    for name in wanted.iter().flatten() {
        if state.market.symbol(name).is_none() {
            let names = short(name);
            return Err(ApiError::invalid(format!(
                "symbols has \"{names}\" in it: must be symbols of GET /api/symbols"
            )));
        }
    }
    let (epoch, ticks) = state.market.latest();
    let stale: HashSet<Symbol> = state.market.stale().into_iter().collect();
    let prices = ticks
        .iter()
        .filter(|tick| wanted.as_ref().is_none_or(|wanted| wanted.contains(tick.update.symbol.as_str())))
        .map(|tick| ApiTick(encode_snapshot(tick, epoch.as_ref(), stale.contains(&tick.update.symbol), None)))
        .collect();
    Ok(Json(Prices { epoch: epoch.map(|epoch| epoch.as_str().to_owned()), prices }))
}

/// The latest price of one symbol.
#[utoipa::path(get, path = "/api/prices/{symbol}", tag = "prices",
    params(("symbol" = String, Path, description = "Its name; a / in it as %2F", example = "BTC")),
    responses((status = 200, description = "The latest price", body = ApiTick), NoSuchPrice, BadRequest, Refusals))]
pub(super) async fn price(
    Extract(state): Extract<Arc<State>>,
    symbol: Result<Path<String>, PathRejection>,
) -> Result<Json<ApiTick>, ApiError> {
    let Path(name) = symbol.map_err(|error| ApiError::invalid(format!("symbol: {}", error.body_text())))?;
    let missing = |code, detail: String| ApiError::new(StatusCode::NOT_FOUND, code, detail);
    if state.market.symbol(&name).is_none() {
        let detail = format!("symbol is \"{}\": must be one of GET /api/symbols", short(&name));
        return Err(missing(ErrorCode::UnknownSymbol, detail));
    }
    let (epoch, tick) = state
        .market
        .latest_of(&name)
        .ok_or_else(|| missing(ErrorCode::Unavailable, format!("there is no price of {name} yet")))?;
    let stale = state.market.stale().contains(&tick.update.symbol);
    Ok(Json(ApiTick(encode_snapshot(&tick, Some(&epoch), stale, None))))
}

/// A batch of prices.
#[derive(Deserialize, ToSchema)]
pub(super) struct Batch<'a> {
    /// Each is taken or rejected by itself.
    #[serde(borrow)]
    #[schema(value_type = Vec<PriceUpdate>, min_items = 1, max_items = 1000)]
    prices: Vec<&'a RawValue>,
}

/// What became of a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct Taken {
    /// Always true: the batch was looked at. Its prices may all have been rejected.
    ok: bool,
    /// The numbering of the `seq`s.
    epoch: String,
    /// How many were published.
    accepted: usize,
    /// How many were not.
    rejected: usize,
    /// One for each price, in order.
    results: Vec<TakenPrice>,
}

/// What became of a price: it has `seq`, or `code` and `message`.
#[derive(Serialize, ToSchema)]
struct TakenPrice {
    /// As it was given, shortened; empty where it could not be read.
    symbol: String,
    /// The number that it got.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// Why it was not published, for programs: `invalid_payload`, `unknown_symbol`, `too_many_symbols`, `forbidden` (its
    /// symbol belongs to a source) or `stale` (older than the last one).
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'static, str>>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Publishes prices.
///
/// Of symbols that no source of the server makes. A request with an `Idempotency-Key` can be sent again, to any replica:
/// for ten minutes it has the same answer, and nothing is published twice.
#[utoipa::path(post, path = "/api/prices", tag = "prices",
    params(("Idempotency-Key" = Option<String>, Header, description = "Names this request among those of this key",
            min_length = 1, max_length = 128, pattern = "^[!-~]+$")),
    request_body = Batch,
    responses((status = 200, description = "Each price was published or rejected", body = Taken, headers(("Idempotency-Replayed" = String, description = "`true` on an answer that was given before"))),
              NotTaken, BadRequest, BadBody, Refusals))]
pub(super) async fn publish(
    Extract(outlet): Extract<Outlet>,
    Extension(Caller(caller)): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = collect(body).await?;
    let candidates = read(&headers, &body)?;
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| offer_key(&caller, key, &body)).transpose()?;
    if let Err(wait) = outlet.pace.take(&caller, candidates.len(), Instant::now()) {
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many prices: come again in {seconds} s (PUBLISH_RATE is how many a second may be)");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited, detail).again_after(seconds));
    }
    let published = outlet.publisher.publish(candidates, key).await.map_err(not_taken)?;
    let accepted = published.outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
    let results: Vec<TakenPrice> = published
        .outcomes
        .into_iter()
        .map(|outcome| {
            let (seq, why) = match outcome.result {
                Ok(seq) => (Some(seq), None),
                Err(why) => (None, Some(why)),
            };
            let (code, message) = why.map(|why| (why.code, why.message)).unzip();
            TakenPrice { symbol: outcome.symbol, seq, code, message }
        })
        .collect();
    let rejected = results.len() - accepted;
    tracing::debug!(caller, accepted, rejected, again = published.again, "prices published");
    let epoch = published.epoch.as_str().to_owned();
    let mut response = Json(Taken { ok: true, epoch, accepted, rejected, results }).into_response();
    if published.again {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What back ends published here, by what became of it: `accepted`, or the code of an error.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    /// Through `POST /api/prices`.
    http: BTreeMap<String, u64>,
    /// By the input stream, while this replica read it.
    input: BTreeMap<String, u64>,
    /// Times that the input stream was found trimmed beyond what was read.
    input_gaps: u64,
}

impl Published {
    pub(super) fn of(metrics: &Metrics) -> Self {
        Self { http: metrics.published.all(), input: metrics.input.all(), input_gaps: metrics.input_gaps.get() }
    }
}

async fn collect(body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut stream, mut whole, mut seen) = (body.into_data_stream(), Vec::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::invalid(format!("the body did not come whole: {error}")))?;
        seen = seen.saturating_add(chunk.len());
        if seen <= MAX_BODY_BYTES {
            whole.extend_from_slice(&chunk);
        } else if seen > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if seen > MAX_BODY_BYTES {
        let detail = format!("the body is too large: must be at most {MAX_BODY_BYTES} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::InvalidPayload, detail));
    }
    Ok(whole)
}

/// Reads a batch.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Candidate>, ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        let detail = format!("Content-Type is \"{}\": must be application/json", short(kind));
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::InvalidPayload, detail));
    }
    let unreadable =
        |why: String| ApiError::invalid(format!("the body cannot be read: {why}: must be {{\"prices\": [...]}}"));
    let body = std::str::from_utf8(body).map_err(|error| unreadable(brief(&error)))?;
    let batch: Batch<'_> = from_object(body).map_err(|error| unreadable(brief(&error)))?;
    let count = batch.prices.len();
    if count == 0 || count > MAX_UPDATES {
        return Err(ApiError::invalid(format!("prices has {count} entries: must have 1 to {MAX_UPDATES}")));
    }
    Ok(batch.prices.into_iter().map(Candidate::from_json).collect())
}

/// Callers do not get into each other's way, whatever they call their requests.
pub(super) fn offer_key(caller: &str, key: &HeaderValue, body: &[u8]) -> Result<OfferKey, ApiError> {
    let text = key
        .to_str()
        .ok()
        .filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let Some(text) = text else {
        let shown = short(&String::from_utf8_lossy(key.as_bytes()));
        return Err(ApiError::invalid(format!(
            "Idempotency-Key is \"{shown}\": must be 1 to {MAX_KEY_BYTES} letters, digits and signs without spaces"
        )));
    };
    // FNV-1a: the same in every build. It guards against mistakes, and a caller could only deceive himself.
    let hash = body
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let name = format!("{}:{caller}:{text}", caller.len());
    Ok(OfferKey { name, fingerprint: format!("{hash:016x}{:x}", body.len()) })
}

fn not_taken(error: OfferError) -> ApiError {
    match error {
        OfferError::OtherOffer => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::InvalidPayload,
            "Idempotency-Key was used for another body: must be a new one, or the same request again",
        ),
        error => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            format!(
                "{error}; whether the prices were published is not known: send the request again, which publishes \
                 nothing twice if it had an Idempotency-Key"
            ),
        )
        .again_after(AWAY_S),
    }
}

/// A request that cannot be understood.
pub(super) struct BadRequest;

impl IntoResponses for BadRequest {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([("400".into(), documented("The request is not what is allowed."))])
    }
}

/// A body that cannot be taken.
pub(super) struct BadBody;

impl IntoResponses for BadBody {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("413".into(), documented("The body is too large.")),
            ("415".into(), documented("The body is not `application/json` by its header.")),
        ])
    }
}

struct NotTaken;

impl IntoResponses for NotTaken {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("422".into(), documented("The `Idempotency-Key` was used for another body.")),
            ("503".into(), documented_wait("The bus is away.")),
        ])
    }
}

struct NoSuchPrice;

impl IntoResponses for NoSuchPrice {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([("404".into(), documented("There is no such symbol, or no price of it yet."))])
    }
}
