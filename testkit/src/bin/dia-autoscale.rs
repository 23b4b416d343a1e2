//! `dia-autoscale FILES MOST`: a burst of FILES documents before a fleet that is scaled as `dia autoscale` says, between one and MOST
//! `dia work` processes of one slot each. The work is waiting: a stand-in for clamd takes its time over each file, so that processes and
//! not processors are what there is too little of. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::{Broker, Client, Database, Home, fleet::drain};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Child,
    time::{sleep, timeout},
};

/// How long the stand-in looks at a file.
const LOOK: Duration = Duration::from_millis(500);
/// How soon the burst should be done, by which `dia autoscale` reckons.
const TARGET: u64 = 15;
/// How often it is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Files of one upload.
const TOGETHER: usize = 50;
/// Longest run of all.
const LONGEST: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<usize>());
    let (Some(Ok(files)), Some(Ok(most))) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: dia-autoscale FILES MOST");
    };
    let (database, broker) = (Database::new().await, Broker::new().await);
    let directory = tempfile::tempdir()?;
    let looked = Arc::new(AtomicU64::new(0));
    let clamd = TcpListener::bind("127.0.0.1:0").await?;
    let home = Home::new(directory.path())?
        .with("DIA_DATABASE__URL", &database.url())
        .with("DIA_DATABASE__CONNECTIONS", "4")
        .with("DIA_QUEUE__URL", Broker::URL)
        .with("DIA_QUEUE__PREFIX", &broker.prefix)
        .with("DIA_LIVE__URL", "redis://127.0.0.1:6379/13")
        .with("DIA_LIVE__PREFIX", &broker.prefix)
        .with("DIA_PIPELINE__CLAMD__ADDRESS", &clamd.local_addr()?.to_string())
        .with("DIA_WORKERS__INGEST", "1")
        .with("DIA_AUTOSCALE__TARGET_SECONDS", &TARGET.to_string())
        .with("DIA_AUTOSCALE__MAXIMUM", &most.to_string());
    let scanning = tokio::spawn(scan(clamd, Arc::clone(&looked)));
    let server = home.start_as("api").await?;
    let others = ["work", "--queues", "extract,ocr,index,relate,chat,network,maintenance"];
    let others = home.command(&others)?.stdout(Stdio::null()).spawn()?;
    let mut fleet = vec![work(&home)?];

    let client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    let (_, documents) = client.open_database().await?;
    let corpus: Vec<(String, Vec<u8>)> = (0..files)
        .map(|n| (format!("letter {n}.txt"), format!("Letter number {n} about the lease of unit {n}.\n").into_bytes()))
        .collect();
    let begun = Instant::now();
    for (n, files) in corpus.chunks(TOGETHER).enumerate() {
        client.upload(&documents, &format!("burst-{n}"), files).await?;
    }
    println!("{files} files delivered in {:.1} s", begun.elapsed().as_secs_f64());

    // Worker seconds that were there, and when each step was taken.
    let (mut seconds, mut steps, mut drained) = (0.0, vec![(0.0, fleet.len())], None);
    let outcome = timeout(LONGEST, async {
        loop {
            let asked = Instant::now();
            let wish = wish(&home).await?;
            let (wished, waiting) = (number(&wish, "wished"), number(&wish, "ready") + number(&wish, "running"));
            if waiting == 0 && drained.is_none() && looked.load(Ordering::SeqCst) >= files as u64 {
                drained = Some(begun.elapsed());
            }
            scale(&home, &mut fleet, usize::try_from(wished)?).await?;
            let at = begun.elapsed().as_secs_f64();
            if steps.last().is_none_or(|(_, workers)| *workers != fleet.len()) {
                steps.push((at, fleet.len()));
                println!("{at:5.1} s: {waiting} waiting, {} workers", fleet.len());
            }
            if drained.is_some() && fleet.len() == 1 {
                return Ok::<_, anyhow::Error>(());
            }
            sleep(EVERY.saturating_sub(asked.elapsed())).await;
            seconds += fleet.len() as f64 * asked.elapsed().as_secs_f64();
        }
    });
    outcome.await.context("the burst was not worked off")??;
    let drained = drained.context("never drained")?.as_secs_f64();
    let counts = client.watch(&documents, |_| {}).await?;
    ensure!(counts.balances() && counts.indexed == files as u64, "not all were indexed: {counts:?}");
    let peak = steps.iter().map(|(_, workers)| *workers).max().unwrap_or(0);
    for child in fleet.into_iter().chain([others]) {
        stop(child).await?;
    }
    server.stop().await?;
    broker.end().await;
    scanning.abort();
    let work = files as f64 * LOOK.as_secs_f64();
    let ideal = work / most as f64;
    let steps: Vec<Value> =
        steps.iter().map(|(at, workers)| json!({ "seconds": rounded(*at), "workers": workers })).collect();
    let said = json!({
        "files": files, "service_seconds": LOOK.as_secs_f64(), "most_workers": most, "peak_workers": peak,
        "drain_seconds": rounded(drained), "ideal_seconds": rounded(ideal), "ratio": rounded(drained / ideal),
        "one_worker_seconds": rounded(work), "worker_seconds": rounded(seconds), "scaled_back_to": 1, "steps": steps,
    });
    println!("{said}");
    Ok(())
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

fn number(wish: &Value, name: &str) -> u64 {
    wish[name].as_u64().unwrap_or(0)
}

/// What `dia autoscale` says of the queue.
async fn wish(home: &Home) -> Result<Value> {
    let said = home.command(&["autoscale", "--json"])?.output().await?;
    ensure!(said.status.success(), "dia autoscale failed; see {}", home.log.display());
    let said: Value = serde_json::from_slice(&said.stdout)?;
    let queues = said["queues"].as_array().context("no queues")?;
    queues.iter().find(|wish| wish["queue"] == "ingest").cloned().context("nothing about ingest")
}

/// Starts what is missing, and tells what is too much to stop.
async fn scale(home: &Home, fleet: &mut Vec<Child>, wished: usize) -> Result<()> {
    while fleet.len() < wished {
        fleet.push(work(home)?);
    }
    while fleet.len() > wished.max(1) {
        let Some(child) = fleet.pop() else { break };
        stop(child).await?;
    }
    Ok(())
}

fn work(home: &Home) -> Result<Child> {
    Ok(home.command(&["work", "--queues", "ingest"])?.stdout(Stdio::null()).spawn()?)
}

/// SIGTERM; it must drain.
async fn stop(child: Child) -> Result<()> {
    ensure!(drain(child).await?, "a worker did not stop cleanly");
    Ok(())
}

/// Finds nothing, slowly (clamd's INSTREAM: chunks with their length before them, an empty one at the end).
async fn scan(clamd: TcpListener, looked: Arc<AtomicU64>) {
    while let Ok((stream, _)) = clamd.accept().await {
        let looked = Arc::clone(&looked);
        tokio::spawn(async move {
            // A client that leaves gets no verdict.
            if look(stream).await.is_ok() {
                looked.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

async fn look(mut stream: TcpStream) -> std::io::Result<()> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).await?;
    loop {
        let length = stream.read_u32().await?;
        if length == 0 {
            break;
        }
        let mut chunk = vec![0; length as usize];
        stream.read_exact(&mut chunk).await?;
    }
    sleep(LOOK).await;
    stream.write_all(b"stream: OK\0").await
}
