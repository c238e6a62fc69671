//! The real server on a free port, and the source itself, seen from outside.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions marked as tests, not what they call")]

mod attachments;
mod client;
mod clock;
mod house;
mod recording;
mod server;
mod settings;
mod tokens;
