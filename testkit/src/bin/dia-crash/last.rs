//! The end of a run. The faults have stopped: everything is delivered, everything ends, garbage is collected, and everything
//! is looked at, through the door and behind it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testkit::{
    Client, Home, Server,
    fleet::{drain, start_worker},
};
use tokio::{
    process::Child,
    time::{sleep, timeout},
};

use crate::{lives::Run, rows, verdict};

/// Everything must have ended this long after the faults stop (I2).
const SETTLED: Duration = Duration::from_mins(10);
/// A collection of garbage is due within seconds.
const COLLECTED: Duration = Duration::from_mins(1);

impl Run {
    /// Two lives that end in peace: in the first all work ends, in the second what the kills left lying is collected.
    pub(crate) async fn last(&mut self) -> Result<()> {
        let server = self.settled("serve").await?;
        self.stop(server).await?;

        let server = hasty(&self.home).start().await?;
        self.matter.owner = self.matter.owner.at(&server.address);
        collected(&self.matter.owner).await?;
        self.judge().await?;
        self.stop(server).await?;
        self.look_behind().await
    }

    /// The same with workers that are processes of their own.
    pub(crate) async fn last_of_fleet(&mut self, workers: Vec<Child>) -> Result<()> {
        let server = self.settled("api").await?;
        self.drain(workers).await?;
        let hasty = hasty(&self.home);
        let worker = start_worker(&hasty)?;
        collected(&self.matter.owner).await?;
        self.judge().await?;
        self.drain(vec![worker]).await?;
        self.stop(server).await?;
        self.look_behind().await
    }

    /// Starts a server of this kind and waits until all work has ended.
    async fn settled(&mut self, kind: &str) -> Result<Server> {
        let began = Instant::now();
        let server = self.home.start_as(kind).await?;
        self.recovered(began);
        self.matter.owner = self.matter.owner.at(&server.address);
        self.matter.owner.stay_signed_in().await?;
        let settled = timeout(SETTLED, self.settle()).await;
        self.recovered(began);
        println!("settled {:.1} s after the last start", began.elapsed().as_secs_f64());
        match settled {
            Err(_) => self.report.violations.push(format!("I2 work was left after {SETTLED:?}")),
            Ok(settled) => settled?,
        }
        Ok(server)
    }

    async fn drain(&mut self, workers: Vec<Child>) -> Result<()> {
        for worker in workers {
            if !drain(worker).await? {
                self.report.violations.push("a worker did not stop cleanly".to_owned());
            }
        }
        Ok(())
    }

    /// Rows, objects and files, without a door.
    async fn look_behind(&mut self) -> Result<()> {
        self.report.violations.extend(self.trail.check(&self.place).await?);
        let references = rows::references(&self.place, &self.store, self.matter.doomed.deleted()).await?;
        self.report.violations.extend(references);
        self.search_for_plaintext()?;
        self.search_elsewhere().await
    }

    /// Delivers what is left, deletes the last of the cases that are to go, and waits until nothing moves; then sends what
    /// failed only because its process was killed again and again through the pipeline once more, as a paralegal would.
    async fn settle(&self) -> Result<()> {
        let (owner, database) = (&self.matter.owner, &self.matter.database);
        while self.matter.deliveries.left() > 0 {
            self.matter.deliveries.send(owner, database, usize::MAX, 0).await;
        }
        self.matter.questions.ask(owner, &self.matter.case, database).await;
        // What the last kill left open is said again first.
        self.matter.doomed.turn(owner).await;
        self.matter.doomed.delete(owner).await?;
        verdict::wait(owner, database).await?;
        let retried = verdict::retry_internal(owner, database).await?;
        if retried > 0 {
            println!("{retried} documents had been given up after three killed attempts; sent again");
            verdict::wait(owner, database).await?;
        }
        Ok(())
    }

    async fn judge(&mut self) -> Result<()> {
        let matter = &self.matter;
        let (mut wrong, lost) = verdict::judge(&matter.owner, &matter.database, &matter.deliveries).await?;
        wrong.extend(matter.wrong());
        wrong.extend(matter.doomed.judge(&matter.owner, &matter.case).await?);
        let answers = matter.questions.judge(&matter.owner, &matter.case).await?;
        wrong.extend(answers.wrong);
        self.report.violations.extend(wrong);
        self.report.lost += lost;
        self.report.knocks = matter.stranger.knocks;
        self.report.purged = matter.doomed.deleted();
        (self.report.answered, self.report.failed) = (answers.complete, answers.failed);
        Ok(())
    }

    async fn stop(&mut self, server: Server) -> Result<()> {
        let status = server.stop().await?;
        if !status.success() {
            self.report.violations.push(format!("a server did not stop cleanly: {status}"));
        }
        Ok(())
    }
}

/// Nothing is being written, so whatever no row refers to is an orphan.
fn hasty(home: &Home) -> Home {
    home.clone().with("DIA_WORKERS__ORPHAN_SECONDS", "1").with("DIA_WORKERS__RETIRED_SECONDS", "1")
}

/// Waits until a collection of garbage has begun and ended in this life.
async fn collected(owner: &Client) -> Result<()> {
    let before = collections(owner).await?;
    let again = async {
        while collections(owner).await? == before {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    timeout(COLLECTED, again).await.context("no garbage was collected")?
}

async fn collections(owner: &Client) -> Result<usize> {
    Ok(owner.list("/jobs?kind=collect_garbage&state=done").await?.len())
}
