mod connection;
mod listener;

pub use connection::{Closer, Upgrades};
pub use listener::{Listener, Settings};
