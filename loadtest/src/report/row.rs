//! The figures of a phase, or of several together.

use serde::Serialize;

use crate::args::Options;
use crate::check::Findings;
use crate::measure::{Connects, Figures, Received, Times, rounded};
use crate::plan::Kind;
use crate::record::PhaseRecord;
use crate::usage::{Usage, cores};

/// One row of the report.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it is of.
    pub name: String,
    /// The phase's kind; none for several together.
    pub kind: Option<Kind>,
    /// When it began, in seconds from the start of the run.
    pub from_s: f64,
    /// How long it took.
    pub seconds: f64,
    /// Clients that got ticks at its end.
    pub connected: u64,
    /// Those of them that read as fast as they can.
    pub healthy: u64,
    /// Connects.
    pub connects: Connects,
    /// Updates of all classes.
    pub updates: u64,
    /// The same per second.
    pub updates_per_s: f64,
    /// What was to be expected for healthy clients, where `--interval` says it.
    pub expected_updates_per_s: Option<f64>,
    /// Bytes that were read per second, frames and all.
    pub bytes_per_s: f64,
    /// How often something was read, per second.
    pub reads_per_s: f64,
    /// Latency of healthy clients.
    pub latency_ms: Times,
    /// Their longest silences.
    pub silence_ms: Times,
    /// What was found about their updates.
    pub continuity: Findings,
    /// The same by class.
    pub classes: Classes,
    /// What the server used.
    pub server: Option<ServerRow>,
    /// What this program used.
    pub generator: Generator,
    /// What else went on.
    pub machine: Machine,
}

/// What clients got, by how they read.
#[derive(Debug, Serialize)]
pub struct Classes {
    /// As fast as they can.
    pub healthy: Received,
    /// Slowly.
    pub slow: Received,
    /// Not at all.
    pub stalled: Received,
}

/// What the server used.
#[derive(Clone, Debug, Serialize)]
pub struct ServerRow {
    /// CPU seconds.
    pub cpu_s: f64,
    /// Of them, in user space.
    pub cpu_user_s: f64,
    /// Of them, in the kernel.
    pub cpu_system_s: f64,
    /// CPU, in cores.
    pub cpu_share: f64,
    /// CPU for each update that arrived, in microseconds.
    pub cpu_us_per_update: Option<f64>,
    /// Resident memory before the first client.
    pub rss_idle_kb: u64,
    /// Resident memory at the end.
    pub rss_kb: u64,
    /// What memory has grown by for each connection, since before the first: in what was measured, until measuring began.
    pub kb_per_connection: Option<f64>,
    /// Threads at the end.
    pub threads: u64,
    /// Open files at the end.
    pub fds: Option<u64>,
}

/// What this program used.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// CPU seconds.
    pub cpu_s: f64,
    /// CPU, of its one core.
    pub cpu_share: f64,
    /// The share of the time in which it could have run, and no core was free for it.
    pub wait_share: f64,
    /// Rounds of its loop: so long anything may have waited for it.
    pub loop_ms: Times,
}

/// What else went on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores.
    pub cpus: usize,
    /// CPU of all processes but this one and the server, in cores.
    pub other_cpu_share: f64,
}

impl Row {
    /// Of these phases, of which there is at least one in a run that has begun.
    pub fn new(name: String, phases: &[&PhaseRecord], options: &Options, idle: &Usage) -> Self {
        let mut figures = Figures::default();
        phases.iter().for_each(|phase| figures.add(&phase.figures));
        let seconds: f64 = phases.iter().map(|phase| phase.length().as_secs_f64()).sum();
        let per_s = |count: u64| if seconds > 0.0 { rounded(count as f64 / seconds) } else { 0.0 };
        let last = phases.last();
        let live = last.map_or([0; 3], |phase| phase.live);
        let updates = figures.updates();
        let own_cpu_s = sum(phases, |phase| (phase.after.own_cpu - phase.before.own_cpu).as_secs_f64());
        let own_wait_s = sum(phases, |phase| phase.after.own_wait.saturating_sub(phase.before.own_wait).as_secs_f64());
        let machine_cpu_s =
            sum(phases, |phase| phase.after.machine_cpu.saturating_sub(phase.before.machine_cpu).as_secs_f64());
        let server = server(phases, seconds, updates, live.iter().sum(), idle);
        let server_cpu_s = server.as_ref().map_or(0.0, |server| server.cpu_s);
        let share = |cpu_s: f64| if seconds > 0.0 { rounded(cpu_s.max(0.0) / seconds) } else { 0.0 };
        let Figures { classes: [healthy, slow, stalled], connects, bytes, reads, rounds } = figures;
        let symbols = options.feed.symbols_per_client.unwrap_or(options.feed.symbols.0.len() as u64);
        let expected = options.feed.interval.filter(|_| options.feed.symbols.0 != ["*"]).map(|interval_ms| {
            let both = if options.feed.mode == Some(crate::args::Mode::Both) { 2.0 } else { 1.0 };
            rounded(both * live[0] as f64 * symbols as f64 * 1000.0 / interval_ms)
        });
        Self {
            name,
            kind: last.filter(|_| phases.len() == 1).map(|phase| phase.phase.kind()),
            from_s: phases.first().map_or(0.0, |phase| rounded(phase.from.as_secs_f64())),
            seconds: rounded(seconds),
            connected: live.iter().sum(),
            healthy: live[0],
            connects,
            updates,
            updates_per_s: per_s(updates),
            expected_updates_per_s: expected,
            bytes_per_s: per_s(bytes),
            reads_per_s: per_s(reads),
            latency_ms: healthy.latency_ms.clone(),
            silence_ms: healthy.silence_ms.clone(),
            continuity: healthy.continuity.clone(),
            classes: Classes { healthy, slow, stalled },
            server,
            generator: Generator {
                cpu_s: rounded(own_cpu_s),
                cpu_share: share(own_cpu_s),
                wait_share: share(own_wait_s),
                loop_ms: rounds,
            },
            machine: Machine { cpus: cores(), other_cpu_share: share(machine_cpu_s - own_cpu_s - server_cpu_s) },
        }
    }

    /// Takes the memory of each connection from the end of another phase.
    pub fn memory_of(&mut self, phase: &PhaseRecord, idle: &Usage) {
        if let Some(server) = &mut self.server {
            server.kb_per_connection = kb_per_connection(&phase.after, idle, phase.live.iter().sum());
        }
    }
}

fn sum(phases: &[&PhaseRecord], of: impl Fn(&PhaseRecord) -> f64) -> f64 {
    phases.iter().map(|phase| of(phase)).sum()
}

fn kb_per_connection(after: &Usage, idle: &Usage, connected: u64) -> Option<f64> {
    let (after, idle) = (after.server?, idle.server?);
    (connected > 0).then(|| rounded((after.rss_kb as f64 - idle.rss_kb as f64) / connected as f64))
}

fn server(phases: &[&PhaseRecord], seconds: f64, updates: u64, connected: u64, idle: &Usage) -> Option<ServerRow> {
    let (mut user_s, mut system_s) = (0.0, 0.0);
    for phase in phases {
        let (before, after) = (phase.before.server?, phase.after.server?);
        user_s += after.user_cpu.saturating_sub(before.user_cpu).as_secs_f64();
        system_s += after.system_cpu.saturating_sub(before.system_cpu).as_secs_f64();
    }
    let last = phases.last()?;
    let after = last.after.server?;
    let cpu_s = user_s + system_s;
    Some(ServerRow {
        cpu_s: rounded(cpu_s),
        cpu_user_s: rounded(user_s),
        cpu_system_s: rounded(system_s),
        cpu_share: if seconds > 0.0 { rounded(cpu_s / seconds) } else { 0.0 },
        cpu_us_per_update: (updates > 0).then(|| rounded(cpu_s * 1e6 / updates as f64)),
        rss_idle_kb: idle.server?.rss_kb,
        rss_kb: after.rss_kb,
        kb_per_connection: kb_per_connection(&last.after, idle, connected),
        threads: after.threads,
        fds: last.open_files,
    })
}
