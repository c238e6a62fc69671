mod attachments;
mod body;
mod connection;
mod frame;
mod heads;
mod inbound;
mod lane;
mod linger;
mod listener;
mod outgoing;
mod pace;
#[cfg(test)]
pub(crate) mod pair;
mod turned_away;
mod upgrades;

pub use connection::{Closer, Limits};
pub use frame::{push_text_frame, text_frame};
pub use lane::Lane;
pub use listener::{Ends, Listener, Settings};
pub use outgoing::{Injected, Opening, Refused};
pub use upgrades::Upgrades;

#[cfg(test)]
mod fuzz;
