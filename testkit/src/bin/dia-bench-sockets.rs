//! `dia-bench-sockets SOCKETS SLOW`: one door of a fleet with so many `WebSockets` open on one database: what they take in memory and,
//! when nothing happens, of the processor, and how soon all have heard of a file. Then so many clients that dawdle over their
//! requests, and what the others notice. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::{Client, StatusSocket, fleet::Fleet, machine};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// How long the door is watched while nothing happens.
const QUIET: Duration = Duration::from_secs(20);
/// Requests that are measured, and how many at a time.
const REQUESTS: usize = 2_000;
const AT_A_TIME: usize = 4;
/// How often a client that dawdles sends a byte.
const DAWDLE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<usize>());
    let usage = "usage: dia-bench-sockets SOCKETS SLOW";
    let (sockets, slow) = (arguments.next().context(usage)??, arguments.next().context(usage)??);
    let directory = tempfile::tempdir()?;
    let unlimited = ["READ", "WRITE", "UPLOAD"].map(|class| format!("DIA_LIMITS__{class}__PER_MINUTE"));
    let mut settings: Vec<(String, String)> = unlimited.into_iter().map(|name| (name, "0".to_owned())).collect();
    settings.push(("DIA_API__MAX_WEBSOCKETS_PER_USER".to_owned(), sockets.to_string()));
    let fleet = Fleet::start_with(directory.path(), 1, 1, &settings).await?;
    let door = &fleet.doors[0];
    let process = door.process().context("the door has ended")?;
    let client = Client::sign_up(&door.address, door.setup_code.as_deref().context("no setup code")?).await?;
    let watched = watch(&client, process, sockets).await?;
    let dawdled = dawdle(&client, &door.address, slow).await?;
    fleet.stop().await?;
    println!("{}", json!({ "sockets": watched, "slow_clients": dawdled }));
    Ok(())
}

async fn watch(client: &Client, process: u32, sockets: usize) -> Result<Value> {
    let (_, database) = client.open_database().await?;
    let before = machine::resident(process);
    let mut open = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        open.push(client.watch_status(&database).await?);
    }
    let with = machine::resident(process);
    let spent = machine::processor_seconds(process)?;
    sleep(QUIET).await;
    let idle = (machine::processor_seconds(process)? - spent) / QUIET.as_secs_f64();

    let began = Instant::now();
    let mut listening: JoinSet<Result<(Duration, StatusSocket)>> = JoinSet::new();
    for mut socket in open {
        listening.spawn(async move {
            while !timeout(Duration::from_mins(1), socket.hear()).await?.is_ok_and(|counts| counts.indexed == 1) {}
            Ok((began.elapsed(), socket))
        });
    }
    client.upload(&database, "news", &[("a.txt".to_owned(), b"Nobody signed the lease.".to_vec())]).await?;
    let mut heard = Vec::with_capacity(sockets);
    let mut kept = Vec::with_capacity(sockets);
    while let Some(told) = listening.join_next().await {
        let (after, socket) = told??;
        heard.push(after);
        kept.push(socket);
    }
    heard.sort_unstable();
    let (first, last) = (heard.first().context("no sockets")?, heard.last().context("no sockets")?);
    let said = json!({
        "open": sockets, "door_rss_mb_before": megabytes(before), "door_rss_mb": megabytes(with),
        "door_rss_mb_peak": megabytes(machine::most_resident(process)), "idle_cpu_percent": round(idle * 100.0),
        "indexed_heard_by_first_ms": millis(*first), "last_after_first_ms": millis(last.saturating_sub(*first)),
    });
    println!("{said}");
    Ok(said)
}

async fn dawdle(client: &Client, address: &str, slow: usize) -> Result<Value> {
    let alone = latencies(client).await?;
    let host = address.strip_prefix("http://").context("the door's address")?.to_owned();
    let slow_ones: Vec<JoinHandle<()>> = (0..slow).map(|number| tokio::spawn(dawdler(host.clone(), number))).collect();
    sleep(Duration::from_secs(3)).await;
    let beside = latencies(client).await?;
    for slow_one in &slow_ones {
        ensure!(!slow_one.is_finished(), "a client that dawdles was not let in");
        slow_one.abort();
    }
    let said = json!({
        "clients": slow, "p50_ms": [millis(alone.0), millis(beside.0)], "p99_ms": [millis(alone.1), millis(beside.1)],
        "p99_ratio": round(beside.1.as_secs_f64() / alone.1.as_secs_f64()),
    });
    println!("{said}");
    Ok(said)
}

/// Sends a request a byte at a time, for ever: half of them dawdle in the head, half in the body. Cut off, it comes again.
async fn dawdler(host: String, number: usize) {
    let head = if number.is_multiple_of(2) {
        "GET /api/v1/cases HTTP/1.1\r\nHost: dia\r\nX-Slow: "
    } else {
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: dia\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    };
    loop {
        let Ok(mut stream) = TcpStream::connect(&host).await else {
            sleep(DAWDLE).await;
            continue;
        };
        if stream.write_all(head.as_bytes()).await.is_err() {
            continue;
        }
        while stream.write_all(b"x").await.is_ok() {
            sleep(DAWDLE).await;
        }
    }
}

/// Median and 99th percentile of asking for the list of cases.
async fn latencies(client: &Client) -> Result<(Duration, Duration)> {
    let mut asking: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let client = client.clone();
        asking.spawn(async move {
            let mut took = Vec::with_capacity(REQUESTS / AT_A_TIME);
            for _ in 0..REQUESTS / AT_A_TIME {
                let began = Instant::now();
                client.get("/cases").await?;
                took.push(began.elapsed());
            }
            Ok(took)
        });
    }
    let mut took = Vec::with_capacity(REQUESTS);
    while let Some(some) = asking.join_next().await {
        took.extend(some??);
    }
    took.sort_unstable();
    Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
}

fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1_000.0)
}

fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
