//! What an interrupted import has already delivered: one file per (server, database, folder), a line per file. Losing it
//! costs bytes, never correctness: the server takes the same file of the same batch once.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::config::home_folder;

/// The open journal of one import.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    delivered: HashSet<String>,
    /// The batch everything goes into, once it is open.
    pub(super) batch: Option<String>,
}

impl Journal {
    /// Opens the journal of importing `root` into `database` of `server`, with what an earlier run wrote.
    pub(super) fn open(server: &str, database: &str, root: &Path) -> Result<Self> {
        let folder = home_folder("XDG_STATE_HOME", ".local/state")?.join("dia").join("imports");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let digest = Sha256::digest(format!("{server}\n{database}\n{}", root.display()));
        let path = folder.join(hex::encode(&digest[..16]));
        let mut journal = Self {
            file: OpenOptions::new().create(true).append(true).open(&path)?,
            path,
            delivered: HashSet::new(),
            batch: None,
        };
        for line in BufReader::new(File::open(&journal.path)?).lines() {
            let line = line?;
            match line.split_once(' ') {
                Some(("batch", id)) => journal.batch = Some(id.to_owned()),
                Some(("file", key)) => drop(journal.delivered.insert(key.to_owned())),
                // The last line of a killed run may be cut short; the file it stood for is sent again.
                _ => {}
            }
        }
        Ok(journal)
    }

    /// Notes the batch.
    pub(super) fn begin(&mut self, batch: &str) -> Result<()> {
        self.batch = Some(batch.to_owned());
        writeln!(self.file, "batch {batch}")?;
        Ok(self.file.sync_data()?)
    }

    /// True when this file, of this size and time, was delivered.
    pub(super) fn has(&self, key: &str) -> bool {
        self.delivered.contains(key)
    }

    /// Notes delivered files.
    pub(super) fn add(&mut self, keys: &[String]) -> Result<()> {
        for key in keys {
            writeln!(self.file, "file {key}")?;
        }
        self.delivered.extend(keys.iter().cloned());
        Ok(self.file.flush()?)
    }

    /// Forgets the batch and what went into it; the next one begins in the same file.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.file.set_len(0)?;
        self.delivered.clear();
        self.batch = None;
        Ok(())
    }

    /// The import is complete: forgets it.
    pub(super) fn finish(self) -> Result<()> {
        Ok(fs::remove_file(&self.path)?)
    }
}

/// A line-safe key of a file: the digest of its path, size and time of change.
pub(super) fn key(path: &str, size: u64, modified: u128) -> String {
    hex::encode(&Sha256::digest(format!("{path}\n{size}\n{modified}"))[..16])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keys_change_with_path_size_and_time_and_never_hold_a_line_end() {
        let keys = [key("a\nb", 1, 1), key("a", 1, 1), key("a", 2, 1), key("a", 1, 2)];
        let distinct: HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 4);
        assert!(keys.iter().all(|k| !k.contains('\n')));
    }
}
