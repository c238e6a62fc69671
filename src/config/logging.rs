use std::path::PathBuf;

use tracing::Level;

use super::parse;

/// What is logged, how, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct Logging {
    /// The least important lines that are logged: error, warn, info, debug or trace. Read from the `LOG_LEVEL`
    /// environment variable.
    #[arg(long = "log-level", env = "LOG_LEVEL", global = true, default_value = "info", value_parser = parse::log_level,
          value_name = "LEVEL", id = "log_level")]
    pub level: Level,

    /// How lines are logged: text or json. Read from the `LOG_FORMAT` environment variable.
    #[arg(long = "log-format", env = "LOG_FORMAT", global = true, default_value = "text",
          value_parser = parse::log_format, value_name = "FORMAT", id = "log_format")]
    pub format: LogFormat,

    /// Whether lines go into a file, too, and not to standard error alone: true or false. Read from the `LOG_TO_FILE`
    /// environment variable.
    #[arg(long = "log-to-file", env = "LOG_TO_FILE", global = true, default_value = "false",
          value_parser = parse::boolean, value_name = "BOOL", id = "log_to_file", action = clap::ArgAction::Set)]
    pub to_file: bool,

    /// The folder of that file, `tickcast.log`; it is made where there is none. Read from the `LOG_DIR` environment
    /// variable.
    #[arg(
        long = "log-dir",
        env = "LOG_DIR",
        global = true,
        default_value = "logs",
        value_name = "FOLDER",
        id = "log_dir"
    )]
    pub folder: PathBuf,

    /// How large the file may become before another one is begun: a number of bytes, or of k, m or g, 1k to 100g. Read
    /// from the `LOG_MAX_SIZE` environment variable.
    #[arg(long = "log-max-size", env = "LOG_MAX_SIZE", global = true, default_value = "10m",
          value_parser = parse::size, value_name = "BYTES", id = "log_max_size")]
    pub max_size_bytes: u64,

    /// How many files there may be, that which is written to among them, 1 to 1000: the oldest goes. Read from the
    /// `LOG_MAX_FILES` environment variable.
    #[arg(long = "log-max-files", env = "LOG_MAX_FILES", global = true, default_value = "7",
          value_parser = parse::range(1, 1000), value_name = "FILES", id = "log_max_files")]
    pub max_files: u64,
}

/// How lines are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}
