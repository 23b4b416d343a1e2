//! `dia-bench-ingest DIR MAILS`: how fast the binary beside this one takes in the files of DIR and then MAILS made-up
//! e-mails, what that costs, how fast it starts and what it weighs when idle. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testkit::{Client, Home, Server, delivery::everyday_mail, machine};
use tokio::time::sleep;

/// Files of one upload.
const TOGETHER: usize = 100;
#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(mails)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: dia-bench-ingest DIR MAILS");
    };
    let mut corpus = Vec::new();
    read(Path::new(&folder), &mut corpus)?;
    let mails: u64 = mails.parse().context("MAILS is a number")?;

    let directory = tempfile::tempdir()?;
    let home = Home::new(directory.path())?;
    let first = Instant::now();
    let server = home.start().await?;
    let first_start = first.elapsed();
    let client = Client::sign_up(&server.address, server.setup_code.as_deref().context("no setup code")?).await?;
    ensure!(server.stop().await?.success(), "the server did not stop cleanly");
    let again = Instant::now();
    let server = home.start().await?;
    let start = again.elapsed();
    sleep(Duration::from_secs(5)).await;
    let idle = machine::resident(process(&server)?);
    println!(
        "starts in {:.3} s ({:.3} s the first time), idle at {:.1} MB",
        start.as_secs_f64(),
        first_start.as_secs_f64(),
        mega(idle)
    );

    let client = client.at(&server.address);
    let corpus = measure(&client, &server, "corpus", &corpus).await?;
    println!("corpus: {corpus}");
    let written: Vec<(String, Vec<u8>)> =
        (0..mails).map(|number| (format!("mail-{number}.eml"), everyday_mail(number))).collect();
    let mails = measure(&client, &server, "mails", &written).await?;
    println!("mails: {mails}");
    ensure!(server.stop().await?.success(), "the server did not stop cleanly");
    let result = json!({
        "start_s": round(start.as_secs_f64()), "first_start_s": round(first_start.as_secs_f64()),
        "idle_rss_mb": round(mega(idle)), "corpus": corpus, "mails": mails,
    });
    println!("{result}");
    Ok(())
}

/// Delivers `files` to a database of their own and waits until the last of them has ended.
async fn measure(client: &Client, server: &Server, name: &str, files: &[(String, Vec<u8>)]) -> Result<Value> {
    let mut client = client.clone();
    client.sign_in().await?;
    let (_, database) = client.open_database().await?;
    let process = process(server)?;
    let (began, spent) = (Instant::now(), machine::processor_seconds(process)?);
    let work = async {
        for (number, group) in files.chunks(TOGETHER).enumerate() {
            client.upload(&database, &format!("{name}-{number}"), group).await?;
        }
        loop {
            let counts = client.counts(&database).await?;
            if counts.in_flight == 0 {
                return Ok::<_, anyhow::Error>(counts);
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let (counts, peak) = machine::watch(process, work).await;
    let counts = counts?;
    let seconds = began.elapsed().as_secs_f64();
    let spent = machine::processor_seconds(process)? - spent;
    let documents = (counts.received + counts.unpacked) as f64;
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    Ok(json!({
        "files": files.len(), "documents": documents, "indexed": counts.indexed, "duplicate": counts.duplicate,
        "exception": counts.exception, "mb": round(bytes as f64 / 1e6), "seconds": round(seconds),
        "documents_per_s": round(documents / seconds), "mb_per_s": round(bytes as f64 / 1e6 / seconds),
        "cpu_s_per_1000": round(spent / documents * 1_000.0), "peak_rss_parent_mb": round(mega(peak.parent)),
        "peak_rss_child_mb": round(mega(peak.child)), "peak_rss_children_mb": round(mega(peak.children)),
    }))
}

fn process(server: &Server) -> Result<u32> {
    server.process().context("the server has ended")
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

fn read(folder: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
        } else {
            files.push((path.to_string_lossy().into_owned(), fs::read(&path)?));
        }
    }
    Ok(())
}
