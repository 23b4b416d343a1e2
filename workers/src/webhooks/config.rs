//! The `[webhooks]` section of the configuration file.

use std::{path::PathBuf, time::Duration};

use domain::outbound::Reach;
use serde::{Deserialize, Serialize};

use crate::outbound::Patience;

/// Which hosts may be told what happens in cases, and how long that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// The only hosts, exactly, told with https. Default none, which allows any.
    pub hosts: Vec<String>,
    /// Hosts that may also be told with plain http. Default none.
    pub plain_hosts: Vec<String>,
    /// Networks that are not the public internet's in which the hosts may lie. Default none.
    pub networks: Vec<String>,
    /// A file of further certificate authorities to trust (PEM). Default none.
    pub certificates: PathBuf,
    /// Longest wait for a connection, in seconds. Default 10.
    pub connect_timeout_seconds: u64,
    /// Longest time one attempt may take, in seconds; at most 120. Default 20.
    pub timeout_seconds: u64,
    /// Attempts at one message; 1 to 20. Default 10.
    pub attempts: u32,
    /// Messages in a row that were not delivered after which a webhook is disabled. Default 5.
    pub disable_after: u32,
    /// Days a message stays in the log. Default 30.
    pub retention_days: u64,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            plain_hosts: Vec::new(),
            networks: Vec::new(),
            certificates: PathBuf::new(),
            connect_timeout_seconds: 10,
            timeout_seconds: 20,
            attempts: 10,
            disable_after: 5,
            retention_days: 30,
        }
    }
}

impl WebhooksConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        self.reach()?;
        if self.connect_timeout_seconds == 0 || !(1..=120).contains(&self.timeout_seconds) {
            return Err("connect_timeout_seconds must be at least 1 and timeout_seconds between 1 and 120");
        }
        if !(1..=20).contains(&self.attempts) {
            return Err("attempts must be between 1 and 20");
        }
        if self.disable_after == 0 || self.retention_days == 0 {
            return Err("disable_after and retention_days must be at least 1");
        }
        Ok(())
    }

    /// Which URLs may be named.
    pub fn reach(&self) -> Result<Reach, &'static str> {
        let hosts = if self.hosts.is_empty() { None } else { Some(&*self.hosts) };
        Reach::new(hosts, &self.plain_hosts, &self.networks)
    }

    pub(super) fn patience(&self) -> Patience {
        let total = Duration::from_secs(self.timeout_seconds);
        Patience { connect: Duration::from_secs(self.connect_timeout_seconds), read: total, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        let none = WebhooksConfig::default;
        assert_eq!(none().check(), Ok(()));
        for wrong in [
            WebhooksConfig { hosts: some("https://a.example"), ..none() },
            WebhooksConfig { plain_hosts: some("a.example/x"), ..none() },
            WebhooksConfig { networks: some("10.0.0.1"), ..none() },
            WebhooksConfig { connect_timeout_seconds: 0, ..none() },
            WebhooksConfig { timeout_seconds: 0, ..none() },
            WebhooksConfig { timeout_seconds: 121, ..none() },
            WebhooksConfig { attempts: 0, ..none() },
            WebhooksConfig { attempts: 21, ..none() },
            WebhooksConfig { disable_after: 0, ..none() },
            WebhooksConfig { retention_days: 0, ..none() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn any_host_may_be_told_with_https_unless_some_are_named() {
        let url = |config: &WebhooksConfig, url| config.reach().map(|reach| reach.url(url).is_ok());
        let (any, one) = (WebhooksConfig::default(), WebhooksConfig { hosts: some("a.example"), ..Default::default() });
        assert_eq!(url(&any, "https://b.example/x"), Ok(true));
        assert_eq!(url(&any, "http://b.example/x"), Ok(false));
        assert_eq!(url(&any, "https://10.0.0.1/x"), Ok(false));
        assert_eq!((url(&one, "https://a.example/x"), url(&one, "https://b.example/x")), (Ok(true), Ok(false)));
    }
}
