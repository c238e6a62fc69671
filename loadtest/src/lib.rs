//! Loads a Socket.IO feed, and says what its clients got.
//!
//! Reading downward is following a run: [`args`] says what is asked for, [`plan`] when what happens, [`sets`] who
//! subscribes to what. [`run`] carries it out with one [`client`] each, which speaks the protocols of [`wire`]. What
//! comes is checked by [`check`], counted by [`measure`], and put beside what processes used ([`usage`]) in [`report`].
//!
//! All of it is one thread: a second one would take its core from the server that is measured.

pub mod args;
pub mod plan;
pub mod sets;

pub mod record;
pub mod run;

pub mod client;
pub mod wire;

pub mod check;
pub mod clock;
pub mod measure;
pub mod usage;

pub mod report;
