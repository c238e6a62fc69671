//! What each part is told of the settings.

use std::collections::HashMap;
use std::time::Duration;

use crate::bus::{self, RedisSettings};
use crate::config::Config;
use crate::fanout::{self, Events};
use crate::messages::{self, alerts, backend};
use crate::price::Symbol;
use crate::publish;
use crate::sockets;
use crate::wire::MAX_CANDLES;

/// So many turns of the simulator a symbol may miss before it is stale.
const STALE_INTERVALS: u64 = 3;

/// About what one tick takes in an answer, in bytes: an answer that replays fits into what may wait for a client.
const ENCODED_TICK_BYTES: usize = 160;

/// About what one candle takes in an answer, in bytes.
const ENCODED_CANDLE_BYTES: usize = 200;

/// The share of the shutdown's deadline that posts to the back end may use, after clients and requests; half of it before,
/// where other replicas are told of them.
pub(super) const BACKEND_SHARE: f64 = 0.1;

/// What the bus is told.
pub(super) fn bus_settings(config: &Config, redis: Option<RedisSettings>) -> bus::Settings {
    bus::Settings {
        redis,
        lease_ttl: Duration::from_millis(config.lease_ttl_ms),
        island_after: Duration::from_millis(config.island_after_ms),
        history: Duration::from_secs(config.history_seconds),
        node_id: config.app_id.clone(),
    }
}

/// What is told to who takes what back ends publish; `made` says what sources make.
pub(super) fn publish_settings(config: &Config, made: &HashMap<Symbol, &'static str>) -> publish::Settings {
    publish::Settings { made: made.clone(), allow_new: config.publishing.allow_new_symbols }
}

/// What the Socket.IO edge is told.
pub(super) fn socket_settings(config: &Config, redis: Option<&RedisSettings>) -> sockets::Settings {
    sockets::Settings {
        path: config.full_socket_path(),
        ping_interval: Duration::from_millis(config.ping_interval_ms),
        ping_timeout: Duration::from_millis(config.ping_timeout_ms),
        max_payload_bytes: config.limits.max_payload_bytes,
        max_symbols_per_request: config.limits.max_symbols_per_request as usize,
        attachments_timeout: Duration::from_millis(config.limits.attachments_timeout_ms),
        connect_timeout: Duration::from_millis(config.limits.connect_timeout_ms),
        server_id: config.app_id.clone(),
        chat_auto_join: config.messaging.chat_auto_join,
        presence: config.messaging.presence,
        channels: messages::emitters::Channels {
            node: config.messaging.emitter_prefix.clone(),
            python: config.messaging.emitter_channel.clone(),
        },
        lanes: config.lanes,
        client_buffer_bytes: config.client_buffer_bytes,
        redis: redis.map(RedisSettings::builder),
    }
}

/// How many alerts there may be.
pub(super) fn alert_settings(config: &Config) -> alerts::Settings {
    alerts::Settings { most: config.limits.max_alerts as usize, most_in_all: config.limits.max_alerts_total as usize }
}

/// What is told to who posts to the back end; none where there is no back end.
pub(super) fn backend_settings(config: &Config) -> Option<backend::Settings> {
    let messaging = &config.messaging;
    Some(backend::Settings {
        url: messaging.backend_url()?.clone(),
        secret: messaging.backend_secret().cloned(),
        events: messaging.backend_events.0.clone(),
        announce: messaging.backend_announce,
        timeout: Duration::from_millis(messaging.backend_timeout_ms),
        retries: u32::try_from(messaging.backend_retries).unwrap_or(u32::MAX),
        queue: usize::try_from(messaging.backend_queue).unwrap_or(usize::MAX),
        drain: Duration::from_millis(config.operations.drain_deadline_ms).mul_f64(BACKEND_SHARE),
        server_id: config.app_id.clone(),
    })
}

/// What the fan-out is told.
pub(super) fn fanout_settings(config: &Config) -> fanout::Settings {
    fanout::Settings {
        events: Events { tick: config.tick_event.clone(), batch: config.batch_event.clone() },
        default_mode: config.default_mode,
        server_id: config.app_id.clone(),
        flush_interval: Duration::from_millis(config.flush_interval_ms),
        slow_timeout: Duration::from_secs(config.slow_client_timeout_s),
        stale_after: stale_after(config),
        replay_ticks: config.client_buffer_bytes / 2 / ENCODED_TICK_BYTES,
        max_charts: config.limits.max_candles as usize,
        answer_candles: MAX_CANDLES.min(config.client_buffer_bytes / 2 / ENCODED_CANDLE_BYTES),
        max_subscriptions: match config.limits.max_subscriptions {
            0 => usize::MAX,
            most => most as usize,
        },
    }
}

/// After how long without a tick a symbol is stale: never while the simulator waits for its next turn.
fn stale_after(config: &Config) -> Option<Duration> {
    let simulates = !config.plan().simulated.is_empty();
    let least_ms = if simulates { config.update_interval_ms * STALE_INTERVALS } else { 0 };
    let after_ms = config.feeds.stale_after_ms;
    (after_ms > 0).then(|| Duration::from_millis(after_ms.max(least_ms)))
}
