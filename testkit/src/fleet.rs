//! A fleet of real processes: doors and workers that share PostgreSQL, RabbitMQ, Redis and a bucket of objects.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{Broker, Database, Home, Server, s3};

/// How long a worker may take to drain.
const DRAINED: Duration = Duration::from_mins(1);

/// See the module.
#[allow(missing_debug_implementations, reason = "processes and connections say nothing of use")]
pub struct Fleet {
    /// `dia api`, each at an address of its own.
    pub doors: Vec<Server>,
    workers: Vec<Child>,
    broker: Broker,
    _database: Database,
}

impl Fleet {
    /// Starts so many doors and workers of all queues, over a database of their own.
    pub async fn start(directory: &Path, doors: usize, workers: usize) -> Result<Self> {
        Self::start_with(directory, doors, workers, &[]).await
    }

    /// The same with settings of the environment.
    pub async fn start_with(
        directory: &Path,
        doors: usize,
        workers: usize,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let (database, broker, bucket) = (Database::new().await, Broker::new().await, s3::settings());
        let home = Home::new(directory)?
            .with("DIA_DATABASE__URL", &database.restricted().await)
            .with("DIA_DATABASE__MIGRATE", "false")
            .with("DIA_DATABASE__CONNECTIONS", "6")
            .with("DIA_QUEUE__URL", Broker::URL)
            .with("DIA_QUEUE__PREFIX", &broker.prefix)
            .with("DIA_LIVE__URL", "redis://127.0.0.1:6379/12")
            .with("DIA_LIVE__PREFIX", &broker.prefix)
            .with("DIA_OBJECTS__BUCKET", &bucket.bucket)
            .with("DIA_OBJECTS__PREFIX", &bucket.prefix)
            .with("DIA_OBJECTS__ENDPOINT", &bucket.endpoint)
            .with("DIA_OBJECTS__PATH_STYLE", "true")
            .with("DIA_OBJECTS__ACCESS_KEY_ID", &bucket.access_key_id)
            .with("DIA_OBJECTS__SECRET_ACCESS_KEY", &bucket.secret_access_key);
        let home = settings.iter().fold(home, |home, (name, value)| home.with(name, value));
        let mut fleet = Self { doors: Vec::new(), workers: Vec::new(), broker, _database: database };
        for _ in 0..doors {
            fleet.doors.push(home.start_as("api").await?);
        }
        for _ in 0..workers {
            fleet.workers.push(start_worker(&home)?);
        }
        Ok(fleet)
    }

    /// The workers' processes.
    pub fn workers(&self) -> impl Iterator<Item = u32> {
        self.workers.iter().filter_map(Child::id)
    }

    /// Stops everything; all must end well.
    pub async fn stop(self) -> Result<()> {
        for door in self.doors {
            let status = door.stop().await?;
            ensure!(status.success(), "a door did not stop cleanly: {status}");
        }
        for worker in self.workers {
            ensure!(drain(worker).await?, "a worker did not stop cleanly");
        }
        self.broker.end().await;
        Ok(())
    }
}

/// Starts a `dia work`.
pub fn start_worker(home: &Home) -> Result<Child> {
    home.command(&["work"])?.stdout(Stdio::null()).spawn().context("cannot start a worker")
}

/// SIGTERM; true when the worker drained and ended well.
pub async fn drain(mut worker: Child) -> Result<bool> {
    let id = worker.id().context("a worker ended by itself")?;
    let told = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    ensure!(told.success(), "a worker could not be told to stop");
    Ok(timeout(DRAINED, worker.wait()).await.context("a worker did not drain")??.success())
}
