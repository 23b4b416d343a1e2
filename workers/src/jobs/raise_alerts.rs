//! `raise_alerts`: looks through the audit trail by the rules and tells of what it finds.

use domain::jobs::RaiseAlerts;
use storage::alerts;

use crate::{
    context::Context,
    runner::{Handler, JobError, Run},
};

impl Handler<RaiseAlerts> for Context {
    async fn run(&self, _: &RaiseAlerts, run: &Run) -> Result<(), JobError> {
        for alert in alerts::raise(&run.storage, &self.alerts.thresholds, &self.alerts.routes()).await? {
            metrics::counter!("dia_alerts_total", "rule" => alert.rule.clone()).increment(1);
            tracing::warn!(
                target: "dia::security",
                alert = %alert.id, rule = alert.rule, severity = alert.severity, subject_kind = alert.subject_kind,
                subject = alert.subject, events = alert.events, "alert"
            );
        }
        Ok(())
    }
}
