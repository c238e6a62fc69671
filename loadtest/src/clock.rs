//! What time it is by the wall, the clock that a tick's `ts` was read from.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch. A tick's age is this minus its `ts`, so it is only as true as the two machines'
/// clocks agree; on one machine they are the same clock.
#[expect(clippy::disallowed_methods, reason = "the one place where the wall's clock is read")]
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
