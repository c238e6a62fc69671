//! What a run was like: phase by phase, and second by second.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{Client, Stage};
use crate::measure::{Fault, Figures, rounded};
use crate::plan::{Kind, Phase, Plan};
use crate::sets::Class;
use crate::usage::{Usage, open_files};

/// A phase as it went.
#[derive(Debug)]
pub struct PhaseRecord {
    /// What was planned.
    pub phase: Phase,
    /// When it began, from the start of the run.
    pub from: Duration,
    /// What was measured.
    pub figures: Figures,
    /// What was used up to its beginning.
    pub before: Usage,
    /// What was used up to its end.
    pub after: Usage,
    /// Clients that got ticks at its end, by class.
    pub live: [u64; 3],
    /// Files that the server had open at its end.
    pub open_files: Option<u64>,
}

impl PhaseRecord {
    /// How long it took.
    pub fn length(&self) -> Duration {
        self.after.at - self.before.at
    }
}

/// One second of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    /// When it ended, in seconds from the start of the run.
    pub at_s: f64,
    /// Clients that got ticks at its end.
    pub connected: u64,
    /// Updates of all classes per second.
    pub updates_per_s: f64,
    /// Median latency of healthy clients.
    pub p50_ms: Option<f64>,
    /// Their 99th percentile.
    pub p99_ms: Option<f64>,
    /// The server's CPU, in cores.
    pub server_cpu: Option<f64>,
    /// The server's memory.
    pub server_rss_kb: Option<u64>,
    /// This program's CPU, in cores.
    pub generator_cpu: f64,
}

/// Keeps the records of a run.
#[derive(Debug)]
pub struct Recorder {
    pids: Vec<u32>,
    start: Instant,
    silent_after: Duration,
    /// True if the plan has holds, which are then what counts.
    holds: bool,
    current: Option<(Phase, Usage, Figures)>,
    /// What was measured since the last whole second. A phase may end within it.
    this_second: Figures,
    /// What was used before the first client.
    pub idle: Usage,
    latest: Usage,
    /// Phases that are over.
    pub phases: Vec<PhaseRecord>,
    /// Seconds so far.
    pub seconds: Vec<Second>,
}

impl Recorder {
    /// Before the first client.
    pub fn new(plan: &Plan, pids: &[u32], silent_after: Duration) -> Self {
        let idle = Usage::now(pids);
        Self {
            pids: pids.to_vec(),
            start: idle.at,
            silent_after,
            holds: plan.phases.iter().any(|phase| phase.kind() == Kind::Hold),
            current: None,
            this_second: Figures::default(),
            idle,
            latest: idle,
            phases: Vec::new(),
            seconds: Vec::new(),
        }
    }

    /// When the run began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The phase of the moment, for people.
    pub fn phase_name(&self) -> String {
        self.current.as_ref().map_or(String::new(), |(phase, ..)| phase.name())
    }

    /// The phase before, if any, is over, and another begins.
    pub fn begin(&mut self, phase: Phase, now_us: i64, clients: &mut [Client], figures: &mut Figures) {
        self.end(now_us, clients, figures);
        if phase.kind() == Kind::Hold {
            clients.iter_mut().for_each(|client| client.track.listen(now_us));
        }
        self.current = Some((phase, Usage::now(&self.pids), Figures::default()));
    }

    /// The last phase is over.
    pub fn end(&mut self, now_us: i64, clients: &mut [Client], figures: &mut Figures) {
        let Some((phase, before, mut sum)) = self.current.take() else {
            return;
        };
        let after = Usage::now(&self.pids);
        sum.add(figures);
        self.this_second.add(figures);
        figures.clear();
        if phase.kind() == Kind::Hold || !self.holds {
            self.hear(now_us, after.at - before.at, clients, &mut sum);
        }
        let mut live = [0; 3];
        for client in clients.iter().filter(|client| client.stage == Stage::Live) {
            live[client.class as usize] += 1;
        }
        let from = before.at - self.start;
        let open_files = open_files(&self.pids);
        self.phases.push(PhaseRecord { phase, from, figures: sum, before, after, live, open_files });
    }

    /// Asks every client how long it went without ticks.
    fn hear(&self, now_us: i64, window: Duration, clients: &mut [Client], figures: &mut Figures) {
        // In a short window, a client that got nothing in nearly all of it is silent, too.
        let limit = self.silent_after.min(window.mul_f64(0.9)).as_micros();
        for client in clients.iter_mut().filter(|client| client.stage == Stage::Live) {
            let silence = client.track.silence(now_us);
            let received = &mut figures.classes[client.class as usize];
            received.silence_ms.record(silence.one_us);
            if u128::from(silence.any_us) >= limit {
                received.silent += 1;
                if client.class == Class::Healthy {
                    client.faults.add(Fault::Silent);
                }
            }
        }
    }

    /// A second is over.
    pub fn second(&mut self, connected: u64, figures: &mut Figures) -> &Second {
        let now = Usage::now(&self.pids);
        let seconds = (now.at - self.latest.at).as_secs_f64().max(0.001);
        let share = |cpu: Duration| rounded(cpu.as_secs_f64() / seconds);
        let server_cpu = self.latest.server.zip(now.server).map(|(before, after)| {
            share((after.user_cpu + after.system_cpu).saturating_sub(before.user_cpu + before.system_cpu))
        });
        self.this_second.add(figures);
        if let Some((_, _, sum)) = &mut self.current {
            sum.add(figures);
        }
        figures.clear();
        let latency = &self.this_second.classes[Class::Healthy as usize].latency_ms;
        let second = Second {
            at_s: rounded((now.at - self.start).as_secs_f64()),
            connected,
            updates_per_s: (self.this_second.updates() as f64 / seconds).round(),
            p50_ms: latency.percentile_ms(50.0),
            p99_ms: latency.percentile_ms(99.0),
            server_cpu,
            server_rss_kb: now.server.map(|server| server.rss_kb),
            generator_cpu: share(now.own_cpu.saturating_sub(self.latest.own_cpu)),
        };
        self.this_second.clear();
        self.latest = now;
        let at = self.seconds.len();
        self.seconds.push(second);
        &self.seconds[at]
    }
}
