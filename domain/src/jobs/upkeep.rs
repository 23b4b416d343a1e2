//! Jobs that belong to no case: what keeps the house in order and watches over it.

use serde::{Deserialize, Serialize};

use super::{Job, Policy, Queue};
use crate::ids::{AlertId, CaseId, UserId};

/// Jobs without a payload: of each kind at most one waits, for everybody.
macro_rules! upkeep {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {}

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: Queue = Queue::Maintenance;

            fn case(&self) -> Option<CaseId> {
                None
            }

            fn unique_key(&self) -> Option<String> {
                Some(Self::KIND.to_owned())
            }
        }
    )+};
}

upkeep! {
    /// Remove blobs nothing refers to, expired sessions and idempotency records, and old finished jobs.
    CollectGarbage = "collect_garbage";
    /// Enqueue work that should exist and does not: an indexing job for every database with documents that wait for one.
    SweepJobs = "sweep_jobs";
    /// Give audit events their positions in the log, sign it and publish what was signed.
    SealAudit = "seal_audit";
    /// Look through the audit trail for what somebody should know, and raise alerts.
    RaiseAlerts = "raise_alerts";
}

/// Tell of an alert, over one of the routes the operator configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAlert {
    /// The alert.
    pub alert: AlertId,
    /// Which way.
    pub route: AlertRoute,
}

/// Where alerts can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertRoute {
    /// A URL.
    Webhook,
    /// A syslog collector.
    Syslog,
    /// Letters.
    Mail,
}

impl Job for SendAlert {
    const KIND: &'static str = "send_alert";
    const QUEUE: Queue = Queue::Network;
    const POLICY: Policy = Policy { max_attempts: 20, ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("send_alert:{}:{:?}", self.alert, self.route).to_lowercase())
    }
}

/// Write somebody a code with which they set a new password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPasswordReset {
    /// Who has the address that was named; nobody may. The job exists all the same, so that asking takes the same work.
    pub user: Option<UserId>,
}

impl Job for SendPasswordReset {
    const KIND: &'static str = "send_password_reset";
    const QUEUE: Queue = Queue::Network;
    const POLICY: Policy = Policy { max_attempts: 5, ..Policy::DEFAULT };

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", Self::KIND, self.user.map_or_else(|| "nobody".to_owned(), |user| user.to_string())))
    }
}
