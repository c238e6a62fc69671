use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::outage::Outage;

/// The name of the file that is written to; those before it have `.1`, `.2` and so on after it.
const NAME: &str = "tickcast.log";

/// A file that gives way to another one when it becomes too large. What is written at once stays together.
///
/// Written to by one thread: nothing here is quick.
pub(super) struct Rotating {
    folder: PathBuf,
    file: File,
    written_bytes: u64,
    max_bytes: u64,
    /// That which is written to among them; at least one.
    max_files: u64,
    outage: Outage,
    /// The folder, locked for as long as this lives.
    _folder: File,
}

impl Rotating {
    /// Opens the file, to write on where it ends.
    ///
    /// # Errors
    /// The folder cannot be made, another process writes there, or the file cannot be written to.
    pub(super) fn open(folder: &Path, max_bytes: u64, max_files: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let locked = File::open(folder)?;
        // Two would move each other's files on. Where a file system has no locks, it is believed.
        if matches!(locked.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(io::Error::other("another tickcast writes there, and each needs a folder of its own"));
        }
        let (file, written_bytes) = append(&folder.join(NAME))?;
        let outage = Outage::default();
        let folder = folder.to_owned();
        let rotating = Self { folder, file, written_bytes, max_bytes, max_files, outage, _folder: locked };
        // There may have been more of them under other settings.
        rotating.drop_oldest()?;
        Ok(rotating)
    }

    /// Whether it takes lines.
    pub(super) fn outage(&self) -> &Outage {
        &self.outage
    }

    fn path(&self, age: u64) -> PathBuf {
        self.folder.join(if age == 0 { NAME.to_owned() } else { format!("{NAME}.{age}") })
    }

    /// Begins another file. Each older one moves on, and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        for age in (0..self.max_files.saturating_sub(1)).rev() {
            match fs::rename(self.path(age), self.path(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.max_files == 1 {
            fs::remove_file(self.path(0))?;
        }
        (self.file, self.written_bytes) = append(&self.path(0))?;
        Ok(())
    }

    /// Removes what is older than it may be, as far as there is one after the other.
    fn drop_oldest(&self) -> io::Result<()> {
        let mut age = self.max_files;
        loop {
            match fs::remove_file(self.path(age)) {
                Ok(()) => age += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let full = self.written_bytes + line.len() as u64 > self.max_bytes;
        // One that cannot be rotated is written on: better too long than lost.
        if full && self.written_bytes > 0 && self.rotate().is_err() {
            self.written_bytes = 0;
        }
        let written = self.file.write_all(line);
        self.outage.note(&written);
        written?;
        self.written_bytes += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let written_bytes = file.metadata()?.len();
    Ok((file, written_bytes))
}

#[cfg(test)]
mod tests {
    use super::super::outage::News;
    use super::*;

    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    fn named(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn lines_move_on_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made/here");
        let mut log = Rotating::open(&folder, 8, 3).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "longer than a file\n", "5\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let expected =
            [("tickcast.log", "5\n"), ("tickcast.log.1", "longer than a file\n"), ("tickcast.log.2", "four\n")];
        assert_eq!(files(&folder), named(&expected));

        let error = Rotating::open(&folder, 8, 3).err().unwrap();
        assert!(error.to_string().contains("a folder of its own"), "{error}");
        drop(log);

        // Another start writes on, and knows what is there; with fewer files, older ones go.
        let mut log = Rotating::open(&folder, 8, 2).unwrap();
        log.write_all(b"6\n").unwrap();
        log.write_all(b"seven\n").unwrap();
        assert_eq!(files(&folder), named(&[("tickcast.log", "seven\n"), ("tickcast.log.1", "5\n6\n")]));
    }

    #[test]
    fn one_file_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Rotating::open(folder.path(), 8, 1).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(files(folder.path()), named(&[("tickcast.log", "three\n")]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_is_full_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join(NAME)).unwrap();
        let mut log = Rotating::open(folder.path(), 1000, 2).unwrap();
        assert!(log.write_all(b"one\n").is_err());
        assert!(matches!(log.outage().news(), Some(News::Began(error)) if error.contains("space")));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Rotating::open(&file, 8, 1).is_err());
    }
}
