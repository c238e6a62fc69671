//! The real server on a free port, and the source itself, seen from outside.

mod client;
mod clock;
mod house;
mod settings;
