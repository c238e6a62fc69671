mod alerts;
mod answer;
mod chart;
mod people;
mod request;
mod tick;
mod token;

mod packet;
pub use packet::{ack_packet, args_packet, event_packet, ticks_packet};

pub use alerts::{AlertSet, Alerts, Fired, Listed, Rule, SetAlert, Unalert, digits};
pub use answer::{Answer, Done, Drain, Failure, Pong, Rejected, Server, Status, Subscribed, Unsubscribed};
pub use chart::{ChartRequest, Charted, MAX_CANDLES, encode_candle, encode_candles, encode_day};
pub use people::{
    Chat, ChatMessage, DEFAULT_ROOM, Delivered, DirectMessage, KEPT_BY_CLIENTS, MAX_ROOM_BYTES, MAX_USER_BYTES, Room,
    RoomUsers, SendMessage, check_event, check_name, check_text,
};
pub use request::{MAX_SYMBOLS_PER_REQUEST, MaxRate, Pace, Subscribe, Symbols, Unsubscribe, cut, from_object, short};
pub use tick::{encode_snapshot, encode_tick, encode_ticks};
pub use token::{Refresh, Refreshed, TokenExpiring};

use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Names of the events that clients send.
pub mod from_client {
    /// Asks for ticks.
    pub const SUBSCRIBE: &str = "subscribe";
    /// Asks for no more ticks.
    pub const UNSUBSCRIBE: &str = "unsubscribe";
    /// Measures the round trip.
    pub const PING: &str = "ping";
    /// Enters a room.
    pub const JOIN: &str = "join";
    /// Leaves one.
    pub const LEAVE: &str = "leave";
    /// Says something to a room.
    pub const CHAT: &str = "chat";
    /// Sends something to a user.
    pub const SEND_MESSAGE: &str = "send_message";
    /// [`PING`] under a name that JS 2.x clients can send: they keep `ping` to themselves.
    pub const LATENCY: &str = "latency";
    /// Brings a new token.
    pub const REFRESH: &str = "refresh";
    /// Asks for candles, and for what becomes of them.
    pub const CANDLES: &str = "candles";
    /// Asks for no more of them.
    pub const UNCANDLES: &str = "uncandles";
    /// Wants to be told when a price gets somewhere.
    pub const ALERT: &str = "alert";
    /// Asks which alerts there are.
    pub const ALERTS: &str = "alerts";
    /// Removes one.
    pub const UNALERT: &str = "unalert";

    /// All of them.
    pub const ALL: [&str; 14] = [
        SUBSCRIBE,
        UNSUBSCRIBE,
        PING,
        LATENCY,
        JOIN,
        LEAVE,
        CHAT,
        SEND_MESSAGE,
        REFRESH,
        CANDLES,
        UNCANDLES,
        ALERT,
        ALERTS,
        UNALERT,
    ];
}

/// Names of the events that clients get, but for those of ticks, which are settings.
pub mod to_client {
    /// Answers `subscribe` where there is no callback.
    pub const SUBSCRIBED: &str = "subscribed";
    /// Answers `unsubscribe` where there is no callback.
    pub const UNSUBSCRIBED: &str = "unsubscribed";
    /// Answers `ping` where there is no callback.
    pub const PONG: &str = "pong";
    /// Answers `latency` where there is no callback.
    pub const LATENCY: &str = "latency";
    /// Says how the feed is.
    pub const STATUS: &str = "status";
    /// What symbols did in the last 24 hours.
    pub const STATS: &str = "stats";
    /// What became of a candle.
    pub const CANDLE: &str = "candle";
    /// Something that was said to a room.
    pub const CHAT_MESSAGE: &str = "chat-message";
    /// Something that was sent to a user, or to a room by a back end that names no event.
    pub const MESSAGE: &str = "message";
    /// Who is in a room.
    pub const ROOM_USERS: &str = "room-users";
    /// A price got where an alert waited for it.
    pub const ALERT: &str = "alert";
    /// Says that the token's end is near.
    pub const TOKEN_EXPIRING: &str = "token-expiring";
    /// Says that the connection will be closed, and when.
    pub const DRAIN: &str = "drain";
    /// Says what failed where there is no callback.
    pub const ERROR: &str = "error";
}

/// Why a request failed, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Well-formed, but not what is allowed.
    InvalidPayload,
    /// No event of this name.
    UnknownEvent,
    /// No symbol of this name.
    UnknownSymbol,
    /// More symbols than one request may name.
    TooManySymbols,
    /// The client does not get this symbol's ticks.
    NotSubscribed,
    /// The client's token does not allow it.
    Forbidden,
    /// There is no token that is good.
    Unauthorized,
    /// The token was good.
    TokenExpired,
    /// Too many requests for the time: what is more is not carried out.
    RateLimited,
    /// The server cannot do it now; later it may.
    Unavailable,
    /// Older than what is known already.
    Stale,
}

impl ErrorCode {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "invalid_payload",
            Self::UnknownEvent => "unknown_event",
            Self::UnknownSymbol => "unknown_symbol",
            Self::TooManySymbols => "too_many_symbols",
            Self::NotSubscribed => "not_subscribed",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Stale => "stale",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// In which shape a client gets ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One `tick` event per update and symbol.
    #[default]
    Tick,
    /// One `ticks` event per flush: an array of what changed.
    Batch,
    /// Each update in both shapes.
    Both,
}

impl Mode {
    /// What is allowed, for messages.
    pub const ALLOWED: &str = "tick, batch or both";

    /// True where `tick` events are due.
    pub fn has_tick(self) -> bool {
        self != Self::Batch
    }

    /// True where `ticks` events are due.
    pub fn has_batch(self) -> bool {
        self != Self::Tick
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Batch => "batch",
            Self::Both => "both",
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Tick, Self::Batch, Self::Both].into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod fuzz;
