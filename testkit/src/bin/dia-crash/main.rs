//! `dia-crash --kills N [--faults F] [--seed S] [--documents D] [--sample DIR]`: delivers documents to the real binary through its
//! API, asks, rebuilds the index, opens and deletes cases, and knocks as a stranger, while killing it again and again, at named fail
//! points and at random moments; starts it each time, goes on with the same Idempotency-Keys, and in the end holds everything
//! against the invariants of the house. `--full-disk` instead fills the disk under it; `--fleet` does it to doors and workers of their
//! own over PostgreSQL, RabbitMQ and Redis, which are cut off as well, and a bucket whose server refuses, stumbles and loses its
//! answers. The last line is one JSON object, with the faults that were injected by kind; violations, and fewer faults than `--faults`,
//! end the program with 1.

#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

mod deliveries;
mod doomed;
mod fleet;
mod full;
mod last;
mod lives;
mod matter;
mod objects;
mod questions;
mod rows;
mod stranger;
mod verdict;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

/// What the command line asks for.
#[derive(Debug, Clone)]
struct Options {
    kills: u64,
    /// How many faults there must have been.
    faults: u64,
    seed: u64,
    /// So many files are delivered; 0 for enough to last.
    documents: usize,
    sample: PathBuf,
    full_disk: bool,
    fleet: bool,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let sample = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/sample"));
        let mut options = Self { kills: 50, faults: 0, seed: 1, documents: 0, sample, full_disk: false, fleet: false };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--full-disk" => options.full_disk = true,
                "--fleet" => options.fleet = true,
                _ => {}
            }
            if matches!(name.as_str(), "--full-disk" | "--fleet") {
                continue;
            }
            let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--kills" => options.kills = value.parse().context("--kills takes a number")?,
                "--faults" => options.faults = value.parse().context("--faults takes a number")?,
                "--seed" => options.seed = value.parse().context("--seed takes a number")?,
                "--documents" => options.documents = value.parse().context("--documents takes a number")?,
                "--sample" => options.sample = PathBuf::from(value),
                _ => bail!(
                    "usage: dia-crash --kills N [--faults F] [--seed S] [--documents D] [--sample DIR] [--full-disk | --fleet]"
                ),
            }
        }
        if options.documents == 0 {
            let lasting = options.kills.saturating_mul(2).max(200);
            options.documents = usize::try_from(lasting)?;
        }
        Ok(options)
    }
}

/// What the run found out.
#[derive(Debug, Default)]
struct Report {
    kills: u64,
    /// What was done to the processes and services, by kind.
    faults: BTreeMap<String, u64>,
    documents: usize,
    violations: Vec<String>,
    /// Documents with a 201 whose bytes are gone or changed.
    lost: usize,
    recovered_s_max: f64,
    /// The largest resident memory of a server or worker that was killed, in megabytes.
    memory_mb_max: u64,
    /// Questions answered, and given up with a reason.
    answered: usize,
    failed: usize,
    /// Deliveries the full disk refused.
    refused: usize,
    /// Cases opened and deleted.
    purged: usize,
    /// Answers a stranger got.
    knocks: usize,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::read(std::env::args().skip(1))?;
    if options.full_disk && !full::is_inside() {
        return full::enter();
    }
    let began = Instant::now();
    let mut report = match (options.full_disk, options.fleet) {
        (true, _) => full::run(&options).await?,
        (_, true) => fleet::run(&options).await?,
        _ => lives::run(&options).await?,
    };
    let injected = report.faults.values().sum::<u64>();
    if injected < options.faults {
        report.violations.push(format!("the run was too mild: {injected} of {} faults", options.faults));
    }
    for violation in &report.violations {
        println!("violation: {violation}");
    }
    let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
    let mut result = json!({
        "kills": report.kills, "faults": report.faults, "injected": injected, "documents": report.documents,
        "violations": report.violations.len(), "lost": report.lost, "recovered_s_max": tenths(report.recovered_s_max),
        "memory_mb_max": report.memory_mb_max, "seconds": tenths(began.elapsed().as_secs_f64()),
    });
    let more = if options.full_disk {
        vec![("refused", report.refused)]
    } else {
        let Report { answered, failed, purged, knocks, .. } = report;
        vec![("answered", answered), ("failed", failed), ("purged", purged), ("knocks", knocks)]
    };
    for (name, count) in more {
        result[name] = count.into();
    }
    println!("{result}");
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
