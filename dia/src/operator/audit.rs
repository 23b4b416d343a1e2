//! `dia audit …`, on the data directory or database itself, and `dia verify`, which needs neither.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use storage::audit::{
    self, Findings, Verifier, bundle,
    custody::{self, Verified},
    log,
};
use workers::checkpoints::published;

use crate::{cli::AuditCommand, compose, config::Config, out};

/// `dia audit …`
pub(crate) async fn audit(command: AuditCommand, config: Config) -> Result<()> {
    let storage = compose::storage(&config).await?;
    let done = match command {
        AuditCommand::Key => {
            out::line(&log::verifier(&storage)?.to_string());
            Ok(())
        }
        AuditCommand::Check => {
            let directory = config.audit.clone().located(&config.directory()?).checkpoint_directory;
            let notes = published(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
            let found = audit::check(&storage, &notes).await?;
            out::json(&found)?;
            verdict(&found)
        }
    };
    storage.db.close().await;
    done
}

/// `dia verify`
pub(crate) fn verify(file: &Path, key: &str, kept: &[PathBuf]) -> Result<()> {
    let key = Verifier::parse(key).context("--key is not a key as `dia audit key` prints it")?;
    let mut notes = Vec::new();
    for path in kept {
        let read = if path.is_dir() { published(path) } else { std::fs::read_to_string(path).map(|note| vec![note]) };
        notes.extend(read.with_context(|| format!("cannot read {}", path.display()))?);
    }
    if file.is_dir() {
        let (found, verified) = custody::verify(file, &key, &notes)?;
        found.told.iter().for_each(|problem| out::error(problem));
        verdict(&found)?;
        if let Some(Verified { case, at, documents, files, checkpoint }) = verified {
            let (at, size, signed) = (at.rfc3339(), checkpoint.size, checkpoint.at.rfc3339());
            out::line(&format!("case {case} as it was taken away on {at}: {documents} documents, {files} files"));
            out::line(&format!("{} events are what was logged; the log had {size} on {signed}", found.events));
        }
        return Ok(());
    }
    let bundle = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let (found, checkpoint) = bundle::verify(BufReader::new(bundle), &key, &notes)?;
    for problem in &found.told {
        out::error(problem);
    }
    verdict(&found)?;
    if let Some(checkpoint) = checkpoint {
        let (size, at) = (checkpoint.size, checkpoint.at.rfc3339());
        out::line(&format!("{} events are what was logged; the log had {size} on {at}", found.events));
    }
    Ok(())
}

fn verdict(found: &Findings) -> Result<()> {
    if found.problems > 0 {
        bail!("{} things are not as they were signed", found.problems);
    }
    Ok(())
}
