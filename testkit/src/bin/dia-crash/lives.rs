//! The lives of the server: each begins where the one before was cut off, and ends at a fail point, at a random moment, or
//! already while starting.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use testkit::{Client, Home, delivery::Dice, plaintext::Secrets};
use tokio::time::{sleep, timeout};

use crate::{
    Options, Report,
    deliveries::Deliveries,
    rows::{self, Trail},
    verdict,
};

/// Where the process can be made to die, in the order of a document's life.
const FAIL_POINTS: [&str; 12] = [
    "tx.before_commit",
    "tx.after_commit",
    "ingest.after_identify",
    "ingest.after_store",
    "extract.after_read",
    "extract.after_store",
    "index.after_write",
    "index.before_publish",
    "index.after_publish",
    "job.before_commit",
    "job.after_commit",
    "job.before_settle",
];
/// How long a life waits for its fail point.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it waits when that lies in the index, whose lease the life before may have taken along.
const INDEX_PATIENCE: Duration = Duration::from_secs(35);
/// Everything must have ended this long after the faults stop (I2).
const SETTLED: Duration = Duration::from_mins(10);
/// How often the disk is searched for plaintext, in lives.
const SEARCH_EVERY: u64 = 10;

/// A run in progress.
struct Run {
    home: Home,
    deliveries: Arc<Deliveries>,
    secrets: Secrets,
    trail: Trail,
    dice: Dice,
    client: Client,
    database: String,
    report: Report,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let home = home(directory.path())?;
    let deliveries = Arc::new(Deliveries::collect(&options.sample, options.seed, options.documents)?);
    let documents = deliveries.all.iter().map(|delivery| delivery.items.len()).sum();
    println!(
        "{documents} documents in {} deliveries, {} kills, seed {}",
        deliveries.all.len(),
        options.kills,
        options.seed
    );
    let server = home.start().await?;
    let client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    let (_, database) = client.open_database().await?;
    server.kill().await?;

    let secrets = deliveries.secrets();
    secrets.prove(&home.temporary)?;
    let report = Report { documents, ..Report::default() };
    let dice = Dice::new(options.seed);
    let mut run = Run { home, deliveries, secrets, trail: Trail::default(), dice, client, database, report };
    for life in 0..options.kills {
        run.life(life, options.kills - life).await.with_context(|| format!("in life {life}"))?;
    }
    run.last().await?;
    if run.report.violations.is_empty() {
        return Ok(run.report);
    }
    // What went wrong can be looked at.
    let kept = directory.keep();
    println!("kept {}", kept.display());
    Ok(run.report)
}

/// Short leases: what a dead process held is taken up within seconds.
pub(crate) fn home(directory: &std::path::Path) -> Result<Home> {
    let home = Home::new(directory)?;
    Ok(home.with("DIA_WORKERS__LEASE_SECONDS", "2").with("DIA_WORKERS__INDEX_LINGER_MILLISECONDS", "200"))
}

impl Run {
    async fn life(&mut self, number: u64, lives_left: u64) -> Result<()> {
        if self.dice.below(10) == 0 {
            let mut child = self.home.spawn()?;
            sleep(Duration::from_millis(20 + self.dice.below(600))).await;
            child.kill().await?;
            println!("life {number}: killed while starting");
        } else {
            self.serve_and_die(number, lives_left).await?;
        }
        self.report.kills += 1;
        let found = self.trail.check(&self.home.data).await?;
        self.report.violations.extend(found);
        if number % SEARCH_EVERY == SEARCH_EVERY - 1 {
            self.search_for_plaintext()?;
        }
        Ok(())
    }

    async fn serve_and_die(&mut self, number: u64, lives_left: u64) -> Result<()> {
        let point = FAIL_POINTS[usize::try_from(number).unwrap_or(0) % FAIL_POINTS.len()];
        // Transactions lie on every path and are let pass more often; an index is written once or twice in a life.
        let passes = match point.split_once('.') {
            Some(("tx", _)) => 1 + self.dice.below(40),
            Some(("index", _)) => 1,
            _ => 1 + self.dice.below(5),
        };
        let at_point = self.dice.below(3) > 0;
        let home = self.home.clone();
        let home = if at_point { home.with("DIA_FAILPOINT", &format!("{point}:{passes}")) } else { home };
        let began = Instant::now();
        let mut server = match home.start().await {
            Ok(server) => server,
            Err(_) if at_point => {
                println!("life {number}: died at {point} while starting");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.recovered(began);
        self.client = self.client.at(&server.address);
        let most = self.deliveries.left().div_ceil(usize::try_from(lives_left).unwrap_or(1).max(1));
        let (deliveries, client, database) = (Arc::clone(&self.deliveries), self.client.clone(), self.database.clone());
        let again = self.dice.roll();
        let sending = tokio::spawn(async move {
            let mut client = client;
            // Tokens outlive a few lives only.
            if client.get("/auth/me").await.is_err() && client.sign_in().await.is_err() {
                return client;
            }
            deliveries.send(&client, &database, most, again).await;
            client
        });
        let random = Duration::from_millis(100 + self.dice.below(3_000));
        let patience = if point.starts_with("index.") { INDEX_PATIENCE } else { PATIENCE };
        let deadline = Instant::now() + if at_point { patience } else { random };
        while Instant::now() < deadline && !server.has_ended() {
            sleep(Duration::from_millis(20)).await;
        }
        let how = if server.has_ended() { format!("died at {point}, passing {passes}") } else { "killed".to_owned() };
        server.kill().await?;
        self.client = sending.await?;
        println!(
            "life {number}: {how} after {:.1} s; {} deliveries wait",
            began.elapsed().as_secs_f64(),
            self.deliveries.left()
        );
        Ok(())
    }

    /// The faults have stopped: everything is delivered, everything ends, everything is looked at.
    async fn last(&mut self) -> Result<()> {
        let began = Instant::now();
        let server = self.home.start().await?;
        self.recovered(began);
        self.client = self.client.at(&server.address);
        self.client.sign_in().await?;
        while self.deliveries.left() > 0 && began.elapsed() < SETTLED {
            self.deliveries.send(&self.client, &self.database, usize::MAX, 0).await;
        }
        let settled = timeout(SETTLED, self.settle()).await;
        self.recovered(began);
        println!("settled {:.1} s after the last start", began.elapsed().as_secs_f64());
        match settled {
            Err(_) => self.report.violations.push(format!("I2 work was left after {SETTLED:?}")),
            Ok(settled) => settled?,
        }
        let (violations, lost) = verdict::judge(&self.client, &self.database, &self.deliveries).await?;
        self.report.violations.extend(violations);
        self.report.lost += lost;
        self.report.violations.extend(self.deliveries.wrong());
        let status = server.stop().await?;
        if !status.success() {
            self.report.violations.push(format!("the last server did not stop cleanly: {status}"));
        }
        self.report.violations.extend(self.trail.check(&self.home.data).await?);
        self.report.violations.extend(rows::references(&self.home.data).await?);
        self.search_for_plaintext()
    }

    /// Waits until nothing moves; then sends what failed only because its process was killed again and again through the
    /// pipeline once more, as a paralegal would, and waits again.
    async fn settle(&self) -> Result<()> {
        verdict::wait(&self.client, &self.database).await?;
        let retried = verdict::retry_internal(&self.client, &self.database).await?;
        if retried > 0 {
            println!("{retried} documents had been given up after three killed attempts; sent again");
            verdict::wait(&self.client, &self.database).await?;
        }
        Ok(())
    }

    fn recovered(&mut self, began: Instant) {
        self.report.recovered_s_max = self.report.recovered_s_max.max(began.elapsed().as_secs_f64());
    }

    /// I7: nothing that was delivered stands in the clear on the disk.
    fn search_for_plaintext(&mut self) -> Result<()> {
        let mut total = 0;
        for place in [&self.home.data, &self.home.temporary, &self.home.log] {
            let (found, bytes) = self.secrets.search(place)?;
            total += bytes;
            self.report.violations.extend(found.iter().map(|path| format!("I7 plaintext in {}", path.display())));
        }
        println!("searched {} kB for plaintext", total / 1000);
        Ok(())
    }
}
