//! The shell: settings, log, signals, exit code. Nothing else.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tickcast::app::{App, Outcome};
use tickcast::clock::Clock;
use tickcast::commands;
use tickcast::config::{Command, Config, RecordArgs, Stop};
use tickcast::logs::Logs;
use tokio::signal::unix::{SignalKind, signal};

/// Something that should have run to the end failed.
const FAILED: u8 = 1;
/// The settings are wrong: nothing was started.
const MISTAKEN: u8 = 2;
/// The shutdown's deadline came before every client had gone.
const CUT: u8 = 3;

/// How long the threads may take to notice that everything has ended.
const LAST_MOMENT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let dotenv = match dotenvy::dotenv() {
        Ok(path) => Some(path),
        Err(error) if error.not_found() => None,
        Err(error) => {
            complain(&format!("error: .env: {error}"));
            return MISTAKEN.into();
        }
    };
    let (command, config, effective) = match Config::load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(Stop { message, asked_for: true }) => {
            print(&message);
            return ExitCode::SUCCESS;
        }
        Err(Stop { message, .. }) => {
            complain(&format!("error: {}", message.trim_start_matches("error: ")));
            return MISTAKEN.into();
        }
    };
    match command {
        Command::Serve => {}
        Command::CheckConfig => {
            return match commands::check(&config) {
                Ok(()) => {
                    print(&effective.to_string());
                    ExitCode::SUCCESS
                }
                Err(error) => mistaken(&error),
            };
        }
        Command::Healthcheck => return answer(commands::healthcheck(&config).map(|()| String::new())),
        Command::Nodes => return answer(nodes(&config)),
        Command::Token(token) => return answer(commands::token(&token, &config)),
        Command::Key(key) => return answer(commands::key(&key)),
        Command::Record(_) => {}
    }

    // What the settings point to is looked at before anything is started, like the settings themselves.
    if let Err(error) = commands::check(&config) {
        return mistaken(&error);
    }
    let logs = match Logs::begin(&config.logging) {
        Ok(logs) => logs,
        Err(error) => return mistaken(&error),
    };
    if let Some(path) = dotenv {
        tracing::info!(path = %path.display(), "settings read from a file");
    }
    for remark in config.remarks() {
        tracing::warn!("{remark}");
    }
    if let Command::Record(args) = command {
        return answer(record(&args, &config));
    }
    match serve(config, &logs) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Cut) => CUT.into(),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            FAILED.into()
        }
    }
}

fn mistaken(error: &str) -> ExitCode {
    complain(&format!("error: {error}"));
    MISTAKEN.into()
}

fn serve(config: Config, logs: &Logs) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get())
        .enable_all()
        .build()
        .context("cannot start the threads")?;
    let outcome = runtime.block_on(async {
        let stop = told_to_stop()?;
        let app = App::bind(config, Clock::system())?;
        let running = app.run(stop);
        tokio::select! {
            outcome = running => outcome,
            () = logs.watch() => unreachable!("it never ends by itself"),
        }
    });
    runtime.shutdown_timeout(LAST_MOMENT);
    outcome
}

/// Waits for the signal that ends the process.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn record(args: &RecordArgs, config: &Config) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorded = runtime.block_on(async {
        let stop = told_to_stop()?;
        commands::record(args, config, Clock::system(), stop).await
    });
    runtime.shutdown_timeout(LAST_MOMENT);
    recorded
}

fn nodes(config: &Config) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(commands::nodes(config))
}

/// The end of a command that answers something.
fn answer(answer: anyhow::Result<String>) -> ExitCode {
    match answer {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("error: {error:#}"));
            FAILED.into()
        }
    }
}

fn print(text: &str) {
    // Who closed our output does not want to read it.
    std::io::stdout().write_all(text.as_bytes()).ok();
}

fn complain(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}
