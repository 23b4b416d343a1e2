//! `dia known-files …`.

use anyhow::{Context as _, Result, ensure};
use storage::known_files;

use crate::{cli::KnownFilesCommand, config::Config, out};

/// Bytes of hashes held in memory at once.
const MEMORY: usize = 256 << 20;

/// `dia known-files …`
pub(crate) fn known_files(command: KnownFilesCommand, config: &Config) -> Result<()> {
    let KnownFilesCommand::Import { lists, into } = command;
    let into = into.unwrap_or_else(|| config.workers.known_files.clone());
    ensure!(!into.as_os_str().is_empty(), "say --into FILE, or set workers.known_files");
    let imported = known_files::import(&lists, &into, MEMORY).context("cannot import the list")?;
    let [md5, sha1, sha256] = imported.hashes;
    out::line(&format!("{}: {sha256} SHA-256, {sha1} SHA-1, {md5} MD5", into.display()));
    out::line(&format!("{} lines, {} of them without a hash", imported.lines, imported.without));
    if config.workers.known_files != into {
        out::line(&format!("set workers.known_files = \"{}\" to use it", into.display()));
    }
    Ok(())
}
