mod kinds;
mod page;
mod queues;

pub use kinds::{Counter, Gauge, Histogram, LabelledCounter, LabelledGauge, Tally};
pub use page::{Kind, Page};
pub use queues::Queues;

/// What is said of families that several counts are in.
const FAMILIES: &[(&str, &str)] = &[
    (
        "tickcast_updates_conflated_total",
        "Updates that were not sent on their own: a tick that was sent stands for them.",
    ),
    ("tickcast_messages_dropped_total", "Messages that did not reach all those whom they were for."),
    ("tickcast_data_file_bytes", "The size of a file in DATA_DIR, in bytes."),
    ("tickcast_limits_hit_total", "What was refused, or ended, by a limit."),
    ("tickcast_errors_total", "What went wrong with clients."),
];

/// A number that can be put on a [`Page`].
trait Shown {
    /// What is behind its name where nothing else is said.
    const SUFFIX: &'static str;

    fn show(&self, page: &mut Page, name: &str, help: &str, labels: &[(&str, &str)], by: &str);
}

impl Shown for Counter {
    const SUFFIX: &'static str = "_total";

    fn show(&self, page: &mut Page, name: &str, help: &str, labels: &[(&str, &str)], _: &str) {
        page.add(Kind::Counter, name, help, labels, self.get() as f64);
    }
}

impl Shown for Gauge {
    const SUFFIX: &'static str = "";

    fn show(&self, page: &mut Page, name: &str, help: &str, labels: &[(&str, &str)], _: &str) {
        page.add(Kind::Gauge, name, help, labels, self.get() as f64);
    }
}

impl Shown for LabelledGauge {
    const SUFFIX: &'static str = "";

    fn show(&self, page: &mut Page, name: &str, help: &str, _: &[(&str, &str)], by: &str) {
        for (label, number) in self.all().into_iter().take(Page::MOST_OF_A_KIND) {
            page.add(Kind::Gauge, name, help, &[(by, &label)], number as f64);
        }
    }
}

impl Shown for LabelledCounter {
    const SUFFIX: &'static str = "_total";

    fn show(&self, page: &mut Page, name: &str, help: &str, _: &[(&str, &str)], by: &str) {
        for (label, number) in self.all().into_iter().take(Page::MOST_OF_A_KIND) {
            page.add(Kind::Counter, name, help, &[(by, &label)], number as f64);
        }
    }
}

impl Shown for Histogram {
    const SUFFIX: &'static str = "_seconds";

    fn show(&self, page: &mut Page, name: &str, help: &str, _: &[(&str, &str)], _: &str) {
        page.histogram(name, help, self);
    }
}

fn show<S: Shown>(shown: &S, page: &mut Page, field: &str, doc: &str, name: &str, labels: &[(&str, &str)], by: &str) {
    let usual = format!("tickcast_{field}{}", S::SUFFIX);
    let name = if name.is_empty() { &usual } else { name };
    let help = FAMILIES.iter().find(|(family, _)| *family == name).map_or(doc.trim(), |(_, help)| help);
    shown.show(page, name, help, labels, by);
}

/// The list of what is counted. The doc comment is the help text that Prometheus gets. The name there is `tickcast_`, the
/// field's, and what is usual for its kind; or the one behind `=`, with a label that tells it from others of that name.
/// `by` names the label of those that have one number for each.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ pub $field:ident: $kind:ident
       $(by $by:ident)? $(= $name:literal $({ $label:ident = $value:literal })?)?,)*) => {
        /// What the process counts. One per server; shared by reference.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: $kind,)*
            /// The channels between parts.
            pub queues: Queues,
        }

        impl Metrics {
            /// Puts all of it on a page.
            pub fn show(&self, page: &mut Page) {
                $({
                    let labels: &[(&str, &str)] = &[$($((stringify!($label), $value))?)?];
                    let (name, by) = (concat!($($name)?), concat!($(stringify!($by))?));
                    show(&self.$field, page, stringify!($field), concat!($($doc),+), name, labels, by);
                })*
                for (queue, depth, capacity) in self.queues.all() {
                    let labels = [("queue", queue)];
                    let (depth, capacity) = (depth as f64, capacity as f64);
                    let (waits, may) = ("What waits in a queue, of several the fullest.", "What may wait in a queue.");
                    page.add(Kind::Gauge, "tickcast_queue_depth", waits, &labels, depth);
                    page.add(Kind::Gauge, "tickcast_queue_capacity", may, &labels, capacity);
                }
                // What the name promises: everything.
                let errors = self.protocol_errors.get() + self.request_errors.get() + self.accept_errors.get();
                let help = "What went wrong with clients, of every kind.";
                page.number(Kind::Counter, "socket_errors_total", help, errors as f64);
            }
        }
    };
}

metrics! {
    /// Socket.IO connections to the default namespace, now.
    pub connections_active: Gauge = "socket_connections_active",
    /// Socket.IO connections to the default namespace, ever.
    pub connections_total: Counter = "socket_connections_total",
    /// Connections to the default namespace that were refused for want of a token that is good.
    pub connections_refused: Counter,
    /// Connected clients that get a symbol's ticks, by symbol.
    pub subscriptions: LabelledGauge by symbol,
    /// Ticks that the market took from the bus.
    pub ticks_in: Counter = "tickcast_ticks_received_total",
    /// Ticks that the market had already: dropped.
    pub ticks_repeated: Counter,
    /// Ticks that a source could not produce in time (the process was stopped or starved), or that the log did not take in
    /// time: never published.
    pub ticks_skipped: Counter,
    /// Times that a source failed and was started again.
    pub source_restarts: Counter,
    /// Connections to an exchange that are up, by source.
    pub source_connections: LabelledGauge by source,
    /// Connections to exchanges that did not come about, or ended by themselves.
    pub source_reconnects: Counter,
    /// Messages of exchanges that could not be read.
    pub source_garbage: Counter,
    /// Times that an exchange refused a symbol, by both: `FOO-USD@coinbase`.
    pub symbols_refused: LabelledCounter by symbol,
    /// Candles of the past that exchanges gave, by source.
    pub past_candles: LabelledCounter by source = "tickcast_exchange_past_candles_total",
    /// Requests for the past of an exchange that failed, by source.
    pub past_failures: LabelledCounter by source = "tickcast_exchange_past_failures_total",
    /// Pages of an exchange's past that could not be had, by source.
    pub past_missing: LabelledCounter by source = "tickcast_exchange_past_missing_total",
    /// Times that the recording began again.
    pub replay_passes: Counter,
    /// Ticks of a source that go back in time, or are far ahead of it: dropped.
    pub ticks_misdated: Counter,
    /// Trades that an exchange said once more to a replica that has just subscribed: dropped.
    pub ticks_said_again: Counter,
    /// Ticks whose price jumped and was not confirmed by the next one: dropped.
    pub ticks_jumped: Counter,
    /// Ticks that never came from the bus: a hole in its numbers.
    pub ticks_lost: Counter,
    /// Ticks that are neither in what is stored of candles nor in the log: candles have a hole.
    pub candles_lost: Counter = "tickcast_candle_ticks_lost_total",
    /// Candles that were taken from those who have the past, or wait for their symbol's first price.
    pub candles_filled: Counter = "tickcast_candles_filled_total",
    /// Candles of the past, or stored ones, that there was no place for.
    pub candles_passed_over: Counter = "tickcast_candles_passed_over_total",
    /// Records of stored candles that could not be read.
    pub candles_unreadable: Counter = "tickcast_candles_unreadable_records_total",
    /// Times that candles could not be stored, in DATA_DIR or Redis.
    pub keep_failures: Counter = "tickcast_candles_store_failures_total",
    /// Bytes at the end of a file in DATA_DIR, or in its middle, that were no record when it was opened.
    pub keep_lost_bytes: Counter = "tickcast_data_lost_bytes_total",
    /// The size of the file of candles in DATA_DIR, in bytes.
    pub keep_file_bytes: Gauge = "tickcast_data_file_bytes" { file = "candles" },
    /// The same, of the file of users' alerts.
    pub alerts_file_bytes: Gauge = "tickcast_data_file_bytes" { file = "alerts" },
    /// Ticks that were left out of candles because what they belong to was not held any more; each counts once for each
    /// interval.
    pub candles_late: Counter = "tickcast_candle_ticks_too_late_total",
    /// Symbols that have had no tick for too long, now.
    pub symbols_stale: Gauge,
    /// Times that the epoch changed under this replica.
    pub epoch_changes: Counter,
    /// Times that this replica went on without the shared log, under an epoch of its own.
    pub islands: Counter,
    /// 1 while it does.
    pub alone: Gauge,
    /// Times that the log was trimmed beyond what was read here.
    pub bus_gaps: Counter,
    /// Entries of the log that could not be read.
    pub bus_garbage: Counter = "tickcast_bus_unreadable_entries_total",
    /// Updates that were published through the API, by what became of them: `accepted`, or the code of an error.
    pub published: LabelledCounter by outcome,
    /// Updates that came by the input stream, by what became of them.
    pub input: LabelledCounter by outcome = "tickcast_input_updates_total",
    /// Times that the input stream was found trimmed beyond what was read.
    pub input_gaps: Counter,
    /// Commands to Redis that failed.
    pub redis_errors: Counter,
    /// Ticks that were sent to clients; a tick in a `ticks` array counts once for each client.
    pub deliveries: Counter = "tickcast_ticks_delivered_total",
    /// Those of them that went past the engine's queue.
    pub deliveries_by_lane: Counter = "tickcast_ticks_delivered_by_lane_total",
    /// Events with candles or statistics that were sent to clients.
    pub charts_sent: Counter = "tickcast_chart_events_total",
    /// Updates that were not sent on their own because clients asked for fewer (`maxRate`): a tick stands for them.
    pub conflated_paced: Counter = "tickcast_updates_conflated_total" { reason = "paced" },
    /// Updates that were not sent on their own because the client was behind: a tick stands for them.
    pub conflated_behind: Counter = "tickcast_updates_conflated_total" { reason = "behind" },
    /// Times that the fan-out was handed ticks.
    pub flushes: Counter,
    /// How old ticks were when they were written to clients, by their source's time; each counts once for each client.
    pub tick_age: Histogram = "tickcast_tick_age_seconds",
    /// How long a shard of the fan-out took to write one flush to all of its clients.
    pub flush_duration: Histogram = "tickcast_flush_duration_seconds",
    /// Sets of clients that want the same, now: what goes to one is built once.
    pub cohorts: Gauge,
    /// Clients for whom something has waited for a second or more, now.
    pub clients_slow: Gauge = "tickcast_slow_clients",
    /// Clients that were disconnected because they took nothing for too long.
    pub slow_disconnects: Counter = "tickcast_slow_clients_disconnected_total",
    /// Answers and other messages that found no room with their client.
    pub messages_dropped: Counter = "tickcast_messages_dropped_total" { reason = "client_full" },
    /// Messages between replicas that were lost.
    pub messages_lost: Counter = "tickcast_messages_dropped_total" { reason = "between_replicas" },
    /// What back ends said through Redis and could not be carried out.
    pub emits_refused: Counter = "tickcast_messages_dropped_total" { reason = "emitter_refused" },
    /// Alerts that are held here, now: those of every user, and of this replica's connections.
    pub alerts: Gauge,
    /// Times that an alert fired here, whether anybody is here to be told or not.
    pub alerts_fired: Counter,
    /// Times that changes of users' alerts could not be stored in DATA_DIR.
    pub alerts_store_failures: Counter,
    /// Times that an alert fired and this replica told the back end.
    pub alerts_posted: Counter,
    /// Alerts that fired and were not told: too many had fired at once, or the server ended.
    pub alerts_dropped: Counter = "tickcast_messages_dropped_total" { reason = "alerts" },
    /// Posts that the back end took, or refused.
    pub backend_posted: Counter,
    /// Posts to the back end that were tried again.
    pub backend_retries: Counter,
    /// Posts that the back end never took, or answered with something that is no answer.
    pub backend_given_up: Counter = "tickcast_messages_dropped_total" { reason = "backend_given_up" },
    /// Events received from clients.
    pub messages_received: Counter = "socket_messages_received_total",
    /// Events sent to clients: ticks, answers and messages.
    pub messages_sent: Counter = "socket_messages_sent_total",
    /// Requests of clients that were answered with an error.
    pub request_errors: Counter = "tickcast_errors_total" { kind = "request" },
    /// Connections ended because the client broke the protocol.
    pub protocol_errors: Counter = "tickcast_errors_total" { kind = "protocol" },
    /// Connections refused or lost by the accept loop (out of descriptors, reset before they began).
    pub accept_errors: Counter = "tickcast_errors_total" { kind = "accept" },
    /// TCP connections, now.
    pub tcp_connections: Gauge,
    /// TCP connections that were answered with 503 because there were too many.
    pub limited_tcp_connections: Counter = "tickcast_limits_hit_total" { limit = "tcp_connections" },
    /// Handshakes refused because every connection was taken.
    pub limited_connections: Counter = "tickcast_limits_hit_total" { limit = "connections" },
    /// Handshakes refused because their address had too many connections.
    pub limited_addresses: Counter = "tickcast_limits_hit_total" { limit = "connections_per_ip" },
    /// Handshakes refused because too many connected at once.
    pub limited_connects: Counter = "tickcast_limits_hit_total" { limit = "connects" },
    /// Handshakes refused because of their origin.
    pub limited_origins: Counter = "tickcast_limits_hit_total" { limit = "origins" },
    /// HTTP requests refused because their address sent too many.
    pub limited_requests: Counter = "tickcast_limits_hit_total" { limit = "http_requests" },
    /// Messages of clients refused because they were too many.
    pub limited_messages: Counter = "tickcast_limits_hit_total" { limit = "messages" },
    /// Those refused because they said too much to rooms.
    pub limited_chats: Counter = "tickcast_limits_hit_total" { limit = "chats" },
    /// Sessions ended because their clients sent too many frames over a WebSocket, or packets with a request.
    pub limited_frames: Counter = "tickcast_limits_hit_total" { limit = "frames" },
    /// Symbols, or requests for symbols, refused because the client had or named too many.
    pub limited_subscriptions: Counter = "tickcast_limits_hit_total" { limit = "subscriptions" },
    /// Alerts refused because the user or the server had too many.
    pub limited_alerts: Counter = "tickcast_limits_hit_total" { limit = "alerts" },
    /// Connections ended because their client went on after being refused.
    pub limited_abuse: Counter = "tickcast_limits_hit_total" { limit = "abuse" },
    /// Connections ended because they were in no namespace for too long: not yet, refused, or not any more.
    pub namespace_timeouts: Counter = "tickcast_limits_hit_total" { limit = "connect_timeout" },
    /// HTTP connections ended because the head of a request took too long.
    pub header_timeouts: Counter = "tickcast_limits_hit_total" { limit = "http_header_timeout" },
    /// HTTP requests refused because their body took too long.
    pub body_timeouts: Counter = "tickcast_limits_hit_total" { limit = "http_body_timeout" },
    /// HTTP connections ended because no next request came for too long, as browsers and proxies let it happen all day.
    pub idle_timeouts: Counter = "tickcast_http_idle_timeouts_total",
}
