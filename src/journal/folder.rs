use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file by which a server has a folder to itself.
const LOCK: &str = "lock";

/// A folder that this process alone writes to, for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The lock ends with it, however the process does.
    _lock: File,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("\"{}\" is in use: another server writes there", .0.display())]
    Taken(PathBuf),
    /// The disk says no.
    #[error("\"{}\" cannot be written: {error}", path.display())]
    Io {
        /// Which folder.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

impl Folder {
    /// Takes a folder, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be written, or another process has it.
    pub fn take(path: &Path) -> Result<Self, FolderError> {
        let lock = lock(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(FolderError::Io { path: path.to_owned(), error }),
        }
    }

    /// Whether it can be taken, but for another process that has it. Makes it where there is none.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn check(path: &Path) -> Result<(), FolderError> {
        lock(path).map(drop)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let mut options = OpenOptions::new();
    std::fs::create_dir_all(path)
        .and_then(|()| options.write(true).create(true).truncate(false).open(path.join(LOCK)))
        .map_err(|error| FolderError::Io { path: path.to_owned(), error })
}
