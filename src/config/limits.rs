use super::parse;

/// Frames for each message, where nothing else is said, and the least of them: an honest client needs one, and a heartbeat
/// now and then.
const FRAMES_PER_MESSAGE: u32 = 10;
const LEAST_FRAMES: u32 = 1000;

/// How much everybody may.
#[derive(Clone, Debug, clap::Args)]
pub struct Limits {
    /// The largest message, frame or polling body that a client may send, in bytes, 1000 to 100000000. Read from the
    /// `MAX_PAYLOAD` environment variable.
    #[arg(long = "max-payload", env = "MAX_PAYLOAD", global = true, default_value = "1000000",
          value_parser = parse::range(1_000, 100_000_000), value_name = "BYTES")]
    pub max_payload_bytes: u64,

    /// How long the binary attachments that a packet announces may take before its connection is ended, in ms, 100 to
    /// 600000. Read from the `ATTACHMENTS_TIMEOUT` environment variable.
    #[arg(long = "attachments-timeout", env = "ATTACHMENTS_TIMEOUT", global = true, default_value = "10000",
          value_parser = parse::range(100, 600_000), value_name = "MS")]
    pub attachments_timeout_ms: u64,

    /// How many messages a client may send, per second, 0 (any number) to 1000000. What is more is answered with
    /// `rate_limited`. Read from the `MAX_MESSAGES_PER_SECOND` environment variable.
    #[arg(long, env = "MAX_MESSAGES_PER_SECOND", global = true, default_value = "100",
          value_parser = parse::count(0, 1_000_000), value_name = "MESSAGES")]
    pub max_messages_per_second: u32,

    /// How many of them may come at once, after a silence, 1 to 1000000. Default: as many as in a second. Read from the
    /// `MAX_MESSAGES_AT_ONCE` environment variable.
    #[arg(long, env = "MAX_MESSAGES_AT_ONCE", global = true, value_parser = parse::count(1, 1_000_000),
          value_name = "MESSAGES")]
    pub max_messages_at_once: Option<u32>,

    /// How many frames a client may send over a WebSocket, per second, and how many packets with one request where it polls,
    /// 0 (any number) to 100000000: its messages, and what is none, such as heartbeats, acknowledgements, and packets for
    /// namespaces that there are not. Who sends more is disconnected. Default: ten for each message that may come in a second, or at once, and 1000 at least. Read from the
    /// `MAX_FRAMES_PER_SECOND` environment variable.
    #[arg(long, env = "MAX_FRAMES_PER_SECOND", global = true, value_parser = parse::count(0, 100_000_000),
          value_name = "FRAMES")]
    pub max_frames_per_second: Option<u32>,

    /// How many of its messages may say something to a room or a user, per second, 0 (any number) to 1000000. Read from the
    /// `MAX_CHATS_PER_SECOND` environment variable.
    #[arg(long, env = "MAX_CHATS_PER_SECOND", global = true, default_value = "10",
          value_parser = parse::count(0, 1_000_000), value_name = "MESSAGES")]
    pub max_chats_per_second: u32,

    /// When a client is disconnected that goes on: once more than so many times the messages of a second were refused
    /// within 5 s, 0 (never) to 1000. Read from the `ABUSE_FACTOR` environment variable.
    #[arg(long, env = "ABUSE_FACTOR", global = true, default_value = "5", value_parser = parse::count(0, 1_000),
          value_name = "TIMES")]
    pub abuse_factor: u32,

    /// How many symbols a client may have subscribed, 0 (any number) to 1000000; `*` is as many as it gives when it is
    /// asked for. Read from the `MAX_SUBSCRIPTIONS` environment variable.
    #[arg(long, env = "MAX_SUBSCRIPTIONS", global = true, default_value = "10000",
          value_parser = parse::count(0, 1_000_000), value_name = "SYMBOLS")]
    pub max_subscriptions: u32,

    /// How many symbols one request may name, 1 to 1000. Read from the `MAX_SYMBOLS_PER_REQUEST` environment variable.
    #[arg(long, env = "MAX_SYMBOLS_PER_REQUEST", global = true, default_value = "1000",
          value_parser = parse::count(1, 1_000), value_name = "SYMBOLS")]
    pub max_symbols_per_request: u32,

    /// How many candles a client may follow, symbols and intervals, 0 to 10000. Read from the
    /// `MAX_CANDLE_SUBSCRIPTIONS` environment variable.
    #[arg(long = "max-candle-subscriptions", env = "MAX_CANDLE_SUBSCRIPTIONS", global = true, default_value = "100",
          value_parser = parse::count(0, 10_000), value_name = "CANDLES")]
    pub max_candles: u32,

    /// How many alerts a user may have (without a token: a connection), 0 (none) to 100000. Read from the `MAX_ALERTS`
    /// environment variable.
    #[arg(long, env = "MAX_ALERTS", global = true, default_value = "100", value_parser = parse::count(0, 100_000),
          value_name = "ALERTS")]
    pub max_alerts: u32,

    /// How many alerts there may be in all, 0 (none) to 10000000: those of all users of all replicas, and of this one's
    /// connections. One takes about 500 bytes. Read from the `MAX_ALERTS_TOTAL` environment variable.
    #[arg(long, env = "MAX_ALERTS_TOTAL", global = true, default_value = "100000",
          value_parser = parse::count(0, 10_000_000), value_name = "ALERTS")]
    pub max_alerts_total: u32,

    /// How many Socket.IO connections there may be, 0 (any number) to 10000000. Read from the `MAX_CONNECTIONS`
    /// environment variable.
    #[arg(long, env = "MAX_CONNECTIONS", global = true, default_value = "0",
          value_parser = parse::count(0, 10_000_000), value_name = "CONNECTIONS")]
    pub max_connections: u32,

    /// How many of them from one address (IPv6: from one /64), 0 (any number) to 10000000. Behind a proxy it needs
    /// `TRUSTED_PROXIES`. Read from the `MAX_CONNECTIONS_PER_IP` environment variable.
    #[arg(long, env = "MAX_CONNECTIONS_PER_IP", global = true, default_value = "0",
          value_parser = parse::count(0, 10_000_000), value_name = "CONNECTIONS")]
    pub max_connections_per_ip: u32,

    /// How many of them may begin per second, 0 (any number) to 1000000. Read from the `MAX_CONNECTS_PER_SECOND`
    /// environment variable.
    #[arg(long, env = "MAX_CONNECTS_PER_SECOND", global = true, default_value = "0",
          value_parser = parse::count(0, 1_000_000), value_name = "CONNECTIONS")]
    pub max_connects_per_second: u32,

    /// How many TCP connections there may be, of whatever kind, 0 (any number) to 10000000. A client that polls has two
    /// or more. Read from the `MAX_TCP_CONNECTIONS` environment variable.
    #[arg(long, env = "MAX_TCP_CONNECTIONS", global = true, default_value = "0",
          value_parser = parse::count(0, 10_000_000), value_name = "CONNECTIONS")]
    pub max_tcp_connections: u32,

    /// How many HTTP requests one address may send (IPv6: one /64), per second, 0 (any number) to 1000000; polls of
    /// Socket.IO count, messages over a WebSocket do not. Read from the `MAX_HTTP_REQUESTS_PER_SECOND` environment
    /// variable.
    #[arg(long, env = "MAX_HTTP_REQUESTS_PER_SECOND", global = true, default_value = "0",
          value_parser = parse::count(0, 1_000_000), value_name = "REQUESTS")]
    pub max_http_requests_per_second: u32,

    /// How long a connection may be in no namespace, at its beginning and later, in ms, 100 to 600000. Read from the
    /// `CONNECT_TIMEOUT` environment variable.
    #[arg(long = "connect-timeout", env = "CONNECT_TIMEOUT", global = true, default_value = "45000",
          value_parser = parse::range(100, 600_000), value_name = "MS")]
    pub connect_timeout_ms: u64,

    /// How long the head of an HTTP request may take, in ms, 100 to 600000. Read from the `HTTP_HEADER_TIMEOUT`
    /// environment variable.
    #[arg(long = "http-header-timeout", env = "HTTP_HEADER_TIMEOUT", global = true, default_value = "10000",
          value_parser = parse::range(100, 600_000), value_name = "MS")]
    pub http_header_timeout_ms: u64,

    /// How long the body of an HTTP request may take, in ms, 100 to 600000. Read from the `HTTP_BODY_TIMEOUT`
    /// environment variable.
    #[arg(long = "http-body-timeout", env = "HTTP_BODY_TIMEOUT", global = true, default_value = "30000",
          value_parser = parse::range(100, 600_000), value_name = "MS")]
    pub http_body_timeout_ms: u64,

    /// How long an HTTP connection may wait for its next request, in ms, 100 to 3600000. Longer than the proxy in front
    /// keeps its own. Read from the `HTTP_IDLE_TIMEOUT` environment variable.
    #[arg(long = "http-idle-timeout", env = "HTTP_IDLE_TIMEOUT", global = true, default_value = "75000",
          value_parser = parse::range(100, 3_600_000), value_name = "MS")]
    pub http_idle_timeout_ms: u64,
}

impl Limits {
    /// How many frames a client may send over a WebSocket, per second; none for any number.
    pub fn frames_per_second(&self) -> Option<u32> {
        let usual = || match self.max_messages_per_second {
            0 => 0,
            number => {
                let messages = number.max(self.max_messages_at_once.unwrap_or(0));
                messages.saturating_mul(FRAMES_PER_MESSAGE).max(LEAST_FRAMES)
            }
        };
        Some(self.max_frames_per_second.unwrap_or_else(usual)).filter(|number| *number > 0)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn frames_are_ten_for_each_message_unless_somebody_says_otherwise() {
        let frames = |flags: &[&str]| {
            let args = ["tickcast"].iter().chain(flags).map(Into::into);
            Config::load(args).unwrap().1.limits.frames_per_second()
        };
        assert_eq!(frames(&[]), Some(1000));
        assert_eq!(frames(&["--max-messages-per-second=5"]), Some(1000));
        assert_eq!(frames(&["--max-messages-per-second=5", "--max-messages-at-once=200"]), Some(2000));
        assert_eq!(frames(&["--max-messages-per-second=0"]), None);
        assert_eq!(frames(&["--max-messages-per-second=0", "--max-frames-per-second=7"]), Some(7));
        assert_eq!(frames(&["--max-frames-per-second=0"]), None);
    }
}
