use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::bucket::{Bucket, Rate};

/// The most addresses that are counted one by one, about 100 bytes each. Those beyond share one place among them.
const MAX_ADDRESSES: usize = 100_000;

/// How often it is looked for addresses of which nothing needs to be known any more.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What is known of each address: how many sessions it has, and its requests. One is forgotten once there is nothing to
/// know of it.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: HashMap<IpAddr, Known>,
    swept: Duration,
}

#[derive(Debug, Default)]
struct Known {
    sessions: u32,
    requests: Bucket,
}

/// The name under which an address is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(IpAddr);

impl Addresses {
    /// Counts a session of an address; none where it has `most` of them already.
    pub(super) fn enter(&self, address: IpAddr, most: u32, now: Duration) -> Option<Place> {
        let mut table = self.lock();
        let place = table.place(address, now);
        let known = table.known.entry(place).or_default();
        if known.sessions >= most {
            return None;
        }
        known.sessions += 1;
        Some(Place(place))
    }

    /// A session that entered has ended.
    pub(super) fn leave(&self, Place(place): Place, now: Duration) {
        let mut table = self.lock();
        if let Some(known) = table.known.get_mut(&place) {
            known.sessions = known.sessions.saturating_sub(1);
            if known.is_idle(now) {
                table.known.remove(&place);
            }
        }
    }

    /// Counts a request of an address.
    ///
    /// # Errors
    /// They are too many; how long until there may be one.
    pub(super) fn request(&self, address: IpAddr, rate: Rate, now: Duration) -> Result<(), Duration> {
        let mut table = self.lock();
        let place = table.place(address, now);
        table.known.entry(place).or_default().requests.take(rate, now)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Table {
    /// Where an address is counted, with room for it.
    fn place(&mut self, address: IpAddr, now: Duration) -> IpAddr {
        let place = network(address);
        if self.known.contains_key(&place) {
            return place;
        }
        if now >= self.swept + SWEEP_EVERY {
            self.swept = now;
            self.known.retain(|_, known| !known.is_idle(now));
        }
        if self.known.len() < MAX_ADDRESSES { place } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

impl Known {
    fn is_idle(&self, now: Duration) -> bool {
        self.sessions == 0 && self.requests.is_full(now)
    }
}

/// What is one client's at least: an IPv4 address, or a /64 of IPv6, of which everybody has all addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn sessions_are_counted_by_address_and_forgotten_with_the_last() {
        let addresses = Addresses::default();
        let enter = |text: &str| addresses.enter(text.parse().unwrap(), 2, Duration::ZERO);
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert_eq!(first, second);
        assert!(enter("192.0.2.1").is_none() && enter("192.0.2.2").is_some());
        addresses.leave(first, Duration::ZERO);
        assert!(enter("192.0.2.1").is_some());
        let v6 = [enter("2001:db8::1"), enter("2001:db8::2"), enter("2001:db8::3"), enter("2001:db8:0:1::1")];
        assert_eq!(v6.map(|place| place.is_some()), [true, true, false, true], "a /64 is one");
        for place in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            addresses.leave(Place(place.parse().unwrap()), Duration::ZERO);
        }
        assert_eq!(addresses.lock().known.len(), 2);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_silent() {
        let (addresses, rate) = (Addresses::default(), Rate::per_second(1, 2));
        let most = u32::try_from(MAX_ADDRESSES).unwrap();
        for number in 1..=most + 1000 {
            addresses.request(address(number), rate, Duration::ZERO).ok();
        }
        assert_eq!(addresses.lock().known.len(), MAX_ADDRESSES + 1);
        assert!(addresses.request(address(most + 2000), rate, Duration::ZERO).is_err(), "those beyond share a place");
        assert!(addresses.request(address(1), rate, Duration::ZERO).is_ok(), "others have their own");
        let later = Duration::from_secs(3);
        assert!(addresses.request(address(most + 2000), rate, later).is_ok());
        assert_eq!(addresses.lock().known.len(), 1);
    }
}
