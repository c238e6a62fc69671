//! The shell: options, signals, where the report goes, exit code. Nothing else.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use tickcast_loadtest::args::{Options, Transport};
use tickcast_loadtest::clock::wall_us;
use tickcast_loadtest::plan::Plan;
use tickcast_loadtest::report::{Report, text};
use tickcast_loadtest::run::run;
use tickcast_loadtest::usage::{Usage, raise_open_files};

/// A criterion did not hold.
const FAILED: u8 = 1;
/// The options are wrong: nothing was started.
const MISTAKEN: u8 = 2;
/// It could not run.
const UNABLE: u8 = 3;

/// The standard output, as a file.
const STANDARD: &str = "-";
/// Files that are open besides connections.
const OTHER_FILES: u64 = 32;
/// Seconds between two lines of progress, where they cannot be written over each other.
const LINE_EVERY: usize = 10;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let asked_for = !error.use_stderr();
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { MISTAKEN.into() };
        }
    };
    if let Err(message) = options.check() {
        complain(&message);
        return MISTAKEN.into();
    }
    match load(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAILED.into(),
        Err(error) => {
            complain(&format!("{error:#}"));
            UNABLE.into()
        }
    }
}

/// True if the run passes.
fn load(options: &Options) -> anyhow::Result<bool> {
    let plan = options.plan();
    prepare(options, &plan)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends it at once.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop)).context("cannot catch signals")?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
    }
    let started_us = wall_us();
    let mut error = io::stderr();
    let terminal = error.is_terminal();
    let outcome = run(options, &plan, &stop, |second, recorder| {
        let phase = recorder.phase_name();
        let line = text::progress(second, &phase);
        if options.report.quiet {
        } else if terminal {
            let _ = write!(error, "\r\x1b[K{line}");
        } else if recorder.seconds.len() % LINE_EVERY == 0 {
            let _ = writeln!(error, "{line}");
        }
    });
    if terminal && !options.report.quiet {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let report = Report::new(options, &outcome?, started_us);
    deliver(options, &report)?;
    Ok(report.pass)
}

/// Whether this machine can carry the load at all.
fn prepare(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let pids = &options.report.pid;
    if !pids.is_empty() && Usage::now(pids).server.is_none() {
        bail!("--pid {}: there is no such process", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    }
    // A file that cannot be written is better known now than after the run.
    for path in
        options.report.json.iter().chain(&options.report.html).filter(|path| path.as_path() != Path::new(STANDARD))
    {
        let opened = fs::OpenOptions::new().append(true).create(true).open(path);
        opened.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let each = if options.clients.transport == Transport::Websocket { 1 } else { 2 };
    let (needed, limit) = (plan.peak() * each + OTHER_FILES, raise_open_files());
    if needed > limit {
        bail!(
            "{} clients need {needed} open files, and this process may have {limit}: raise the hard limit (ulimit -Hn), \
             or ask for fewer clients",
            plan.peak()
        );
    }
    Ok(())
}

fn deliver(options: &Options, report: &Report) -> anyhow::Result<()> {
    if let Some(path) = &options.report.html {
        write(path, &report.html())?;
    }
    let json = || serde_json::to_string_pretty(report).context("cannot write JSON").map(|json| json + "\n");
    match options.report.json.as_deref() {
        Some(path) if path == Path::new(STANDARD) => return print(&json()?),
        Some(path) => write(path, &json()?)?,
        None => {}
    }
    print(&report.to_string())
}

fn write(path: &Path, contents: &str) -> anyhow::Result<()> {
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot write to the standard output")
}

fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}
