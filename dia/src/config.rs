//! The configuration: `default.toml` is the manual and the defaults, then a file, then `DIA_…__…` variables. This is the
//! only module that reads the environment.

#![allow(clippy::disallowed_methods, reason = "this is where the environment is read")]

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Serialize};

use crate::operator::AutoscaleConfig;

/// The defaults, with every key documented.
pub(crate) const DEFAULTS: &str = include_str!("../default.toml");

/// Variables with a meaning of their own, beside those that override a key.
const OWN_VARIABLES: [&str; 10] = [
    "DIA_CONFIG",
    "DIA_SERVER",
    "DIA_API_KEY",
    "DIA_PASSWORD",
    "DIA_CODE",
    "DIA_FAILPOINT",
    "DIA_CREDENTIALS",
    "DIA_PDFIUM_LIBRARY",
    "DIA_CACHE",
    "DIA_TARGET_DIR",
];

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where things lie.
    pub(crate) data: Data,
    /// Where rows live.
    pub(crate) database: Database,
    /// What wakes workers.
    pub(crate) queue: Queue,
    /// What carries live events.
    pub(crate) live: Live,
    /// Where objects lie.
    pub(crate) objects: storage::objects::S3Settings,
    /// What is logged.
    pub(crate) log: Log,
    /// The door.
    pub(crate) api: api::ApiConfig,
    /// What people must prove.
    pub(crate) auth: api::AuthConfig,
    /// How often somebody may ask.
    pub(crate) limits: api::LimitsConfig,
    /// Who may do what for a while.
    pub(crate) access: api::AccessConfig,
    /// The fleets.
    pub(crate) workers: workers::WorkersConfig,
    /// How many workers there should be.
    pub(crate) autoscale: AutoscaleConfig,
    /// Reading documents.
    pub(crate) pipeline: pipeline::Settings,
    /// The model that writes answers.
    pub(crate) llm: workers::LlmConfig,
    /// The audit log.
    pub(crate) audit: workers::checkpoints::AuditConfig,
    /// What somebody should look at soon, and who is told.
    pub(crate) alerts: workers::AlertsConfig,
    /// How people are written to.
    pub(crate) mail: workers::MailConfig,
    /// Where files may be fetched from.
    pub(crate) references: workers::ReferencesConfig,
    /// Who may be told what happens in cases.
    pub(crate) webhooks: workers::WebhooksConfig,
}

/// `[data]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    directory: PathBuf,
}

/// `[database]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// Empty for SQLite.
    pub(crate) url: String,
    /// Bring the schema up to date at the start; otherwise `dia migrate` does.
    pub(crate) migrate: bool,
    /// Pool size.
    pub(crate) connections: u32,
    /// Longest run of a statement.
    pub(crate) statement_timeout_seconds: u64,
    /// Longest pause within a transaction.
    pub(crate) idle_in_transaction_timeout_seconds: u64,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Database").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// `[queue]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    /// Empty to wake workers inside the process only.
    pub(crate) url: String,
    /// What the names of queues begin with.
    pub(crate) prefix: String,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Queue").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// `[live]`
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Live {
    /// Empty to keep live events inside the process.
    pub(crate) url: String,
    /// What the names of channels and keys begin with.
    pub(crate) prefix: String,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Live").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// An `EnvFilter` directive.
    pub(crate) filter: String,
    /// Text or JSON.
    pub(crate) format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads defaults, the file (`path`, else `DIA_CONFIG`) and the environment; what is wrong is named.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        check_variables(env::vars().map(|(name, _)| name))?;
        let path = path.map(Path::to_owned).or_else(|| variable("DIA_CONFIG").map(PathBuf::from));
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = &path {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            figment = figment.merge(Toml::string(&text));
        }
        let overrides = Env::prefixed("DIA_").filter(|name| name.as_str().contains("__")).split("__");
        let mut config: Self = figment.merge(overrides).extract().map_err(anyhow::Error::msg).with_context(|| {
            path.map_or_else(|| "in the environment".to_owned(), |p| format!("in {} or the environment", p.display()))
        })?;
        config.objects.check().map_err(anyhow::Error::msg).context("in [objects]")?;
        config.api.check().map_err(anyhow::Error::msg).context("in [api]")?;
        config.auth.check().map_err(anyhow::Error::msg).context("in [auth]")?;
        config.limits.check().map_err(anyhow::Error::msg).context("in [limits]")?;
        config.access.check().map_err(anyhow::Error::msg).context("in [access]")?;
        config.workers.check().map_err(anyhow::Error::msg).context("in [workers]")?;
        config.autoscale.check().map_err(anyhow::Error::msg).context("in [autoscale]")?;
        config.llm.check().map_err(anyhow::Error::msg).context("in [llm]")?;
        config.audit.check().map_err(anyhow::Error::msg).context("in [audit]")?;
        config.alerts.check().map_err(anyhow::Error::msg).context("in [alerts]")?;
        config.mail.check().map_err(anyhow::Error::msg).context("in [mail]")?;
        if !config.alerts.mail_to.is_empty() && !config.mail.is_on() {
            bail!("in [alerts]: mail_to needs a mail server; set mail.server");
        }
        config.references.check().map_err(anyhow::Error::msg).context("in [references]")?;
        config.webhooks.check().map_err(anyhow::Error::msg).context("in [webhooks]")?;
        if config.pipeline.pdfium_library.is_none() {
            config.pipeline.pdfium_library = variable("DIA_PDFIUM_LIBRARY").map(PathBuf::from);
        }
        config.pipeline = config.pipeline.discover(variable("PATH").as_deref(), variable("HOME").as_deref());
        Ok(config)
    }

    /// The data directory.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        if self.data.directory.as_os_str().is_empty() {
            return Ok(home_folder("XDG_DATA_HOME", ".local/share")?.join("dia"));
        }
        Ok(self.data.directory.clone())
    }
}

/// A folder of the user's: `variable` if set, else `default` under the home folder.
pub(crate) fn home_folder(name: &str, default: &str) -> Result<PathBuf> {
    if let Some(folder) = variable(name).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let home = variable("HOME").context("HOME is not set; set DIA_DATA__DIRECTORY to say where dia keeps its data")?;
    Ok(PathBuf::from(home).join(default))
}

/// One variable of the environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn check_variables(names: impl Iterator<Item = String>) -> Result<()> {
    for name in names.filter(|name| name.starts_with("DIA_")) {
        if !name.contains("__") && !OWN_VARIABLES.contains(&name.as_str()) {
            bail!("{name} is not a variable dia knows; overrides look like DIA_API__LISTEN");
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Ok(Figment::from(Toml::string(DEFAULTS)).merge(Toml::string(text)).extract()?)
    }

    /// The manual says the same defaults as the code, and leaves no key out.
    #[test]
    fn the_manual_is_true_and_complete() {
        let config = parse("").unwrap();
        let table = |value: &toml::Value, name: &str| value.get(name).cloned().unwrap();
        let written: toml::Value = toml::from_str(DEFAULTS).unwrap();
        for (name, code) in [
            ("objects", toml::Value::try_from(storage::objects::S3Settings::default()).unwrap()),
            ("api", toml::Value::try_from(api::ApiConfig::default()).unwrap()),
            ("auth", toml::Value::try_from(api::AuthConfig::default()).unwrap()),
            ("limits", toml::Value::try_from(api::LimitsConfig::default()).unwrap()),
            ("access", toml::Value::try_from(api::AccessConfig::default()).unwrap()),
            ("workers", toml::Value::try_from(workers::WorkersConfig::default()).unwrap()),
            ("autoscale", toml::Value::try_from(AutoscaleConfig::default()).unwrap()),
            ("pipeline", toml::Value::try_from(pipeline::Settings::default()).unwrap()),
            ("llm", toml::Value::try_from(workers::LlmConfig::default()).unwrap()),
            ("audit", toml::Value::try_from(workers::checkpoints::AuditConfig::default()).unwrap()),
            ("alerts", toml::Value::try_from(workers::AlertsConfig::default()).unwrap()),
            ("mail", toml::Value::try_from(workers::MailConfig::default()).unwrap()),
            ("references", toml::Value::try_from(workers::ReferencesConfig::default()).unwrap()),
            ("webhooks", toml::Value::try_from(workers::WebhooksConfig::default()).unwrap()),
        ] {
            assert_eq!(table(&written, name), code, "[{name}]");
        }
        assert_eq!(config.pipeline, pipeline::Settings::default());
    }

    #[test]
    fn every_key_of_the_manual_is_explained() {
        let lines: Vec<&str> = DEFAULTS.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, l)| l.contains(" = ")) {
            assert!(lines[at - 1].starts_with('#'), "no comment above `{line}`");
        }
    }

    #[test]
    fn unknown_keys_are_errors() {
        for text in ["[api]\nlisten_on = \"x\"", "[web]\nx = 1", "[pipeline.limits]\nmax_page = 3"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("[pipeline.limits]\nmax_pages = 3").is_ok());
        assert!(check_variables(["DIA_APILISTEN".to_owned()].into_iter()).is_err());
        assert!(check_variables(["DIA_API__LISTEN".to_owned(), "DIA_CONFIG".to_owned()].into_iter()).is_ok());
    }
}
