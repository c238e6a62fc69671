//! What a run has found, as data: the JSON is this as it stands, the summary and the HTML are made of it.

mod criteria;
mod html;
mod plot;
mod row;
pub mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::args::Options;
use crate::measure::{FAULTS, Fault, rounded};
use crate::plan::Kind;
use crate::record::{PhaseRecord, Second};
use crate::run::Outcome;
use crate::sets::Class;
pub use criteria::Criterion;
pub use row::Row;

/// The version of the JSON. It grows when a field changes or goes; fields may be added.
pub const VERSION: u32 = 1;

/// More of a core than this, and the load generator is the bottleneck.
const BUSY_CPU: f64 = 0.9;
/// A round of the loop that takes longer than this (ms) shows in the latency.
const LONG_ROUND_MS: f64 = 20.0;
/// Without a core for more of the time than this, and what came had to wait for the load generator.
const LONG_WAIT: f64 = 0.1;
/// More of a core than this in other processes is worth a word.
const OTHER_CPU: f64 = 0.2;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this document.
    pub version: u32,
    /// The version of this program.
    pub generator_version: &'static str,
    /// A name that somebody gave to the run.
    pub label: String,
    /// The server.
    pub url: String,
    /// When it began: ISO 8601.
    pub started_at: String,
    /// True if somebody ended it early.
    pub interrupted: bool,
    /// What was asked for.
    pub options: serde_json::Value,
    /// Sets of symbols.
    pub sets: SetsReport,
    /// Clients, in the whole run.
    pub clients: Clients,
    /// What counts: the holds together; without any, the whole run.
    pub measured: Row,
    /// The whole run.
    pub total: Row,
    /// Phase by phase.
    pub phases: Vec<Row>,
    /// Whether the load generator was the bottleneck in what was measured.
    pub bottleneck: Bottleneck,
    /// What to know before believing the figures.
    pub remarks: Vec<String>,
    /// What went wrong, in words.
    pub errors: Vec<Message>,
    /// What decides whether the run passes.
    pub criteria: Vec<Criterion>,
    /// True if all of them held.
    pub pass: bool,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// From and to in ms, and how many: the latency of healthy clients in what was measured.
    pub latency_buckets: Vec<(f64, f64, u64)>,
}

/// Sets of symbols.
#[derive(Debug, Serialize)]
pub struct SetsReport {
    /// Asked for.
    pub asked: u64,
    /// Had.
    pub distinct: u64,
}

/// Clients, in the whole run.
#[derive(Debug, Serialize)]
pub struct Clients {
    /// That the plan had.
    pub asked: u64,
    /// Connects, reconnects of storms among them.
    pub attempts: u64,
    /// Connects that succeeded.
    pub connected: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Connections that the server ended: of healthy clients, of slow ones, of stalled ones.
    pub disconnected: [u64; 3],
    /// Clients with at least one fault.
    pub with_errors: u64,
    /// Their share of those asked for, in percent.
    pub error_percent: f64,
    /// Clients by fault.
    pub faults: BTreeMap<Fault, u64>,
}

/// Whether the load generator was the bottleneck.
#[derive(Debug, Serialize)]
pub struct Bottleneck {
    /// True if it was.
    pub generator: bool,
    /// Why.
    pub why: Option<String>,
}

/// What was said, and how often.
#[derive(Debug, Serialize)]
pub struct Message {
    /// What.
    pub message: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// Of a run that began at a time (microseconds since the Unix epoch).
    pub fn new(options: &Options, outcome: &Outcome, started_us: i64) -> Self {
        let phases = &outcome.recorder.phases;
        let idle = outcome.recorder.idle;
        let counts = |phase: &&PhaseRecord| phase.phase.kind() == Kind::Hold;
        let mut held: Vec<&PhaseRecord> = phases.iter().filter(counts).collect();
        if held.is_empty() {
            held = phases.iter().collect();
        }
        let all: Vec<&PhaseRecord> = phases.iter().collect();
        let mut measured = Row::new("measured".into(), &held, options, &idle);
        // Memory is compared when everybody has settled, before the hold fills buffers.
        if let Some(at) = phases.iter().position(|phase| counts(&phase)).filter(|&at| at > 0) {
            measured.memory_of(&phases[at - 1], &idle);
        }
        let total = Row::new("total".into(), &all, options, &idle);
        let rows: Vec<Row> =
            phases.iter().map(|phase| Row::new(phase.phase.name(), &[phase], options, &idle)).collect();
        let clients = clients(outcome, &total);
        let bottleneck = bottleneck(&measured);
        let criteria = criteria::judge(&options.criteria, &clients, &measured);
        let remarks = remarks(options, outcome, &measured, &bottleneck);
        let latency_buckets = measured.classes.healthy.latency_ms.buckets();
        Self {
            version: VERSION,
            generator_version: env!("CARGO_PKG_VERSION"),
            label: options.report.label.clone(),
            url: options.url.clone(),
            started_at: jiff::Timestamp::from_microsecond(started_us).unwrap_or_default().to_string(),
            interrupted: outcome.interrupted,
            options: asked(options),
            sets: SetsReport { asked: options.feed.sets, distinct: outcome.sets.sets.len() as u64 },
            pass: criteria.iter().all(|criterion| criterion.pass),
            clients,
            measured,
            total,
            phases: rows,
            bottleneck,
            remarks,
            errors: outcome.notes.list().into_iter().map(|(message, count)| Message { message, count }).collect(),
            criteria,
            seconds: outcome.recorder.seconds.clone(),
            latency_buckets,
        }
    }
}

/// The options as they came out. Secrets (`--auth`, `--query`, `--header`) are not among them.
fn asked(options: &Options) -> serde_json::Value {
    let plan = options.plan();
    let phase = |phase: &crate::plan::Phase| serde_json::json!({ "name": phase.name(), "kind": phase.kind(), "seconds": phase.length().as_secs_f64() });
    serde_json::json!({
        "load": options.load,
        "clients": options.clients,
        "feed": options.feed,
        "criteria": options.criteria,
        "report": options.report,
        "plan": plan.phases.iter().map(phase).collect::<Vec<_>>(),
    })
}

fn clients(outcome: &Outcome, total: &Row) -> Clients {
    let asked = outcome.clients.len() as u64;
    let with = |fault| outcome.clients.iter().filter(|client| client.faults.has(fault)).count() as u64;
    let with_errors = outcome.clients.iter().filter(|client| faulty(client)).count() as u64;
    let classes = &total.classes;
    Clients {
        asked,
        attempts: total.connects.attempts,
        connected: total.connects.connected,
        failed: total.connects.failed,
        disconnected: [&classes.healthy, &classes.slow, &classes.stalled].map(|class| class.disconnected),
        with_errors,
        error_percent: percent(with_errors, asked).unwrap_or(0.0),
        faults: FAULTS.into_iter().map(|fault| (fault, with(fault))).collect(),
    }
}

/// Who reads slowly loses updates, and may be ended for it: only what that does not explain is an error.
fn faulty(client: &crate::client::Client) -> bool {
    match client.class {
        Class::Healthy => !client.faults.is_empty(),
        Class::Slow | Class::Stalled => {
            let of_reading = [Fault::Lost, Fault::Disconnected, Fault::Silent];
            FAULTS.into_iter().any(|fault| client.faults.has(fault) && !of_reading.contains(&fault))
        }
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 * 100.0 / whole as f64))
}

fn bottleneck(measured: &Row) -> Bottleneck {
    let generator = &measured.generator;
    let p99 = generator.loop_ms.percentile_ms(99.0).unwrap_or(0.0);
    let why = if generator.cpu_share > BUSY_CPU {
        Some(format!(
            "it used {:.0} % of its core: the server may be able to send more, and sooner",
            generator.cpu_share * 100.0
        ))
    } else if generator.wait_share > LONG_WAIT {
        Some(format!(
            "for {:.0} % of the time it could have run and had no core: others were in its way, and latency has that in it",
            generator.wait_share * 100.0
        ))
    } else if p99 > LONG_ROUND_MS {
        Some(format!("one in a hundred rounds of its loop took {p99:.0} ms or more, and latency has that in it"))
    } else {
        None
    };
    Bottleneck { generator: why.is_some(), why }
}

fn remarks(options: &Options, outcome: &Outcome, measured: &Row, bottleneck: &Bottleneck) -> Vec<String> {
    let mut remarks = Vec::new();
    let healthy = &measured.classes.healthy;
    if outcome.interrupted {
        remarks.push("the run was ended early: its last phases are missing or short".into());
    }
    if let Some(why) = &bottleneck.why {
        remarks.push(format!("the load generator was the bottleneck: {why}"));
    }
    if measured.machine.other_cpu_share > OTHER_CPU {
        let whose = if options.report.pid.is_empty() {
            "other processes (the server among them, if it runs here; say --pid)"
        } else {
            "other processes"
        };
        remarks.push(format!("{whose} used {:.0} % of a core", measured.machine.other_cpu_share * 100.0));
    }
    if outcome.sets.missing > 0 {
        remarks.push(format!(
            "only {} distinct sets can be made of these symbols: {} fewer than asked for",
            outcome.sets.sets.len(),
            outcome.sets.missing
        ));
    }
    if let Some(expected) = measured.expected_updates_per_s
        && measured.updates_per_s < expected * 0.95
        && healthy.continuity.conflated == 0
    {
        remarks.push(format!("{:.0} updates/s were expected, and none were conflated", expected));
    }
    if healthy.ts_ahead > 0 {
        remarks.push(format!(
            "{} updates have a ts in the future: this machine's clock and the source's do not agree, and latency is wrong \
             by as much",
            healthy.ts_ahead
        ));
    }
    if healthy.ts_missing > 0 {
        remarks.push(format!("{} updates have no ts that can be read (--ts-field): no latency", healthy.ts_missing));
    }
    if healthy.updates > 0 && healthy.continuity.numbered == 0 {
        remarks.push("updates have no number (--seq-field): nothing can be said of gaps".into());
    }
    if measured.seconds < Duration::from_secs(5).as_secs_f64() && measured.server.is_some() {
        remarks.push("CPU is counted in hundredths of a second: measure for longer".into());
    }
    if measured.updates == 0 {
        remarks.push("no updates came while measuring (--tick-event, --batch-event, --subscribe-event)".into());
    }
    remarks
}
