//! `dia autoscale`: how many processes each queue should have. It only says so; whoever runs the processes acts on it.

use std::time::Duration;

use anyhow::Result;
use domain::jobs::Queue;
use serde::{Deserialize, Serialize};
use storage::jobs::{self, QueueStats};

use super::operator;
use crate::{compose, config::Config, out};

/// `[autoscale]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutoscaleConfig {
    /// Fewest processes of a queue. Default 1.
    pub(crate) minimum: u32,
    /// Most processes of a queue. Default 10.
    pub(crate) maximum: u32,
    /// Seconds after which a job that is enqueued now should be done. Default 60.
    pub(crate) target_seconds: u32,
    /// Minutes back over which service times are measured. Default 15.
    pub(crate) measured_minutes: u32,
    /// Seconds a job is taken to need where none was done. Default 5.
    pub(crate) assumed_seconds: f64,
}

impl Default for AutoscaleConfig {
    fn default() -> Self {
        Self { minimum: 1, maximum: 10, target_seconds: 60, measured_minutes: 15, assumed_seconds: 5.0 }
    }
}

impl AutoscaleConfig {
    /// Says what cannot be worked with.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.maximum == 0 || self.minimum > self.maximum {
            return Err("maximum must be at least 1 and not less than minimum");
        }
        if self.target_seconds == 0 || self.measured_minutes == 0 {
            return Err("target_seconds and measured_minutes must be at least 1");
        }
        if !(self.assumed_seconds.is_finite() && self.assumed_seconds > 0.0) {
            return Err("assumed_seconds must be more than 0");
        }
        Ok(())
    }
}

/// What is said of one queue.
#[derive(Debug, Serialize)]
struct Wish {
    queue: &'static str,
    ready: u64,
    running: u64,
    oldest_seconds: f64,
    /// Mean time of a job, measured; absent when none was done lately.
    service_seconds: Option<f64>,
    /// Jobs that one process runs at once.
    slots: usize,
    /// Processes there are.
    workers: usize,
    /// Processes there should be.
    wished: u32,
}

/// `dia autoscale`
pub(crate) async fn autoscale(config: Config, json: bool) -> Result<()> {
    let storage = compose::storage(&config).await?;
    let mut tx = storage.read(&operator()).await?;
    let counts = jobs::counts(&mut tx).await?;
    let span = Duration::from_secs(u64::from(config.autoscale.measured_minutes) * 60);
    let times = jobs::service_times(&mut tx, span).await?;
    let workers = storage::workers::list(&mut tx).await?;
    drop(tx);
    storage.db.close().await;
    let on = |queue: Queue| {
        let takes = |load: &storage::workers::QueueLoad| load.queue == queue.name();
        workers.iter().filter(|worker| !worker.is_stopping && worker.queues.iter().any(takes)).count()
    };
    let wish = |(queue, stats): (Queue, QueueStats)| {
        let (service, slots) = (times.get(&queue).map(Duration::as_secs_f64), config.workers.concurrency(queue));
        Wish {
            queue: queue.name(),
            ready: stats.ready,
            running: stats.running,
            oldest_seconds: seconds(stats.oldest_micros),
            service_seconds: service,
            slots,
            workers: on(queue),
            wished: wished(&stats, service, slots, &config.autoscale),
        }
    };
    let wishes: Vec<Wish> = counts.into_iter().map(wish).collect();
    if json {
        return out::json(&serde_json::json!({ "queues": wishes }));
    }
    for wish in &wishes {
        let service = wish.service_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.3} s"));
        out::line(&format!(
            "{:<12}  wished {}  workers {}  ready {}  running {}  oldest {:.0} s  a job {service}  slots {}",
            wish.queue, wish.wished, wish.workers, wish.ready, wish.running, wish.oldest_seconds, wish.slots
        ));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "seconds need no more")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The processes a queue should have: enough slots that all its jobs are done within the target, less what the oldest has waited
/// already (a quarter of the target at least, for what is late cannot be undone), never more slots than jobs, within the bounds. A
/// queue that is paused needs no more than the fewest.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
fn wished(stats: &QueueStats, service: Option<f64>, slots: usize, config: &AutoscaleConfig) -> u32 {
    let jobs = (stats.ready + stats.running) as f64;
    if stats.paused || jobs == 0.0 {
        return config.minimum;
    }
    let target = f64::from(config.target_seconds);
    let left = (target - seconds(stats.oldest_micros)).max(target / 4.0);
    let busy = (jobs * service.unwrap_or(config.assumed_seconds) / left).ceil().clamp(1.0, jobs);
    let processes = (busy / slots.max(1) as f64).ceil().min(f64::from(config.maximum)) as u32;
    processes.max(config.minimum).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(ready: u64, running: u64, oldest_seconds: u64) -> QueueStats {
        QueueStats { ready, running, oldest_micros: oldest_seconds * 1_000_000, ..QueueStats::default() }
    }

    #[test]
    fn wishes_follow_depth_age_and_service_time() {
        let config = AutoscaleConfig { minimum: 0, ..AutoscaleConfig::default() };
        for (ready, running, oldest, service, slots, expected) in [
            (0, 0, 0, Some(1.0), 4, 0),
            (1, 0, 0, Some(1.0), 4, 1),
            (0, 1, 0, Some(1.0), 4, 1),
            // 240 jobs of a second in a minute are 4 slots: one process, of one slot four.
            (240, 0, 0, Some(1.0), 4, 1),
            (240, 0, 0, Some(1.0), 1, 4),
            // What runs has to be done too.
            (240, 60, 0, Some(1.0), 1, 5),
            // The oldest has waited half of the time: twice as many.
            (240, 0, 30, Some(1.0), 1, 8),
            // It has waited for hours: four times as many, not infinitely.
            (120, 0, 36_000, Some(1.0), 1, 8),
            // Long jobs need no more slots than there are jobs.
            (3, 0, 0, Some(600.0), 1, 3),
            (3, 0, 0, Some(600.0), 2, 2),
            (100_000, 0, 0, Some(1.0), 1, 10),
            // Nothing measured: five seconds.
            (36, 0, 0, None, 1, 3),
            (100, 0, 0, Some(0.0), 1, 1),
        ] {
            let wish = wished(&stats(ready, running, oldest), service, slots, &config);
            assert_eq!(wish, expected, "{ready} ready, {running} running, {oldest} s, {service:?}, {slots} slots");
        }
        let paused = QueueStats { paused: true, ..stats(1_000, 0, 100) };
        assert_eq!(wished(&paused, None, 1, &AutoscaleConfig::default()), 1);
        assert_eq!(wished(&stats(0, 0, 0), None, 1, &AutoscaleConfig { minimum: 3, ..config }), 3);
    }

    #[test]
    fn bounds_that_cannot_be_kept_are_named() {
        assert!(AutoscaleConfig::default().check().is_ok());
        for wrong in [
            AutoscaleConfig { maximum: 0, minimum: 0, ..AutoscaleConfig::default() },
            AutoscaleConfig { minimum: 11, ..AutoscaleConfig::default() },
            AutoscaleConfig { target_seconds: 0, ..AutoscaleConfig::default() },
            AutoscaleConfig { measured_minutes: 0, ..AutoscaleConfig::default() },
            AutoscaleConfig { assumed_seconds: f64::NAN, ..AutoscaleConfig::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
