use std::sync::Arc;

use axum::extract::State as Extract;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::State;
use crate::metrics::{Kind, Page};
use crate::price::FeedState;

/// `GET /metrics`: what was counted, and how things are now, for Prometheus.
pub(super) async fn metrics(Extract(state): Extract<Arc<State>>) -> Response {
    ([(CONTENT_TYPE, Page::CONTENT_TYPE)], page(&state).encode()).into_response()
}

fn page(state: &State) -> Page {
    let mut page = Page::default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("id", &state.id), ("bus", state.bus.kind())];
    page.add(Kind::Gauge, "tickcast_build_info", "Always 1: what runs here.", &labels, 1.0);
    state.metrics.show(&mut page);
    let flag = f64::from;
    let is_live = state.market.feed().state == FeedState::Live;
    for (name, help, value) in [
        ("tickcast_ready", "1 where new clients should come here, as /ready says.", flag(state.is_ready())),
        ("tickcast_draining", "1 once a shutdown has begun.", flag(state.is_draining())),
        (
            "tickcast_feed_live",
            "1 while ticks come from the bus; 0 while this replica is cut off from it.",
            flag(is_live),
        ),
        ("tickcast_feed_silence_seconds", "How long ago the last ticks came.", state.market.silence().as_secs_f64()),
        ("tickcast_history_ticks", "Ticks of the past that are held.", state.market.history_ticks() as f64),
        (
            "tickcast_candles",
            "Candles that are held; those of quiet intervals are not.",
            state.market.candle_count() as f64,
        ),
        ("tickcast_symbols", "Symbols that are known.", state.market.symbol_count() as f64),
    ] {
        page.number(Kind::Gauge, name, help, value);
    }
    if let Some(lag_ms) = state.bus.lag_ms() {
        let help = "How old the newest entry of the log was when it was read.";
        page.number(Kind::Gauge, "tickcast_bus_lag_seconds", help, lag_ms as f64 / 1e3);
    }
    if let Some(connected) = state.bus.redis_connected() {
        page.number(Kind::Gauge, "tickcast_redis_connected", "1 while Redis is connected.", flag(connected));
    }
    for (source, publishes) in state.bus.publishes() {
        let help = "1 where this replica has the source's lease and publishes for it, 0 where it stands by, or is cut off and \
                    publishes for its own clients alone.";
        page.add(Kind::Gauge, "tickcast_source_publisher", help, &[("source", source)], flag(publishes));
    }
    let now_ms = state.clock.millis();
    for (symbol, ts_ms) in state.market.last_times_ms(Page::MOST_OF_A_KIND) {
        let help = "How old a symbol's latest tick is, by its source's time; of the first 1000 symbols.";
        let age_ms = now_ms.saturating_sub(ts_ms);
        let labels = [("symbol", symbol.as_str())];
        page.add(Kind::Gauge, "tickcast_symbol_age_seconds", help, &labels, age_ms as f64 / 1e3);
    }
    page.process();
    page
}
