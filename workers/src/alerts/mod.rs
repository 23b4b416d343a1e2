//! How alerts are told of beyond the process's log and the API: a message to a URL, signed as Standard Webhooks 1.0 says, and a line to
//! a syslog collector. Both are the operator's word, so they may lie on this machine.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use domain::{
    alerts::{RULES, rule},
    clock::Timestamp,
    jobs::AlertRoute,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::{alerts::Alert, users::normal_email, webhooks::Secret};

use crate::{outbound, syslog::Collector};

/// How long a receiver is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// `[alerts]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// Seconds between two looks through the audit trail, 1 to 60.
    pub every_seconds: u64,
    /// How many events raise an alert, by the name of the rule; 0 switches it off. Rules not named here say it themselves.
    pub thresholds: BTreeMap<String, u64>,
    /// A URL that is told of every alert; empty for none.
    pub webhook_url: String,
    /// What signs these messages: `whsec_` and base64 of 32 bytes.
    pub webhook_secret: String,
    /// A syslog collector that is told of every alert, as `udp://host:port` or `tcp://host:port`; empty for none.
    pub syslog: String,
    /// Addresses that are written of every alert.
    pub mail_to: Vec<String>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            every_seconds: 10,
            thresholds: BTreeMap::new(),
            webhook_url: String::new(),
            webhook_secret: String::new(),
            syslog: String::new(),
            mail_to: Vec::new(),
        }
    }
}

impl std::fmt::Debug for AlertsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a token.
        f.debug_struct("AlertsConfig").field("every_seconds", &self.every_seconds).finish_non_exhaustive()
    }
}

impl AlertsConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=60).contains(&self.every_seconds) {
            return Err("every_seconds must be from 1 to 60".to_owned());
        }
        if let Some(name) = self.thresholds.keys().find(|name| rule(name).is_none()) {
            let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
            return Err(format!("thresholds names `{name}`, which is no rule; there are {}", names.join(", ")));
        }
        if !self.webhook_url.is_empty() {
            let is_url = self.webhook_url.starts_with("https://") || self.webhook_url.starts_with("http://");
            if !is_url || Secret::parse(&self.webhook_secret).is_none() {
                return Err(
                    "webhook_url begins with https:// or http://, and webhook_secret is whsec_ and base64 of 32 bytes"
                        .to_owned(),
                );
            }
        }
        if let Some(wrong) = self.mail_to.iter().find(|to| normal_email(to).is_none()) {
            return Err(format!("mail_to names `{wrong}`, which is no e-mail address"));
        }
        self.collector().map(drop)
    }

    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(self.every_seconds)
    }

    /// The ways that are configured.
    pub(crate) fn routes(&self) -> Vec<AlertRoute> {
        let ways = [
            (AlertRoute::Webhook, self.webhook_url.is_empty()),
            (AlertRoute::Syslog, self.syslog.is_empty()),
            (AlertRoute::Mail, self.mail_to.is_empty()),
        ];
        ways.into_iter().filter(|(_, is_unset)| !is_unset).map(|(route, _)| route).collect()
    }

    pub(crate) fn collector(&self) -> Result<Option<Collector>, String> {
        if self.syslog.is_empty() { Ok(None) } else { Collector::parse(&self.syslog).map(Some) }
    }

    /// Sends one message about `alert` to the URL.
    pub(crate) async fn post(&self, alert: &Alert, at: Timestamp) -> anyhow::Result<()> {
        let secret = Secret::parse(&self.webhook_secret).context("alerts.webhook_secret is not set")?;
        let http = outbound::operators(PATIENCE, PATIENCE).context("no client could be made")?;
        let body = json!({ "type": "alert.raised", "timestamp": alert.raised_at, "data": data(alert) }).to_string();
        let signature = secret.sign(&alert.id.to_string(), at, &body);
        let request = http
            .post(&self.webhook_url)
            .header("content-type", "application/json")
            .header("webhook-id", alert.id.to_string())
            .header("webhook-timestamp", at.seconds().to_string())
            .header("webhook-signature", signature)
            .timeout(PATIENCE)
            .body(body);
        // The error's words would quote the URL.
        let answer = request.send().await.map_err(|_| anyhow::anyhow!("the receiver of alerts did not answer"))?;
        anyhow::ensure!(answer.status().is_success(), "the receiver of alerts answered {}", answer.status().as_u16());
        Ok(())
    }
}

/// What is told of an alert: ids, names and counts.
pub(crate) fn data(alert: &Alert) -> Value {
    json!({
        "id": alert.id, "rule": alert.rule, "meaning": rule(&alert.rule).map(|rule| rule.meaning), "severity": alert.severity,
        "subject_kind": alert.subject_kind, "subject": alert.subject, "events": alert.events,
        "first_at": alert.first_at, "last_at": alert.last_at, "raised_at": alert.raised_at,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_named() {
        let none = AlertsConfig::default;
        let secret = format!("whsec_{}=", "A".repeat(43));
        assert_eq!(none().check(), Ok(()));
        let url = AlertsConfig { webhook_url: "https://a.example/".to_owned(), webhook_secret: secret, ..none() };
        assert_eq!((url.check(), url.routes()), (Ok(()), vec![AlertRoute::Webhook]));
        for wrong in [
            AlertsConfig { every_seconds: 0, ..none() },
            AlertsConfig { every_seconds: 61, ..none() },
            AlertsConfig { thresholds: [("everything".to_owned(), 1)].into(), ..none() },
            AlertsConfig { webhook_secret: String::new(), ..url.clone() },
            AlertsConfig { webhook_secret: "whsec_AAAA".to_owned(), ..url.clone() },
            AlertsConfig { webhook_url: "ftp://a.example/".to_owned(), ..url },
            AlertsConfig { syslog: "a.example:514".to_owned(), ..none() },
            AlertsConfig { mail_to: vec!["nobody".to_owned()], ..none() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
