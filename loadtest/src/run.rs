//! The loop: carries out the plan, reads what comes, and keeps the records.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::event::Event;
use mio::{Events, Poll};

use crate::args::{Options, Target};
use crate::client::track::Subscription;
use crate::client::{Client, ROLES, Ready, Shared, Stage};
use crate::clock::wall_us;
use crate::measure::{Fault, Figures, Notes};
use crate::plan::{Act, Plan, Step};
use crate::record::{Recorder, Second};
use crate::sets::{Class, Dealer, Sets, draw};
use crate::wire::http::Requests;
use crate::wire::tick::Reader;

/// How many connects are begun in one round: between them, what came is read.
const CONNECTS_A_ROUND: usize = 32;
/// The most bytes that are read from a connection at once.
const BUFFER_BYTES: usize = 256 << 10;
/// How long the loop waits at most. Slow clients read this often.
const WAIT: Duration = Duration::from_millis(50);
/// How long the server may take to accept the connection that says whether it is there.
const REACH: Duration = Duration::from_secs(5);
/// How often the clients that are on their way are looked at, whether they take too long.
const TIMEOUTS_EVERY: Duration = Duration::from_millis(250);

/// What a run has found.
#[derive(Debug)]
pub struct Outcome {
    /// The records of its phases and seconds.
    pub recorder: Recorder,
    /// Every client, as it was at the end.
    pub clients: Vec<Client>,
    /// What went wrong.
    pub notes: Notes,
    /// The sets that were subscribed to.
    pub sets: Sets,
    /// True if somebody ended it early.
    pub interrupted: bool,
}

/// Runs a plan against a server. `stop` ends it early; `tell` gets every second.
///
/// # Errors
/// If it cannot be run at all.
pub fn run(
    options: &Options,
    plan: &Plan,
    stop: &Arc<AtomicBool>,
    mut tell: impl FnMut(&Second, &Recorder),
) -> anyhow::Result<Outcome> {
    let target = options.target()?;
    reach(&target, &options.url)?;
    let sets = draw(&options.feed);
    let mut poll = Poll::new().context("cannot wait for events")?;
    let shared = share(options, target, &sets, &poll)?;
    let recorder = Recorder::new(plan, &options.report.pid, Duration::from_millis(options.clients.silent_after));
    let mut run = Run {
        options,
        dealer: Dealer::new(&options.clients, sets.sets.len()),
        shared,
        recorder,
        clients: Vec::new(),
        present: Vec::new(),
        waiting: VecDeque::new(),
        slow: Vec::new(),
        slow_bytes: 0.0,
    };
    let interrupted = run.carry_out(plan, &mut poll, stop, &mut tell)?;
    run.give_up_waiting();
    run.recorder.end(wall_us(), &mut run.clients, &mut run.shared.figures);
    for client in &mut run.clients {
        client.leave(&mut run.shared);
    }
    Ok(Outcome { recorder: run.recorder, clients: run.clients, notes: run.shared.notes, sets, interrupted })
}

/// Whether there is a server at all.
fn reach(target: &Target, url: &str) -> anyhow::Result<()> {
    match TcpStream::connect_timeout(&target.address, REACH) {
        Ok(_) => Ok(()),
        Err(error) => bail!("no server at {url} ({}): {error}", target.address),
    }
}

fn share(options: &Options, target: Target, sets: &Sets, poll: &Poll) -> anyhow::Result<Shared> {
    let feed = &options.feed;
    let everything = feed.no_subscribe || feed.symbols.0 == ["*"];
    let names: &[String] = if everything { &[] } else { &feed.symbols.0 };
    let subscriptions = sets.sets.iter().map(|set| {
        let symbols = if everything { Subscription::Everything } else { Subscription::These(set.clone()) };
        (symbols, subscribe_packet(options, set))
    });
    let connect = feed.auth.as_ref().map_or("40".into(), |auth| format!("40{auth}"));
    let prefix = |event: &str| format!("42[\"{event}\",").into_bytes();
    Ok(Shared {
        registry: poll.registry().try_clone().context("cannot wait for events")?,
        transport: options.clients.transport,
        requests: Requests::new(&target),
        target,
        connect: connect.into_bytes(),
        subscriptions: subscriptions.collect(),
        prefixes: [prefix(&feed.tick_event), prefix(&feed.batch_event)],
        reader: Reader::new(feed.fields.clone(), names),
        prices: crate::check::Prices::default(),
        figures: Figures::default(),
        notes: Notes::default(),
        buffer: vec![0; BUFFER_BYTES],
    })
}

/// The packet that subscribes to a set, if one does.
fn subscribe_packet(options: &Options, set: &[u32]) -> Option<Vec<u8>> {
    let feed = &options.feed;
    if feed.no_subscribe {
        return None;
    }
    let names: Vec<&String> = set.iter().filter_map(|&at| feed.symbols.0.get(usize::try_from(at).ok()?)).collect();
    let symbols = if feed.symbols.0 == ["*"] { serde_json::json!("*") } else { serde_json::json!(names) };
    let payload = match (&feed.payload, feed.mode, feed.max_rate) {
        (Some(payload), ..) => payload.replace("$SYMBOLS", &symbols.to_string()),
        (None, None, None) => symbols.to_string(),
        (None, mode, max_rate) => {
            let mut payload = serde_json::json!({ "symbols": symbols });
            if let Some(mode) = mode {
                payload["mode"] = serde_json::json!(mode);
            }
            if let Some(rate) = max_rate {
                payload["maxRate"] = serde_json::json!(rate);
            }
            payload.to_string()
        }
    };
    let id = if feed.no_ack { "" } else { "0" };
    Some(format!("42{id}[{},{payload}]", serde_json::json!(feed.subscribe_event)).into_bytes())
}

struct Run<'a> {
    options: &'a Options,
    dealer: Dealer,
    shared: Shared,
    recorder: Recorder,
    /// Everybody who ever came.
    clients: Vec<Client>,
    /// Those that the plan wants there, in the order in which they came.
    present: Vec<usize>,
    /// Those that are to connect.
    waiting: VecDeque<usize>,
    /// Those that read slowly.
    slow: Vec<usize>,
    /// What each of them may read, and has not.
    slow_bytes: f64,
}

impl Run<'_> {
    /// True if it was ended early.
    fn carry_out(
        &mut self,
        plan: &Plan,
        poll: &mut Poll,
        stop: &AtomicBool,
        tell: &mut impl FnMut(&Second, &Recorder),
    ) -> anyhow::Result<bool> {
        let mut steps: VecDeque<Step> = plan.steps().into();
        let (start, end) = (self.recorder.start(), self.recorder.start() + plan.length());
        // Everything that is ready comes in one round, so the length of a round bounds how long anything waited for us.
        let mut events = Events::with_capacity(usize::try_from(plan.peak()).unwrap_or(0) * ROLES + 64);
        let (mut second, mut timeouts, mut slowly) = (start + Duration::from_secs(1), start, start);
        loop {
            let round = Instant::now();
            while let Some(step) = steps.front().copied().filter(|step| start + step.at <= round) {
                steps.pop_front();
                self.act(step, plan, start);
            }
            for _ in 0..CONNECTS_A_ROUND {
                let Some(index) = self.waiting.pop_front() else {
                    break;
                };
                if let Err(why) = self.clients[index].connect(&mut self.shared) {
                    self.end(index, &why);
                }
            }
            for event in &events {
                self.event(event);
            }
            if round >= slowly {
                self.read_slowly(round.saturating_duration_since(slowly) + WAIT);
                slowly = round + WAIT;
            }
            if round >= timeouts {
                self.time_out(round);
                timeouts = round + TIMEOUTS_EVERY;
            }
            if round >= second {
                let connected = self.clients.iter().filter(|client| client.stage == Stage::Live).count() as u64;
                self.recorder.second(connected, &mut self.shared.figures);
                if let Some(latest) = self.recorder.seconds.last() {
                    tell(latest, &self.recorder);
                }
                second += Duration::from_secs(1);
            }
            if round >= end {
                return Ok(false);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            if !events.is_empty() {
                self.shared.figures.rounds.record(u64::try_from(round.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            let next = steps.front().map_or(end, |step| start + step.at).min(second);
            let wait =
                if self.waiting.is_empty() { next.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            if let Err(error) = poll.poll(&mut events, Some(wait.min(WAIT)))
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error).context("cannot wait for events");
            }
        }
    }

    fn act(&mut self, step: Step, plan: &Plan, start: Instant) {
        match step.act {
            Act::Begin(phase) => {
                self.recorder.begin(plan.phases[phase], wall_us(), &mut self.clients, &mut self.shared.figures);
            }
            Act::Arrive => {
                let (class, set) = self.dealer.deal();
                let index = self.clients.len();
                self.clients.push(Client::new(index * ROLES, class, set, start + step.at));
                if class == Class::Slow {
                    self.slow.push(index);
                }
                self.present.push(index);
                self.waiting.push_back(index);
            }
            Act::Leave => {
                if let Some(index) = self.present.pop() {
                    self.clients[index].leave(&mut self.shared);
                    self.waiting.retain(|&waiting| waiting != index);
                }
            }
            Act::Cut(share) => {
                let cut = |place: usize| ((place + 1) as f64 * share).floor() > (place as f64 * share).floor();
                for place in 0..self.present.len() {
                    let client = &mut self.clients[self.present[place]];
                    // Who is gone already, or is still to come, has no connection to lose.
                    if cut(place) && client.stage == Stage::Live {
                        client.cut();
                        client.wanted = start + step.at;
                        self.waiting.push_back(self.present[place]);
                    }
                }
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let (index, role) = (event.token().0 / ROLES, event.token().0 % ROLES);
        let client = &mut self.clients[index];
        if client.stage == Stage::Ended {
            return;
        }
        let ready = Ready {
            readable: event.is_readable(),
            writable: event.is_writable() || event.is_error(),
            closed: event.is_read_closed() || event.is_error(),
        };
        let result = client.event(role, ready, &mut self.shared);
        if let Err(why) = result {
            self.end(index, &why);
        }
    }

    fn read_slowly(&mut self, since: Duration) {
        let earned = self.options.clients.slow_bytes_per_s as f64 * since.as_secs_f64();
        self.slow_bytes += earned;
        let bytes = self.slow_bytes as usize;
        let rest = self.slow_bytes - bytes as f64;
        self.slow_bytes = rest;
        for at in 0..self.slow.len() {
            let index = self.slow[at];
            if self.clients[index].reads_apart(&self.shared)
                && let Err(why) = self.clients[index].read_slowly(bytes, &mut self.shared)
            {
                self.end(index, &why);
            }
        }
    }

    fn time_out(&mut self, now: Instant) {
        let limit = Duration::from_secs_f64(self.options.clients.connect_timeout);
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if client.stage == Stage::Connecting && now.saturating_duration_since(client.wanted) > limit {
                self.end(index, &format!("not connected within {} s", limit.as_secs_f64()));
            }
        }
    }

    /// The run is over: who has not come in by now has failed.
    fn give_up_waiting(&mut self) {
        self.shared.figures.connects.attempts += self.waiting.len() as u64;
        let on_the_way = |index: &usize| self.clients[*index].stage == Stage::Connecting;
        let mut left: Vec<usize> = (0..self.clients.len()).filter(on_the_way).collect();
        for index in self.waiting.drain(..) {
            self.clients[index].stage = Stage::Connecting;
            left.push(index);
        }
        for index in left {
            self.end(index, "not connected when the run ended");
        }
    }

    /// A client is at its end, and the plan did not ask for it.
    fn end(&mut self, index: usize, why: &str) {
        let Self { clients, shared, .. } = self;
        let client = &mut clients[index];
        match client.stage {
            Stage::Ended => {}
            Stage::Connecting => {
                shared.figures.connects.failed += 1;
                client.faults.add(Fault::ConnectFailed);
                shared.notes.add(&format!("connecting: {why}"));
            }
            Stage::Live => {
                shared.figures.classes[client.class as usize].disconnected += 1;
                // Who does not read is rightly ended: it is counted, but it is no fault.
                let whose = match client.class {
                    Class::Healthy => {
                        client.faults.add(Fault::Disconnected);
                        ""
                    }
                    Class::Slow => " (a slow client)",
                    Class::Stalled => " (a stalled client)",
                };
                shared.notes.add(&format!("disconnected{whose}: {why}"));
            }
        }
        client.cut();
    }
}
