use std::path::{Path, PathBuf};

use super::parse;

/// How the server is looked after.
#[derive(Clone, Debug, clap::Args)]
pub struct Operations {
    /// A port of its own for `/metrics` and what needs the scope `admin`, which are not on `PORT` then; 0 takes any free
    /// one. `/stats`, `/health` and `/ready` are on both. Read from the `ADMIN_PORT` environment variable.
    #[arg(long, env = "ADMIN_PORT", global = true, value_parser = parse::port)]
    pub admin_port: Option<u16>,

    /// A folder for what a server that runs alone keeps when it ends: its candles, and where tokens are asked for its users'
    /// alerts. It is made where it does not exist, and is one server's alone. Without it nothing is kept; replicas keep theirs
    /// in Redis. Read from the `DATA_DIR` environment variable.
    #[arg(long, env = "DATA_DIR", global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// How long a shutdown may take, in ms, 100 to 600000. Read from the `DRAIN_DEADLINE` environment variable.
    #[arg(long = "drain-deadline", env = "DRAIN_DEADLINE", global = true, default_value = "10000",
          value_parser = parse::range(100, 600_000), value_name = "MS")]
    pub drain_deadline_ms: u64,

    /// Over how much of that time clients are closed, evenly, in ms, 0 to 300000; at most half of it. Default: half of it
    /// where there are other replicas, else all at once. Read from the `DRAIN_SPREAD` environment variable.
    #[arg(long = "drain-spread", env = "DRAIN_SPREAD", global = true, value_parser = parse::range(0, 300_000),
          value_name = "MS")]
    pub drain_spread_ms: Option<u64>,
}

impl Operations {
    /// What cannot be seen in one value alone.
    pub(super) fn validate(&self) -> Result<(), String> {
        let most = self.drain_deadline_ms / 2;
        match self.drain_spread_ms {
            Some(spread) if spread > most => Err(format!(
                "DRAIN_SPREAD (--drain-spread): \"{spread}\" is not allowed: must be at most {most}, half of DRAIN_DEADLINE"
            )),
            _ => Ok(()),
        }
    }

    /// The folder for what is kept; none where there is none.
    pub fn data_dir(&self) -> Option<&Path> {
        // Files that others wrote have it empty for «none».
        self.data_dir.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Over how long clients are closed, in ms. Who is alone closes them at once: there is no other replica to go to until
    /// it is back.
    pub fn drain_spread_ms(&self, is_alone: bool) -> u64 {
        self.drain_spread_ms.unwrap_or(if is_alone { 0 } else { self.drain_deadline_ms / 2 })
    }
}
