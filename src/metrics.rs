use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Makes it `n`.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One [`Gauge`] per label. The caller bounds the set of labels.
#[derive(Debug, Default)]
pub struct LabelledGauge(Mutex<BTreeMap<String, Arc<Gauge>>>);

impl LabelledGauge {
    /// The number of one label, to be kept by who changes it often.
    pub fn of(&self, label: &str) -> Arc<Gauge> {
        self.lock().entry(label.to_owned()).or_default().clone()
    }

    /// Every label with its number.
    pub fn all(&self) -> BTreeMap<String, i64> {
        self.lock().iter().map(|(label, gauge)| (label.clone(), gauge.get())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Gauge>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What the process counts. One per server; shared by reference.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Socket.IO connections to the default namespace, now.
    pub connections_active: Gauge,
    /// Socket.IO connections to the default namespace, ever.
    pub connections_total: Counter,
    /// Connections to the default namespace that were refused for want of a token that is good.
    pub connections_refused: Counter,
    /// Connected clients that get a symbol's ticks, by symbol.
    pub subscriptions: LabelledGauge,
    /// Ticks that the market took from the bus.
    pub ticks_in: Counter,
    /// Ticks that the market had already: dropped.
    pub ticks_repeated: Counter,
    /// Ticks that a source could not produce in time (the process was stopped or starved), or that the log did not take in
    /// time: never published.
    pub ticks_skipped: Counter,
    /// Times that a source failed and was started again.
    pub source_restarts: Counter,
    /// Connections to an exchange that are up, by source.
    pub source_connections: LabelledGauge,
    /// Connections to exchanges that did not come about, or ended by themselves.
    pub source_reconnects: Counter,
    /// Messages of exchanges that could not be read.
    pub source_garbage: Counter,
    /// Times that an exchange refused a symbol, by both: `FOO-USD@coinbase`.
    pub symbols_refused: LabelledGauge,
    /// Times that the recording began again.
    pub replay_passes: Counter,
    /// Ticks of a source that go back in time, or are far ahead of it: dropped.
    pub ticks_misdated: Counter,
    /// Ticks whose price jumped and was not confirmed by the next one: dropped.
    pub ticks_jumped: Counter,
    /// Ticks that never came from the bus: a hole in its numbers.
    pub ticks_lost: Counter,
    /// Symbols that have had no tick for too long, now.
    pub symbols_stale: Gauge,
    /// Times that the epoch changed under this replica.
    pub epoch_changes: Counter,
    /// Times that the log was trimmed beyond what was read here.
    pub bus_gaps: Counter,
    /// Entries of the log that could not be read.
    pub bus_garbage: Counter,
    /// Updates that were published through the API, by what became of them: `accepted`, or the code of an error.
    pub published: LabelledGauge,
    /// The same of those that came by the input stream.
    pub input: LabelledGauge,
    /// Times that the input stream was found trimmed beyond what was read.
    pub input_gaps: Counter,
    /// Commands to Redis that failed.
    pub redis_errors: Counter,
    /// Ticks that were sent to clients; a tick in a `ticks` array counts once for each client.
    pub deliveries: Counter,
    /// Those of them that went past the engine's queue.
    pub deliveries_by_lane: Counter,
    /// Updates that were not sent on their own: a tick that was sent stands for them.
    pub updates_conflated: Counter,
    /// Times that the fan-out was handed ticks.
    pub flushes: Counter,
    /// Clients for whom something has waited for a second or more, now.
    pub clients_slow: Gauge,
    /// Clients that were disconnected because they took nothing for too long.
    pub slow_disconnects: Counter,
    /// Answers and other messages that found no room with their client.
    pub messages_dropped: Counter,
    /// Messages between replicas that were lost.
    pub messages_lost: Counter,
    /// What back ends said through Redis and could not be carried out.
    pub emits_refused: Counter,
    /// Posts that the back end took, or refused.
    pub backend_posted: Counter,
    /// Posts to the back end that were tried again.
    pub backend_retries: Counter,
    /// Posts that the back end never took, or answered with something that is no answer.
    pub backend_given_up: Counter,
    /// Events received from clients.
    pub messages_received: Counter,
    /// Requests of clients that were answered with an error.
    pub request_errors: Counter,
    /// Connections ended because the client broke the protocol.
    pub protocol_errors: Counter,
    /// Connections refused or lost by the accept loop (out of descriptors, reset before they began).
    pub accept_errors: Counter,
    /// TCP connections, now.
    pub tcp_connections: Gauge,
    /// TCP connections that were answered with 503 because there were too many.
    pub limited_tcp_connections: Counter,
    /// Handshakes refused because every connection was taken.
    pub limited_connections: Counter,
    /// Handshakes refused because their address had too many connections.
    pub limited_addresses: Counter,
    /// Handshakes refused because too many connected at once.
    pub limited_connects: Counter,
    /// Handshakes refused because of their origin.
    pub limited_origins: Counter,
    /// HTTP requests refused because their address sent too many.
    pub limited_requests: Counter,
    /// Messages of clients refused because they were too many.
    pub limited_messages: Counter,
    /// Those refused because they said too much to rooms.
    pub limited_chats: Counter,
    /// Symbols, or requests for symbols, refused because the client had or named too many.
    pub limited_subscriptions: Counter,
    /// Connections ended because their client went on after being refused.
    pub limited_abuse: Counter,
    /// Connections ended because they were in no namespace for too long after they had been in one, or refused.
    pub namespace_timeouts: Counter,
    /// HTTP connections ended because the head of a request took too long.
    pub header_timeouts: Counter,
    /// HTTP requests refused because their body took too long.
    pub body_timeouts: Counter,
}
