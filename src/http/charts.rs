//! The past of one symbol: its candles, and its latest ticks. Read by whoever may get its ticks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, Path, Query, Request, State as Extract};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Response as Documented};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};

use super::State;
use super::error::{ApiError, brief, documented, documented_wait};
use super::guard::problem;
use super::prices::{ApiTick, BadRequest};
use crate::auth::{Auth, Unread};
use crate::market::Range;
use crate::pattern::Patterns;
use crate::price::{Interval, SymbolId};
use crate::wire::{ErrorCode, encode_candles, encode_snapshot, short};

/// How many candles or ticks an answer has where the request does not say, and at most.
const USUAL: usize = 500;
const MOST: usize = 5000;

/// The symbols that a request may read.
#[derive(Clone)]
pub(super) struct Readable(Patterns);

/// Lets those to these routes who may get ticks; of which symbols stands in the request's extensions.
pub(super) fn readable(routes: Router, auth: Arc<Auth>) -> Router {
    routes.route_layer(middleware::from_fn(move |request, next| admit(auth.clone(), request, next)))
}

async fn admit(auth: Arc<Auth>, mut request: Request, next: Next) -> Response {
    // Always there: the listener puts it into every request.
    let Some(&ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let error = match auth.reader(peer.ip(), request.headers()) {
        Ok(symbols) => {
            request.extensions_mut().insert(Readable(symbols));
            return next.run(request).await;
        }
        Err(Unread::Key(refused)) => problem(&refused, None),
        Err(Unread::Token(failure)) => ApiError::new(StatusCode::UNAUTHORIZED, failure.code, failure.message),
    };
    let client = auth.client(peer.ip(), request.headers()).address;
    tracing::info!(%client, status = error.status().as_u16(), reason = error.detail(), "request refused");
    error.into_response()
}

/// Which candles.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Length {
    /// How long each is: `1s`, `1m`, `5m`, `15m`, `1h` or `1d`.
    #[param(example = "1m", schema_with = interval)]
    interval: Option<String>,
}

fn interval() -> Schema {
    let names = Interval::ALL.map(Interval::as_str);
    Schema::Object(
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).default(Some("1m".into())).build(),
    )
}

/// Of which time, and how many.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// Those of this time or later, in ms since the Unix epoch; a candle is of the time at which it begins.
    #[param(value_type = Option<u64>, maximum = 9007199254740991_u64)]
    from: Option<String>,
    /// Those of this time or earlier.
    #[param(value_type = Option<u64>, maximum = 9007199254740991_u64)]
    to: Option<String>,
    /// How many at most: the newest of them.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 5000, example = 500)]
    limit: Option<String>,
}

/// What a symbol's price did, interval by interval.
///
/// Oldest first, up to the interval that runs now, whose candle is not closed. Intervals in which nothing came are there:
/// the price before them holds on, and `n` is 0.
#[utoipa::path(get, path = "/api/candles/{symbol}", tag = "prices", security((), ("token" = []), ("key" = [])),
    params(("symbol" = String, Path, description = "Its name; a / in it as %2F", example = "BTC"), Length, Span),
    responses((status = 200, description = "The candles", body = Vec<ApiCandle>), NoSuchSymbol, BadRequest, Unreadable))]
pub(super) async fn candles(
    Extract(state): Extract<Arc<State>>,
    Extension(readable): Extension<Readable>,
    symbol: Result<Path<String>, PathRejection>,
    length: Result<Query<Length>, QueryRejection>,
    span: Result<Query<Span>, QueryRejection>,
) -> Result<Json<Box<RawValue>>, ApiError> {
    let id = symbol_of(&state, &readable, symbol)?;
    let Length { interval } = query(length)?;
    let name = interval.as_deref().unwrap_or(Interval::M1.as_str());
    let interval: Interval = name
        .parse()
        .map_err(|_| ApiError::invalid(format!("interval is \"{}\": must be {}", short(name), Interval::ALLOWED)))?;
    let range = query(span)?.range()?;
    Ok(Json(encode_candles(&state.market.candles(id, interval, range, state.clock.millis()))))
}

/// The latest ticks of a symbol.
///
/// Oldest first: those that the server holds (`HISTORY_SECONDS`), of the numbering in force.
#[utoipa::path(get, path = "/api/history/{symbol}", tag = "prices", security((), ("token" = []), ("key" = [])),
    params(("symbol" = String, Path, description = "Its name; a / in it as %2F", example = "BTC"), Span),
    responses((status = 200, description = "The ticks", body = Vec<ApiTick>), NoSuchSymbol, BadRequest, Unreadable))]
pub(super) async fn history(
    Extract(state): Extract<Arc<State>>,
    Extension(readable): Extension<Readable>,
    symbol: Result<Path<String>, PathRejection>,
    span: Result<Query<Span>, QueryRejection>,
) -> Result<Json<Vec<ApiTick>>, ApiError> {
    let id = symbol_of(&state, &readable, symbol)?;
    let (epoch, ticks) = state.market.recent(id, query(span)?.range()?);
    Ok(Json(ticks.iter().map(|tick| ApiTick::new(encode_snapshot(tick, epoch.as_ref(), false, None))).collect()))
}

/// Whether there is such a symbol is not said to who may not read it.
fn symbol_of(
    state: &State,
    Readable(symbols): &Readable,
    symbol: Result<Path<String>, PathRejection>,
) -> Result<SymbolId, ApiError> {
    let Path(name) = symbol.map_err(|error| ApiError::invalid(format!("symbol: {}", brief(&error.body_text()))))?;
    if !symbols.allows(&name) {
        let detail = format!("symbol is \"{}\": must be one that your token allows", short(&name));
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, detail));
    }
    state.market.symbol(&name).map(|(id, _)| id).ok_or_else(|| {
        let detail = format!("symbol is \"{}\": there is no such symbol", short(&name));
        ApiError::new(StatusCode::NOT_FOUND, ErrorCode::UnknownSymbol, detail)
    })
}

fn query<T>(wanted: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let Query(wanted) =
        wanted.map_err(|error| ApiError::invalid(format!("the query: {}", brief(&error.body_text()))))?;
    Ok(wanted)
}

impl Span {
    fn range(&self) -> Result<Range, ApiError> {
        let whole = |field: &str, value: &Option<String>, usual: u64, least: u64, most: u64| {
            let Some(value) = value else { return Ok(usual) };
            value.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
                let allowed = format!("must be a whole number from {least} to {most}");
                ApiError::invalid(format!("{field} is \"{}\": {allowed}", short(value)))
            })
        };
        // What JavaScript can say.
        const LATEST_MS: u64 = (1 << 53) - 1;
        let limit = whole("limit", &self.limit, USUAL as u64, 1, MOST as u64)?;
        Ok(Range {
            from_ms: whole("from", &self.from, 0, 0, LATEST_MS)?,
            to_ms: whole("to", &self.to, LATEST_MS, 0, LATEST_MS)?,
            limit: usize::try_from(limit).unwrap_or(MOST),
        })
    }
}

/// A candle as clients get it: how [`encode_candles`] writes it.
#[derive(Serialize)]
pub(super) struct ApiCandle;

impl PartialSchema for ApiCandle {
    fn schema() -> RefOr<Schema> {
        let of = |kind, what: &str| ObjectBuilder::new().schema_type(kind).description(Some(what));
        let number = |what| of(Type::Number, what);
        let candle = ObjectBuilder::new()
            .property("ts", of(Type::Integer, "When it begins, in ms since the Unix epoch."))
            .property("open", number("The first price."))
            .property("high", number("The highest price."))
            .property("low", number("The lowest price."))
            .property("close", number("The last price."))
            .property("volume", number("The sum of the sizes that the source gave."))
            .property("n", of(Type::Integer, "How many updates it is made of; 0 where none came."));
        let names = ["ts", "open", "high", "low", "close", "volume", "n"];
        names.into_iter().fold(candle, |candle, name| candle.required(name)).into()
    }
}

impl ToSchema for ApiCandle {
    fn name() -> Cow<'static, str> {
        "Candle".into()
    }
}

struct NoSuchSymbol;

impl IntoResponses for NoSuchSymbol {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([("404".into(), documented("There is no such symbol."))])
    }
}

/// Of who may not read it.
struct Unreadable;

impl IntoResponses for Unreadable {
    fn responses() -> BTreeMap<String, RefOr<Documented>> {
        BTreeMap::from([
            ("401".into(), documented("There is no token or key where one is asked for, or a wrong one.")),
            ("403".into(), documented("The token does not allow the symbol.")),
            ("429".into(), documented_wait("It is too much for the time.")),
        ])
    }
}
