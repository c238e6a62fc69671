mod floods;
mod outage;
mod rotate;

use std::io::IsTerminal;
use std::time::Duration;

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Logging};
use floods::Floods;
use outage::{News, Outage};
use rotate::Rotating;

/// Lines that may wait to be written to the file: a disk that is slow holds nobody up. Those that find no room are lost,
/// and counted when the log ends.
const LINES_IN_FLIGHT: usize = 8192;

/// How often it is looked whether there is something to say of the log itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The log of this process. It ends when this is dropped: then what waits is written.
#[derive(Debug)]
pub struct Logs {
    floods: Floods,
    file: Option<(WorkerGuard, ErrorCounter)>,
    outage: Outage,
}

impl Logs {
    /// Begins to log: to standard error, and into a file where the settings say so. To be called once.
    ///
    /// # Errors
    /// The file cannot be written: the variable, the value and why.
    pub fn begin(settings: &Logging) -> Result<Self, String> {
        let floods = Floods::default();
        let (writer, file, outage) = match settings.to_file {
            true => {
                let folder = &settings.folder;
                let rotating =
                    Rotating::open(folder, settings.max_size_bytes, settings.max_files).map_err(|error| {
                        format!("LOG_DIR (--log-dir): \"{}\" cannot be written to: {error}", folder.display())
                    })?;
                let outage = rotating.outage().clone();
                let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_IN_FLIGHT).thread_name("log");
                let (writer, guard) = builder.finish(rotating);
                let lost = writer.error_counter();
                (Some(writer), Some((guard, lost)), outage)
            }
            false => (None, None, Outage::default()),
        };
        let registry = tracing_subscriber::registry().with(levels(settings.level)).with(floods.clone());
        // Both outputs share the fields of spans as text: colours would come into the file.
        let colours = std::io::stderr().is_terminal() && writer.is_none();
        registry
            .with(lines(settings.format, std::io::stderr, colours))
            .with(writer.map(|writer| lines(settings.format, writer, false)))
            .init();
        Ok(Self { floods, file, outage })
    }

    /// Says what there is to say of the log itself, for as long as it is polled: what floods were held back, and that the
    /// file takes no lines.
    pub async fn watch(&self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            self.floods.sum_up(std::time::Instant::now());
            match self.outage.news() {
                Some(News::Began(error)) => {
                    tracing::error!(error, "the log's file takes no lines: they are on standard error alone");
                }
                Some(News::Over(lost)) => tracing::warn!(lost, "the log's file takes lines again"),
                None => {}
            }
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.floods.finish();
        let lost = self.file.as_ref().map_or(0, |(_, lost)| lost.dropped_lines());
        if lost > 0 {
            tracing::warn!(lost, "lines did not come into the log's file: it was too slow");
        }
    }
}

/// What is logged of whom. Libraries log at `debug` and `trace` what passes through them, tokens and passwords too:
/// none of that is ours to show, whatever the level.
fn levels(level: Level) -> Targets {
    // The client of Redis warns of each attempt to connect, and of its own end; the bus says what matters of it.
    let redis = if level > Level::INFO { Level::INFO } else { Level::ERROR };
    let ours = ["tickcast", "tower_http"];
    Targets::new()
        .with_default(level.min(Level::INFO))
        .with_target("fred", redis)
        .with_targets(ours.map(|target| (target, level)))
}

/// Writes lines in this form.
fn lines<S, W>(format: LogFormat, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    }
}
