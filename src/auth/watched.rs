use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often a file is looked at. Read and compared as a whole, not by its time: that misses a change within its grain,
/// and a mounted secret is replaced under links.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The largest file of keys, in bytes.
const MAX_BYTES: u64 = 1_000_000;

/// What a file says, read again when it changes. One that cannot be read or understood changes nothing: what was true
/// stays, and the log says so once.
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    current: RwLock<Arc<T>>,
    /// What was read last, good or not, and what was wrong with it.
    seen: Mutex<Result<Vec<u8>, String>>,
}

/// A file that can be looked at.
pub(super) trait Look: Send + Sync {
    /// Takes it in if it has changed.
    fn look(&self);
}

impl<T> Watched<T> {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or understood: what is wrong, after the name of the file.
    pub(super) fn open(path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<Self, String> {
        let bytes = read(path)?;
        let current = RwLock::new(Arc::new(parse(&bytes)?));
        Ok(Self { path: path.to_owned(), parse, current, seen: Mutex::new(Ok(bytes)) })
    }

    /// What it says.
    pub(super) fn get(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl<T: Send + Sync> Look for Watched<T> {
    fn look(&self) {
        let bytes = read(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *seen == bytes {
            return;
        }
        let path = self.path.display();
        match bytes.as_ref().map_err(Clone::clone).and_then(|bytes| (self.parse)(bytes)) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(fresh);
                tracing::info!(%path, "keys read again");
            }
            Err(error) => tracing::error!(%path, error, "cannot read keys again: those that there were stay"),
        }
        *seen = bytes;
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.path).finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(cannot)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("is too large: at most {MAX_BYTES} bytes are allowed"));
    }
    Ok(bytes)
}

/// Looks at these files until `stop`.
pub(super) async fn look_again(files: &[&dyn Look], stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Small and local; a file on a network that hangs would hold this thread, so keys belong on a disk.
            _ = ticks.tick(), if !files.is_empty() => files.iter().for_each(|file| file.look()),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_in_what_changes_and_keeps_what_is_true() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let parse = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u8>().map_err(|error| error.to_string());
        assert!(Watched::open(&path, parse).unwrap_err().starts_with("cannot be read"));
        std::fs::write(&path, "x").unwrap();
        assert!(Watched::open(&path, parse).is_err());
        std::fs::write(&path, "1").unwrap();
        let watched = Watched::open(&path, parse).unwrap();
        for (text, expected) in [("2", 2), ("nonsense", 2), ("3", 3)] {
            std::fs::write(&path, text).unwrap();
            watched.look();
            assert_eq!(*watched.get(), expected, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        watched.look();
        assert_eq!(*watched.get(), 3);
        std::fs::write(&path, "4".repeat(1_000_001)).unwrap();
        assert!(read(&path).unwrap_err().contains("too large"));
    }
}
