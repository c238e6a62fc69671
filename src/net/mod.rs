mod attachments;
mod connection;
mod inbound;
mod listener;

pub use connection::{Closer, Upgrades};
pub use listener::{Ends, Listener, Settings};
