//! The floor: the least that a server can do that sends ticks to Socket.IO clients over WebSockets. On each interval it
//! makes one buffer per set of subscriptions that somebody has, and writes it once to each client, in one thread. What
//! it costs is what the kernel costs.
//!
//! It answers what a client needs to be served: the upgrade, the open packet, CONNECT, `subscribe`, pings. Nothing else:
//! no polling, no unsubscribe, no heartbeat of clients that never subscribe, no history, no limits.
//!
//! `HOST`, `PORT`, `SYMBOLS` and `UPDATE_INTERVAL` are as in tickcast, and so is a tick: `{symbol, price, ts, seq}`.

mod client;
mod frames;
#[path = "../../prices.rs"]
mod prices;
mod wants;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use client::{Client, Stage};
use prices::Prices;
use wants::Sets;

const LISTENER: Token = Token(usize::MAX);

/// Events taken at once: small enough that a flush does not wait for long.
const EVENTS: usize = 1024;

/// How often clients are pinged, as the open packet says.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

fn setting<T: std::str::FromStr>(name: &str, default: &str) -> io::Result<T> {
    let value = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    value.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {value:?} is not allowed")))
}

fn main() -> io::Result<()> {
    let address = SocketAddr::new(setting::<IpAddr>("HOST", "127.0.0.1")?, setting("PORT", "3000")?);
    let symbols: String = setting("SYMBOLS", "BTC,ETH,SOL,ADA,XRP")?;
    let symbols: Vec<String> = symbols.split(',').map(str::to_owned).collect();
    let interval = Duration::from_millis(setting::<u64>("UPDATE_INTERVAL", "500")?.max(1));

    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor { prices: Prices::new(&symbols), sets: Sets::new(symbols), clients: Slab::new() };

    let mut events = Events::with_capacity(EVENTS);
    let mut scratch = vec![0; READ_BYTES];
    let mut due = Instant::now() + interval;
    let mut ping_due = Instant::now() + PING_INTERVAL;
    loop {
        match poll.poll(&mut events, Some(due.saturating_duration_since(Instant::now()))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, poll.registry())?,
                Token(key) => floor.serve(key, event.is_readable(), event.is_writable(), &mut scratch),
            }
        }
        let now = Instant::now();
        if now >= due {
            let ping = now >= ping_due;
            if ping {
                ping_due = now + PING_INTERVAL;
            }
            floor.flush(ping);
            // A late flush is made up at once, as in tickcast.
            due += interval;
        }
    }
}

struct Floor {
    prices: Prices,
    sets: Sets,
    clients: Slab<Client>,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, registry: &Registry) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    // A failure means that the peer has gone already; reading will tell.
                    stream.set_nodelay(true).ok();
                    let entry = self.clients.vacant_entry();
                    registry.register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
                    entry.insert(Client::new(stream));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn serve(&mut self, key: usize, readable: bool, writable: bool, scratch: &mut [u8]) {
        // Gone since the event was made.
        let Some(client) = self.clients.get_mut(key) else { return };
        if readable {
            client.read(scratch, &mut self.sets);
        }
        if writable {
            client.write_rest();
        }
        if client.stage == Stage::Over {
            let client = self.clients.remove(key);
            self.sets.leave(client.set);
        }
    }

    /// One step of the prices, one buffer per set, one write per client.
    fn flush(&mut self, ping: bool) {
        let (prices, seq) = self.prices.step();
        self.sets.encode(&prices, seq, prices::now_ms(), ping);
        for (_, client) in &mut self.clients {
            if let Some(set) = client.set {
                // One that has gone is removed when its end is read.
                client.write(self.sets.buffer(set));
            }
        }
    }
}
