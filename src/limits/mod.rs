mod addresses;
mod bucket;
mod refused;
mod session;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::{self, Origins};
use crate::metrics::Metrics;
use addresses::Addresses;
use bucket::{Bucket, Rate};
pub use refused::Refused;
pub use session::{Session, Verdict};

/// When a client should come again that found every place taken: somebody may have gone by then.
const WHEN_FULL: Duration = Duration::from_secs(5);

/// When one should come again that has just begun.
const WHEN_STARTING: Duration = Duration::from_secs(1);

/// How much everybody may: the one place that counts it. Nothing here is asked for a tick.
#[derive(Debug)]
pub struct Limits {
    /// None for any number.
    connections: Option<u32>,
    connections_per_ip: Option<u32>,
    connects: Option<Rate>,
    requests: Option<Rate>,
    messages: Option<Rate>,
    chats: Option<Rate>,
    packets: Option<u32>,
    /// How many messages may be refused in a [`session::ABUSE_WINDOW`]; none for any number.
    abuse: Option<u64>,
    origins: Origins,
    /// How long the engine lets a session live that does not ask to be in a namespace.
    connect_timeout: Duration,
    /// What all times are measured from.
    started: Instant,
    /// Sessions that there are.
    sessions: AtomicU32,
    connected: Mutex<Bucket>,
    addresses: Addresses,
    draining: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Limits {
    /// Everything that `settings` limit, of pages of these `origins`.
    pub fn new(settings: &config::Limits, origins: Origins, metrics: Arc<Metrics>) -> Self {
        let some = |number: u32| (number > 0).then_some(number);
        let rate = |number| some(number).map(|number| Rate::per_second(number, number));
        let messages = some(settings.max_messages_per_second);
        let abuse = u64::from(settings.abuse_factor) * u64::from(settings.max_messages_per_second);
        Self {
            connections: some(settings.max_connections),
            connections_per_ip: some(settings.max_connections_per_ip),
            connects: rate(settings.max_connects_per_second),
            requests: rate(settings.max_http_requests_per_second),
            messages: messages.map(|number| Rate::per_second(number, settings.max_messages_at_once.unwrap_or(number))),
            chats: rate(settings.max_chats_per_second),
            packets: settings.frames_per_second(),
            abuse: (abuse > 0).then_some(abuse),
            origins,
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            started: Instant::now(),
            sessions: AtomicU32::new(0),
            connected: Mutex::default(),
            addresses: Addresses::default(),
            draining: AtomicBool::new(false),
            metrics,
        }
    }

    /// From now on nobody new is let in.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// True once nobody new is let in.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// What those are told who come then.
    pub fn draining() -> Refused {
        Refused::unavailable("the server is about to stop: connect to another one", WHEN_FULL)
    }

    /// What those are told who come before there is anything to be had.
    pub fn starting() -> Refused {
        Refused::unavailable(
            "the server has not found its feed yet: come again, or connect to another one",
            WHEN_STARTING,
        )
    }

    /// Lets a new session in, from a client's address and a page of this origin (none for what is no browser). It has
    /// its place for as long as what is returned lives.
    ///
    /// # Errors
    /// There is no place for it, or it may not; why, and when it may come again.
    pub fn admit(self: &Arc<Self>, address: IpAddr, origin: Option<&[u8]>) -> Result<Arc<Session>, Refused> {
        self.origin(origin)?;
        if self.is_draining() {
            return Err(Self::draining());
        }
        let now = self.now();
        // Each place is given back where a later one is not there.
        let mut session = Session::new(self.clone(), now);
        if let Some(most) = self.connections_per_ip {
            let Some(place) = self.addresses.enter(address, most, now) else {
                self.metrics.limited_addresses.inc();
                let message = format!("there are {most} connections from your address: at most {most} are allowed");
                return Err(Refused::too_many(message, WHEN_FULL));
            };
            session.hold_address(place);
        }
        let more = |taken: u32| self.connections.is_none_or(|most| taken < most).then(|| taken.saturating_add(1));
        if self.sessions.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            self.metrics.limited_connections.inc();
            return Err(Refused::unavailable("every connection of this server is taken: try again later", WHEN_FULL));
        }
        session.hold_place();
        if let Some(rate) = self.connects {
            let taken = self.connected.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take(rate, now);
            if let Err(wait) = taken {
                self.metrics.limited_connects.inc();
                return Err(Refused::busy(
                    format!("too many connect at once: {} a second are let in", rate.per_second),
                    wait,
                ));
            }
        }
        Ok(Arc::new(session))
    }

    /// Looks at the origin of a page; none for what is no browser.
    ///
    /// # Errors
    /// It may not connect.
    pub fn origin(&self, origin: Option<&[u8]>) -> Result<(), Refused> {
        match origin.filter(|origin| !self.origins.allow(origin)) {
            None => Ok(()),
            Some(origin) => {
                self.metrics.limited_origins.inc();
                Err(Refused::origin(origin))
            }
        }
    }

    /// Counts an HTTP request from a client's address.
    ///
    /// # Errors
    /// They are too many; when it may come again.
    pub fn request(&self, address: IpAddr) -> Result<(), Refused> {
        let Some(rate) = self.requests else { return Ok(()) };
        self.addresses.request(address, rate, self.now()).map_err(|wait| {
            self.metrics.limited_requests.inc();
            let message =
                format!("too many requests from your address: at most {} a second are allowed", rate.per_second);
            Refused::too_many(message, wait)
        })
    }

    /// How many packets one that polls may send with a request; none for any number.
    pub fn packets(&self) -> Option<u32> {
        self.packets
    }

    /// Counts a request that had more.
    pub fn too_many_packets(&self) {
        self.metrics.limited_frames.inc();
    }

    /// Since the start.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

#[cfg(test)]
mod tests;
