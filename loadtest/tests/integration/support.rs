//! A feed that can be made to misbehave: WebSocket only, one symbol, a thousand ticks a second.

#![allow(clippy::unwrap_used, reason = "clippy knows only functions marked as tests, not what they call")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tickcast_loadtest::clock::wall_us;

/// A tick to send.
#[derive(Clone, Debug)]
pub struct Tick {
    pub seq: u64,
    pub n: u64,
    pub price: u64,
    /// Sent with the first tick of an epoch alone.
    pub epoch: u64,
}

/// The plain tick of a number.
pub fn plain(seq: u64) -> Tick {
    Tick { seq, n: 1, price: seq, epoch: 0 }
}

/// What a feed does.
#[derive(Clone, Copy)]
pub struct Deeds {
    /// What is sent in the place of the tick of this number (they go on by one each ms), to the client of this number.
    pub ticks: fn(u64, usize) -> Vec<Tick>,
    /// What is sent once a client has subscribed, before its first tick: packets, `$TICK` being the tick to start from.
    pub answer: &'static str,
    /// What is sent to a client that wants to enter.
    pub enter: &'static str,
    /// Ticks wait from one of these times to the other, in ms from the start: then all of them come at once.
    pub stall_ms: (u64, u64),
    /// The connection ends after so many ms.
    pub life_ms: u64,
}

impl Default for Deeds {
    fn default() -> Self {
        Self {
            ticks: |seq, _| vec![plain(seq)],
            answer: r#"430[{"ok":true,"snapshot":[$TICK]}]"#,
            enter: r#"40{"sid":"x"}"#,
            stall_ms: (0, 0),
            life_ms: u64::MAX,
        }
    }
}

/// A feed that runs until it is dropped.
pub struct Feed {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    subscribed: Arc<AtomicUsize>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The listener waits for one more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Feed {
    pub fn start(deeds: Deeds) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, stop, clients) =
            (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        let subscribed = Arc::new(AtomicUsize::new(0));
        let (stopped, begin, counter) = (stop.clone(), Instant::now(), subscribed.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (stop, counter, mut stream) = (stopped.clone(), counter.clone(), stream.unwrap());
                // Who connects only to see whether somebody listens is no client.
                let Some(request) = request(&mut stream) else {
                    continue;
                };
                assert!(request.contains("transport=websocket"), "{request}");
                let client = clients.fetch_add(1, Ordering::Relaxed);
                // It ends when the tester leaves.
                thread::spawn(move || serve(stream, client, deeds, begin, (&stop, &counter)));
            }
        });
        Self { address, stop, subscribed }
    }

    /// How many clients have subscribed so far.
    pub fn subscribed(&self) -> usize {
        self.subscribed.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        request.push(byte[0]);
    }
    String::from_utf8(request).ok()
}

fn serve(
    mut stream: TcpStream,
    client: usize,
    deeds: Deeds,
    begin: Instant,
    (stop, subscribed): (&AtomicBool, &AtomicUsize),
) -> Option<()> {
    let elapsed_ms = || u64::try_from(begin.elapsed().as_millis()).unwrap();
    stream
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .ok()?;
    send(&mut stream, r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#)?;
    assert_eq!(receive(&mut stream)?, "40");
    send(&mut stream, deeds.enter)?;
    let subscribe = receive(&mut stream)?;
    assert!(subscribe.starts_with(r#"420["subscribe","#), "{subscribe}");
    subscribed.fetch_add(1, Ordering::Relaxed);
    let (from, mut sent) = (elapsed_ms(), elapsed_ms() + 1);
    // What this feed sends at that number, or the plain tick of it where it sends nothing.
    let first = (deeds.ticks)(sent, client).pop().unwrap_or_else(|| plain(sent));
    let mut epoch = first.epoch;
    for packet in deeds.answer.replace("$TICK", &json(&Tick { n: 1, ..first }, true, wall_us())).split_whitespace() {
        send(&mut stream, packet)?;
    }
    while !stop.load(Ordering::Relaxed) && elapsed_ms() < from.saturating_add(deeds.life_ms) {
        thread::park_timeout(Duration::from_millis(2));
        let due = elapsed_ms();
        if (deeds.stall_ms.0..deeds.stall_ms.1).contains(&due) {
            continue;
        }
        while sent < due {
            sent += 1;
            for tick in (deeds.ticks)(sent, client) {
                // A tick has its number's time, whenever it is sent.
                let late_us = i64::try_from(due.saturating_sub(sent)).unwrap() * 1000;
                let named = std::mem::replace(&mut epoch, tick.epoch) != tick.epoch;
                send(&mut stream, &format!(r#"42["tick",{}]"#, json(&tick, named, wall_us() - late_us)))?;
            }
        }
    }
    Some(())
}

fn json(tick: &Tick, named: bool, ts_us: i64) -> String {
    let Tick { seq, n, price, epoch } = tick;
    let epoch = if named { format!(r#","epoch":"e{epoch}""#) } else { String::new() };
    let n = if *n == 1 { String::new() } else { format!(r#","n":{n}"#) };
    format!(r#"{{"symbol":"BTC","price":{price},"ts":{},"seq":{seq}{n}{epoch}}}"#, ts_us / 1000)
}

fn send(stream: &mut TcpStream, packet: &str) -> Option<()> {
    let mut frame = vec![0x81];
    match packet.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap()),
        length => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(packet.as_bytes());
    stream.write_all(&frame).ok()
}

/// A short text frame of a client.
fn receive(stream: &mut TcpStream) -> Option<String> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!(head[0], 0x81);
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mut rest = vec![0; 4 + length];
    stream.read_exact(&mut rest).ok()?;
    let (mask, payload) = rest.split_at(4);
    let text = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    String::from_utf8(text).ok()
}
