//! tickcast: a Socket.IO-compatible real-time price feed server.
//!
//! Reading this file downward is following a tick:
//!
//! ```text
//! sources ──> bus ──> market ──> fanout ──> sockets ──> browser
//! (where       (one     (what is    (who gets   (Socket.IO:
//!  prices       ordered  true now)   what, when) connect, subscribe)
//!  come from)   log)
//! ```
//!
//! Calls follow the data; nothing flows back. Which module may import which is a table in ARCHITECTURE.md that a
//! test keeps true.

/// The words that everybody uses: symbols, prices, updates, ticks, epochs.
pub mod price;

/// Names that are allowed, with `*` for anything.
pub mod pattern;

/// Where time comes from, so that a test can turn the clock back.
pub mod clock;

/// Whole numbers in as few bytes as they need.
mod varint;

/// Files of what outlives the process.
pub mod journal;

/// What the process counts about itself.
pub mod metrics;

/// What tries the parsers of clients' bytes.
#[cfg(test)]
mod fuzzing;

/// Every setting, its default and its limits.
pub mod config;

/// Where prices come from.
pub mod sources;

/// The one ordered log of ticks.
pub mod bus;

/// What is true now: the latest tick of each symbol, and its recent history.
pub mod market;

/// What keeps candles beyond the process.
pub mod keeping;

/// The contract with clients: event names, payloads, answers, error codes.
pub mod wire;

/// What back ends publish: checked, and handed to the bus.
pub mod publish;

/// Who may do what: tokens, guests, keys, and whose address a request has.
pub mod auth;

/// How much everybody may: connections, messages, requests.
pub mod limits;

/// Files of ticks: recording and reading them.
pub mod recording;

/// Who gets which tick, and when.
pub mod fanout;

/// Accepted connections.
pub mod net;

/// Who is told what that is not a tick: rooms, users, back ends, and who waits for a price.
pub mod messages;

/// The Socket.IO edge.
pub mod sockets;

/// The HTTP edge.
pub mod http;

/// Where the log goes, and what keeps it small.
pub mod logs;

/// What the binary does beside serving.
pub mod commands;

/// The wiring: every channel, every task, the order of shutdown.
pub mod app;
