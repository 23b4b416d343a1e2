//! The operator's commands: they work on the data directory itself, so they also work when the server is down.

mod audit;
mod autoscale;
mod jobs;
mod known_files;
mod users;
mod workers;

use std::path::Path;

use anyhow::Result;
use domain::{actor::Actor, ids};

pub(crate) use audit::{audit, verify};
pub(crate) use autoscale::{AutoscaleConfig, autoscale};
pub(crate) use jobs::{jobs, queues};
pub(crate) use known_files::known_files;
pub(crate) use users::users;
pub(crate) use workers::workers;

use crate::{
    cli::ConfigCommand,
    compose,
    config::{Config, DEFAULTS},
    out,
};

/// The operator at the command line acts as the system.
fn operator() -> Actor {
    Actor::system(ids::fresh())
}

/// `dia migrate`
pub(crate) async fn migrate(config: &Config, grant_to: Option<&str>) -> Result<()> {
    compose::migrate(config, grant_to).await?;
    out::line("the schema is up to date");
    Ok(())
}

/// `dia config …`
pub(crate) fn config(command: &ConfigCommand, path: Option<&Path>) -> Result<()> {
    match command {
        ConfigCommand::Show => out::part(DEFAULTS),
        ConfigCommand::Check => {
            let config = Config::load(path)?;
            out::line("the configuration is sound");
            out::line(&format!("data directory: {}", config.directory()?.display()));
            let found = |path: Option<&std::path::PathBuf>| {
                path.map_or_else(|| "not found".to_owned(), |path| path.display().to_string())
            };
            out::line(&format!("PDFium: {}", found(config.pipeline.pdfium_library.as_ref())));
            out::line(&format!("tesseract: {}", found(config.pipeline.tesseract.as_ref())));
        }
    }
    Ok(())
}
