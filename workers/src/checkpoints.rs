//! Where signed checkpoints of the audit log go, outside the database: a directory, a syslog collector, and the process's log. Whoever
//! collects any of them has what a changed database cannot take back.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use storage::audit::Checkpoint;

use crate::syslog::Collector;

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Seconds between two checkpoints at most; after 1,000 events there is one sooner.
    pub checkpoint_seconds: u64,
    /// Directory of the published checkpoints; empty for `checkpoints` in the data directory.
    pub checkpoint_directory: PathBuf,
    /// A syslog collector that is sent every checkpoint, as `udp://host:port` or `tcp://host:port`; empty for none.
    pub checkpoint_syslog: String,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { checkpoint_seconds: 60, checkpoint_directory: PathBuf::new(), checkpoint_syslog: String::new() }
    }
}

impl AuditConfig {
    /// What is wrong with the values, if anything.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=3600).contains(&self.checkpoint_seconds) {
            return Err("checkpoint_seconds must be from 1 to 3600".to_owned());
        }
        self.collector().map(drop).map_err(|error| format!("checkpoint_syslog: {error}"))
    }

    pub(crate) fn collector(&self) -> Result<Option<Collector>, String> {
        if self.checkpoint_syslog.is_empty() { Ok(None) } else { Collector::parse(&self.checkpoint_syslog).map(Some) }
    }

    /// The same with its directory named, for an installation with this data directory.
    #[must_use]
    pub fn located(mut self, data: &Path) -> Self {
        if self.checkpoint_directory.as_os_str().is_empty() {
            self.checkpoint_directory = data.join("checkpoints");
        }
        self
    }

    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(self.checkpoint_seconds)
    }
}

/// Publishes into `directory/YYYY-MM-DD/SIZE.note`. A file is never replaced.
pub fn publish(directory: &Path, checkpoint: &Checkpoint, note: &str) -> io::Result<()> {
    let at = checkpoint.at.rfc3339();
    let day = directory.join(at.get(..10).unwrap_or(&at));
    let path = day.join(format!("{:020}.note", checkpoint.size));
    match fs::read_to_string(&path) {
        Ok(there) if there == note => return Ok(()),
        Ok(_) => return Err(io::Error::other(format!("{} holds the checkpoint of another log", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(&day)?;
    let mut file = tempfile::NamedTempFile::new_in(&day)?;
    io::Write::write_all(&mut file, note.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        // Another process was quicker, with the same note.
        Ok(_) | Err(_) => {}
    }
    fs::File::open(&day)?.sync_all()
}

/// Every note under a directory.
pub fn published(directory: &Path) -> io::Result<Vec<String>> {
    let mut notes = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(notes),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            notes.extend(published(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "note") {
            notes.push(fs::read_to_string(&path)?);
        }
    }
    Ok(notes)
}
