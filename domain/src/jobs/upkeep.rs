//! Jobs that belong to no case: what keeps the house in order and watches over it.

use serde::{Deserialize, Serialize};

use super::{Job, Policy, Queue};
use crate::ids::{AlertId, CaseId};

/// Remove blobs nothing refers to, expired sessions and idempotency records, and old finished jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectGarbage {}

impl Job for CollectGarbage {
    const KIND: &'static str = "collect_garbage";
    const QUEUE: Queue = Queue::Maintenance;

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }
}

/// Enqueue work that should exist and does not: an indexing job for every database with documents that wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepJobs {}

impl Job for SweepJobs {
    const KIND: &'static str = "sweep_jobs";
    const QUEUE: Queue = Queue::Maintenance;

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }
}

/// Give audit events their positions in the log, sign it and publish what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealAudit {}

impl Job for SealAudit {
    const KIND: &'static str = "seal_audit";
    const QUEUE: Queue = Queue::Maintenance;

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }
}

/// Look through the audit trail for what somebody should know, and raise alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseAlerts {}

impl Job for RaiseAlerts {
    const KIND: &'static str = "raise_alerts";
    const QUEUE: Queue = Queue::Maintenance;

    fn case(&self) -> Option<CaseId> {
        None
    }

    fn unique_key(&self) -> Option<String> {
        Some(Self::KIND.to_owned())
    }
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
