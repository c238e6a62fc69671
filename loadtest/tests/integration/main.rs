//! The load tester against a feed that does what it is told, right and wrong.

mod faults;
mod shell;
mod support;
