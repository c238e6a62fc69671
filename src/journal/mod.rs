//! Files of what outlives the process: records that are appended, each with its check. docs/journal.md is the format.
//!
//! What a record means is its writer's; a file is read once, at the start, and from then on only written. It waits for the
//! disk: whoever calls it does so off the way of ticks.

mod folder;
mod records;
mod scan;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub use folder::{Folder, FolderError};
pub use records::Records;
use scan::{Found, MAGIC, scan};

/// The largest record, its kind included, in bytes.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// A file of records that is open for writing, and its state as it is known to be on disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Up to here the file is whole.
    bytes: u64,
    /// What it was at its last rewriting, or at the start.
    rewritten_bytes: u64,
}

/// What was in a file when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whole records.
    pub records: u64,
    /// Bytes at the end that are no whole record: a write that never came to its end. They are cut off.
    pub torn_bytes: u64,
    /// Bytes in the middle that are no record, though records follow: damage. What follows is read.
    pub damaged_bytes: u64,
}

/// Why there can be no journal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// It begins otherwise.
    #[error("{}: it is no journal, or one of another version", .0.display())]
    Magic(PathBuf),
}

impl Opened {
    /// Bytes that were no record.
    pub fn lost_bytes(&self) -> u64 {
        self.torn_bytes + self.damaged_bytes
    }
}

impl Journal {
    /// Opens the file of this name in a folder that is held, or begins it, and hands each of its records to `take`: its
    /// kind, and what is in it.
    ///
    /// # Errors
    /// It cannot be read or written, or is something else.
    pub fn open(folder: &Folder, name: &str, take: impl FnMut(u8, &[u8])) -> Result<(Self, Opened), OpenError> {
        let path = folder.path().join(name);
        let failed = |error| OpenError::Io { path: path.clone(), error };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let Found { records, whole_bytes, torn_bytes, damaged_bytes } =
            scan(&content, take).ok_or_else(|| OpenError::Magic(path.clone()))?;
        if damaged_bytes > 0 {
            // It goes with the next rewriting: whoever wants to look at it finds it here.
            std::fs::write(path.with_extension("damaged"), &content).map_err(failed)?;
        }
        let mut journal = Self { path: path.clone(), file, bytes: whole_bytes, rewritten_bytes: whole_bytes };
        if whole_bytes == 0 {
            journal.file.set_len(0).map_err(failed)?;
            journal.write(&MAGIC).map_err(failed)?;
            sync_folder(folder.path()).map_err(failed)?;
        } else if torn_bytes > 0 {
            journal.file.set_len(whole_bytes).map_err(failed)?;
        }
        journal.rewritten_bytes = journal.bytes;
        Ok((journal, Opened { records, torn_bytes, damaged_bytes }))
    }

    /// Says what was wrong with the file when it was opened. Of its records `unknown` were none of its writer's: they go with
    /// the next rewriting, and whoever wants them back finds a copy beside it.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub fn report(&self, opened: &Opened, unknown: u64) -> Result<(), OpenError> {
        let Opened { torn_bytes, damaged_bytes, .. } = *opened;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let path = self.path.display();
        if torn_bytes > 0 {
            tracing::warn!(%path, torn_bytes, "the last write never came to its end: cut off");
        }
        if damaged_bytes > 0 {
            tracing::error!(%path, damaged_bytes, "the file is damaged in the middle: what is whole was read, and it was copied to {name}.damaged");
        }
        if unknown > 0 {
            let copy = self.path.with_extension("unknown");
            std::fs::copy(&self.path, &copy).map_err(|error| OpenError::Io { path: copy, error })?;
            tracing::error!(%path, records = unknown, "records that this version does not know: passed over, and the file was copied to {name}.unknown");
        }
        Ok(())
    }

    /// Appends records, and waits until they are on the disk. What fails is not in the file: the next one begins where this
    /// one did.
    ///
    /// # Errors
    /// The disk does not take them. Worth a retry.
    pub fn append(&mut self, records: &Records) -> io::Result<()> {
        self.write(records.bytes())
    }

    /// Replaces everything by these records: a crash leaves the file of before, or this one, whole.
    ///
    /// # Errors
    /// The disk does not take them: the file of before is in use. Worth a retry.
    pub fn rewrite(&mut self, records: &Records) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        file.write_all(&MAGIC)?;
        file.write_all(records.bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        self.file = file;
        self.bytes = (MAGIC.len() + records.bytes().len()) as u64;
        self.rewritten_bytes = self.bytes;
        // The name is in the folder, too.
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How large the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How large it was at its last rewriting, or when it was opened.
    pub fn rewritten_bytes(&self) -> u64 {
        self.rewritten_bytes
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Behind what is whole: a write that failed may have left a part of it.
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            // A disk that is full takes no more, but gives back.
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
