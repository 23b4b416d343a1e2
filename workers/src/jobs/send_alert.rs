//! `send_alert`: tells of one alert over one route. A route that is no longer configured is told nothing.

use domain::{
    actor::Actor,
    alerts::{Severity, rule},
    ids,
    jobs::{AlertRoute, SendAlert},
};
use storage::alerts::Alert;

use crate::{
    alerts::data,
    context::Context,
    runner::{Handler, JobError, Run},
    syslog::line,
};

impl Handler<SendAlert> for Context {
    async fn run(&self, job: &SendAlert, run: &Run) -> Result<(), JobError> {
        let mut tx = run.storage.read(&Actor::system(ids::fresh())).await?;
        let alert = Alert::find(&mut tx, job.alert).await?;
        drop(tx);
        if !self.alerts.routes().contains(&job.route) {
            return Ok(());
        }
        let severity = rule(&alert.rule).map_or(Severity::Warning, |rule| rule.severity);
        match job.route {
            AlertRoute::Webhook => Ok(self.alerts.post(&alert, run.storage.clock.now()).await?),
            AlertRoute::Syslog => {
                let collector = self.alerts.collector().map_err(|error| JobError::fail(anyhow::anyhow!(error)))?;
                let Some(collector) = collector else { return Ok(()) };
                let said = line(severity.into(), alert.raised_at, &alert.rule, &data(&alert).to_string());
                let sent = collector.send(&said).await;
                sent.map_err(|error| {
                    JobError::retry(anyhow::Error::new(error).context("the syslog collector cannot be told"))
                })
            }
            AlertRoute::Mail => {
                let subject = format!("dia: {} ({})", alert.rule, severity.name());
                self.mail.send(&self.alerts.mail_to, &subject, letter(&alert)).await
            }
        }
    }
}

fn letter(alert: &Alert) -> String {
    let meaning = rule(&alert.rule).map_or("", |rule| rule.meaning);
    format!(
        "{meaning}\r\n\r\n{} {}: {} events from {} to {}\r\n\r\nAlert {}; acknowledge it at POST /api/v1/alerts/{}/acknowledge.\r\n",
        alert.subject_kind,
        alert.subject,
        alert.events,
        alert.first_at.rfc3339(),
        alert.last_at.rfc3339(),
        alert.id,
        alert.id
    )
}
