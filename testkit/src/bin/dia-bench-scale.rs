//! `dia-bench-scale MAILS`: the same made-up e-mails before fleets of 1, 2 and 4 worker processes, each of one slot a queue, over
//! PostgreSQL, RabbitMQ, Redis and an S3 server. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use testkit::{Client, delivery::everyday_mail, fleet::Fleet, machine};
use tokio::time::sleep;

/// Worker processes of each run.
const WORKERS: [usize; 3] = [1, 2, 4];
/// Files of one upload.
const TOGETHER: usize = 100;

#[tokio::main]
async fn main() -> Result<()> {
    let mails = std::env::args().nth(1).context("usage: dia-bench-scale MAILS")?;
    let mails: u64 = mails.parse().context("MAILS is a number")?;
    let written: Vec<(String, Vec<u8>)> =
        (0..mails).map(|number| (format!("mail-{number}.eml"), everyday_mail(number))).collect();
    let mut runs = Map::new();
    for workers in WORKERS {
        let run = measure(workers, &written).await?;
        println!("{workers} workers: {run}");
        runs.insert(workers.to_string(), run);
    }
    let cores = std::thread::available_parallelism()?;
    println!("{}", json!({ "mails": mails, "cores": cores, "workers": runs }));
    Ok(())
}

async fn measure(workers: usize, files: &[(String, Vec<u8>)]) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    // One slot a queue, so that processes are what there is more of.
    let slots = ["INGEST", "EXTRACT", "OCR", "CHAT"].map(|queue| (format!("DIA_WORKERS__{queue}"), "1".to_owned()));
    let fleet = Fleet::start_with(directory.path(), 1, workers, &slots).await?;
    let door = &fleet.doors[0];
    let client = Client::sign_up(&door.address, door.setup_code.as_deref().context("no setup code")?).await?;
    let (_, database) = client.open_database().await?;
    let spent = |fleet: &Fleet| fleet.workers().map(machine::processor_seconds).sum::<Result<f64>>();
    let (began, before) = (Instant::now(), spent(&fleet)?);
    for (number, group) in files.chunks(TOGETHER).enumerate() {
        client.upload(&database, &format!("scale-{number}"), group).await?;
    }
    let delivered = began.elapsed().as_secs_f64();
    let counts = loop {
        let counts = client.counts(&database).await?;
        if counts.in_flight == 0 {
            break counts;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let seconds = began.elapsed().as_secs_f64();
    let processor = spent(&fleet)? - before;
    ensure!(counts.balances() && counts.exception == 0, "not all were indexed: {counts:?}");
    let documents = (counts.received + counts.unpacked) as f64;
    fleet.stop().await?;
    let round = |number: f64| (number * 100.0).round() / 100.0;
    Ok(json!({
        "documents": documents, "delivered_s": round(delivered), "seconds": round(seconds),
        "documents_per_s": round(documents / seconds), "worker_cpu_s_per_1000": round(processor / documents * 1_000.0),
    }))
}
