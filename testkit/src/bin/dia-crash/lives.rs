//! The lives of the server: each begins where the one before was cut off, and ends at a fail point, at a random moment, or
//! already while starting.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testkit::{Home, Server, delivery::Dice, machine, plaintext::Secrets};
use tokio::time::sleep;

use crate::{
    Options, Report,
    matter::{Matter, Plan},
    objects::Store,
    rows::{Place, Trail},
};

/// Where the process can be made to die, in the order of a document's life, then a question's, an index's and a case's. The
/// house checks that no fail point is left out.
pub(crate) const FAIL_POINTS: [&str; 28] = [
    "tx.before_commit",
    "tx.after_commit",
    "load_file.after_page",
    "upload.after_store",
    "fetch.after_store",
    "ingest.after_identify",
    "ingest.after_store",
    "extract.after_read",
    "extract.after_store",
    "index.after_write",
    "index.before_publish",
    "index.after_publish",
    "relate.after_threads",
    "relate.after_inclusive",
    "answer.before_commit",
    "reindex.after_write",
    "reprocess.after_page",
    "protected.after_page",
    "protected.after_store",
    "purge.after_key",
    "purge.after_objects",
    "garbage.after_strike",
    "garbage.after_generations",
    "garbage.after_orphans",
    "job.before_commit",
    "job.after_commit",
    "job.before_settle",
    "job.before_bury",
];
/// How long a life waits for its fail point.
const PATIENCE: Duration = Duration::from_secs(4);
/// The folder beside the data directory that load files refer to.
const MOUNTED: &str = "mounted";
/// More resident memory than this a server or worker must never have (I8), in megabytes.
const MEMORY: u64 = 768;
/// How often the disk is searched for plaintext, in lives.
const SEARCH_EVERY: u64 = 10;

/// A run in progress.
pub(crate) struct Run {
    pub(crate) home: Home,
    pub(crate) place: Place,
    pub(crate) store: Store,
    pub(crate) matter: Matter,
    pub(crate) report: Report,
    pub(crate) trail: Trail,
    secrets: Secrets,
    dice: Dice,
}

/// How a life is to end.
struct Fate {
    point: &'static str,
    /// Passes until it kills.
    passes: u64,
    /// `None` for a random moment instead.
    at_point: bool,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let directory = tempfile::tempdir()?;
    let home = home(directory.path())?;
    let place = Place::Directory(home.data.clone());
    let store = Store::Directory(home.data.join("objects"));
    let mut run = Run::begin(options, home, place, store, "serve").await?;
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

/// Garbage is collected all the time, and an orphan lies no longer than any request or job of the harness takes.
pub(crate) fn home(directory: &std::path::Path) -> Result<Home> {
    let home = Home::new(directory)?.with("DIA_WORKERS__INDEX_LINGER_MILLISECONDS", "200");
    let home = home.with("DIA_WORKERS__RELATE_LINGER_MILLISECONDS", "200");
    let folders = format!("[\"{}\"]", directory.join(MOUNTED).display());
    let home = home.with("DIA_REFERENCES__FOLDERS", &folders);
    let home = home.with("DIA_WORKERS__COLLECT_SECONDS", "1").with("DIA_WORKERS__RETIRED_SECONDS", "2");
    // Whether a stranger is let in is what is asked, not how often they may knock.
    let unlimited = ["LOGIN", "READ", "WRITE", "UPLOAD", "CHAT", "EXPORT"];
    let home = unlimited.iter().fold(home, |home, kind| home.with(&format!("DIA_LIMITS__{kind}__PER_MINUTE"), "0"));
    Ok(home.with("DIA_WORKERS__ORPHAN_SECONDS", "30"))
}

impl Run {
    /// Opens the matter on a first server of this kind, and kills that.
    pub(crate) async fn begin(options: &Options, home: Home, place: Place, store: Store, kind: &str) -> Result<Self> {
        let server = home.start_as(kind).await?;
        let folder = home.data.with_file_name(MOUNTED);
        let (matter, secrets) = Matter::open(options, folder, &server.address, server.setup_code.as_deref()).await?;
        server.kill().await?;
        secrets.prove(&home.temporary)?;
        let documents = matter.deliveries.all.iter().map(|delivery| delivery.items.len()).sum();
        let deliveries = matter.deliveries.all.len();
        println!("{documents} documents in {deliveries} deliveries, {} kills, seed {}", options.kills, options.seed);
        let report = Report { documents, ..Report::default() };
        let (trail, dice) = (Trail::default(), Dice::new(options.seed));
        Ok(Self { home, place, store, matter, report, trail, secrets, dice })
    }

    async fn life(&mut self, number: u64, lives_left: u64) -> Result<()> {
        if self.dice.below(10) == 0 {
            let mut child = self.home.spawn()?;
            sleep(Duration::from_millis(20 + self.dice.below(600))).await;
            child.kill().await?;
            self.count("killed_while_starting");
            println!("life {number}: killed while starting");
        } else {
            self.serve_and_die(number, lives_left).await?;
        }
        self.report.kills += 1;
        self.check(number).await
    }

    /// Looks at what the life left.
    pub(crate) async fn check(&mut self, number: u64) -> Result<()> {
        let found = self.trail.check(&self.place).await?;
        self.report.violations.extend(found);
        if number % SEARCH_EVERY == SEARCH_EVERY - 1 {
            self.search_for_plaintext()?;
        }
        Ok(())
    }

    async fn serve_and_die(&mut self, number: u64, lives_left: u64) -> Result<()> {
        let Fate { point, passes, at_point } = self.fate(number);
        let home = self.home.clone();
        let home = if at_point { home.with("DIA_FAILPOINT", &format!("{point}:{passes}")) } else { home };
        let began = Instant::now();
        let server = match home.start().await {
            Ok(server) => server,
            Err(_) if at_point => {
                self.count("died_at_fail_point");
                println!("life {number}: died at {point} while starting");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.recovered(began);
        let plan = self.plan_for(point, number, lives_left);
        let random = Duration::from_millis(100 + self.dice.below(3_000));
        let address = server.address.clone();
        let end = end(server, if at_point { PATIENCE } else { random });
        let (ended, ()) = tokio::join!(end, self.matter.live(&address, plan));
        let (died, bytes) = ended?;
        self.weigh(bytes);
        self.count(if died { "died_at_fail_point" } else { "killed" });
        let how = if died { format!("died at {point}, passing {passes}") } else { "killed".to_owned() };
        let (after, left) = (began.elapsed().as_secs_f64(), self.matter.deliveries.left());
        println!("life {number}: {how} after {after:.1} s; {left} deliveries wait");
        Ok(())
    }

    fn plan_for(&mut self, point: &str, number: u64, lives_left: u64) -> Plan {
        let left = self.matter.deliveries.left();
        Plan {
            deliveries: left.div_ceil(usize::try_from(lives_left).unwrap_or(1).max(1)),
            again: self.dice.roll(),
            password: point.starts_with("protected.").then_some(number),
            reprocess: point.starts_with("reprocess."),
            reindex: point.starts_with("reindex.") || self.dice.below(4) == 0,
        }
    }

    /// What is done in a life of its number.
    pub(crate) fn plan(&mut self, number: u64, lives_left: u64) -> Plan {
        let point = FAIL_POINTS[usize::try_from(number).unwrap_or(0) % FAIL_POINTS.len()];
        self.plan_for(point, number, lives_left)
    }

    /// Each fail point in its turn, and a random moment for one life in three.
    fn fate(&mut self, number: u64) -> Fate {
        let point = FAIL_POINTS[usize::try_from(number).unwrap_or(0) % FAIL_POINTS.len()];
        // Transactions lie on every path and are let pass more often than what happens once or twice in a life.
        let passes = match point.split_once('.') {
            Some(("tx", _)) => 1 + self.dice.below(40),
            Some(("ingest" | "extract" | "job", _)) if point != "job.before_bury" => 1 + self.dice.below(5),
            _ => 1,
        };
        Fate { point, passes, at_point: self.dice.below(3) > 0 }
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: &str) {
        *self.report.faults.entry(fault.to_owned()).or_default() += 1;
    }

    /// I8: notes the most memory a process has had.
    pub(crate) fn weigh(&mut self, bytes: u64) {
        let megabytes = bytes >> 20;
        if megabytes > MEMORY {
            self.report.violations.push(format!("I8 a process had {megabytes} MB"));
        }
        self.report.memory_mb_max = self.report.memory_mb_max.max(megabytes);
    }

    pub(crate) fn recovered(&mut self, began: Instant) {
        self.report.recovered_s_max = self.report.recovered_s_max.max(began.elapsed().as_secs_f64());
    }

    /// I7: nothing that was delivered or asked stands in the clear on the disk.
    pub(crate) fn search_for_plaintext(&mut self) -> Result<()> {
        let mut total = 0;
        for place in [&self.home.data, &self.home.temporary, &self.home.log] {
            let (found, bytes) = self.secrets.search(place)?;
            total += bytes;
            self.report.violations.extend(found.iter().map(|path| format!("I7 plaintext in {}", path.display())));
        }
        println!("searched {} kB for plaintext", total / 1000);
        Ok(())
    }

    /// The same in what lies elsewhere: the rows of a server, the objects of a bucket.
    pub(crate) async fn search_elsewhere(&mut self) -> Result<()> {
        if self.place.has_plaintext(&self.secrets).await? {
            self.report.violations.push("I7 plaintext in the rows".to_owned());
        }
        let found = self.store.plaintext(&self.secrets).await?;
        self.report.violations.extend(found.iter().map(|key| format!("I7 plaintext in the object {key}")));
        Ok(())
    }
}

/// Waits until the server has died by itself or its time is up, and kills it; true when it died by itself, and the most memory it
/// had otherwise.
async fn end(mut server: Server, time: Duration) -> Result<(bool, u64)> {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline && !server.has_ended() {
        sleep(Duration::from_millis(20)).await;
    }
    let died = server.has_ended();
    let bytes = server.process().map_or(0, machine::most_resident);
    server.kill().await?;
    Ok((died, bytes))
}
