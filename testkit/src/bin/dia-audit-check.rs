//! `dia-audit-check MUTATIONS`: 64 writers and 8 sequencers of one audit log at once, on both databases; then so many random changes to
//! bundles of it, each of which must be found. The last line is one JSON object.

#![allow(clippy::cast_precision_loss, reason = "figures are for reading")]
#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use domain::{actor::Actor, ids};
use serde_json::json;
use storage::{
    Storage,
    audit::{self, Audit, bundle, log},
};
use testkit::{Matter, TestStorage, tamper};
use tokio::task::JoinSet;

const WRITERS: usize = 64;
const SEQUENCERS: usize = 8;
/// Events of each writer.
const EVENTS: u64 = 50;

#[tokio::main]
async fn main() -> Result<()> {
    let mutations = std::env::args().nth(1).context("usage: dia-audit-check MUTATIONS")?;
    let mutations: u64 = mutations.parse().context("MUTATIONS is a number")?;
    let (mut forks, mut tried, mut undetected, mut verified, mut seconds) = (0, 0, 0, 0, 0.0);
    for test in [TestStorage::sqlite().await, TestStorage::postgres().await] {
        let matter = Matter::open(&test).await;
        let batch = matter.batch().await;
        for number in 0..20_u8 {
            matter.document(batch, &format!("{number}.txt"), &[number]).await;
        }
        while log::sequence(&test.storage).await?.is_some() {}
        let key = log::verifier(&test.storage)?;
        // Small bundles, so that every mutation is a chance to be missed and not a wait.
        for case in [None, Some(matter.case)] {
            let text = tamper::write(&test.storage, case).await;
            ensure!(bundle::verify(text.as_bytes(), &key, &[])?.0.problems == 0, "an unchanged bundle is refused");
            let mut random = tamper::random(tried);
            for _ in 0..mutations / 4 {
                let (what, changed) = tamper::bundle(&text, &mut random);
                tried += 1;
                if bundle::verify(changed.as_bytes(), &key, &[]).is_ok_and(|(found, _)| found.problems == 0) {
                    println!("not found: {what}");
                    undetected += 1;
                }
            }
        }
        forks += all_at_once(&test.storage).await?;
        let text = tamper::write(&test.storage, None).await;
        let began = Instant::now();
        let (found, _) = bundle::verify(text.as_bytes(), &key, &[])?;
        seconds += began.elapsed().as_secs_f64();
        verified += found.events;
        forks += found.problems;
    }
    let rate = verified as f64 / seconds;
    println!(
        "{}",
        json!({ "mutations": tried, "undetected": undetected, "forks": forks, "events_verified_per_s": rate.round() })
    );
    ensure!(undetected == 0 && forks == 0, "the log does not hold");
    Ok(())
}

/// Returns what is wrong with the log that all of them wrote.
async fn all_at_once(storage: &Storage) -> Result<u64> {
    let mut work = JoinSet::new();
    for _ in 0..WRITERS {
        let storage = storage.clone();
        work.spawn(async move {
            for rows in 0..EVENTS {
                let mut tx = storage.begin(&Actor::system(ids::fresh())).await?;
                tx.audit(Audit::GarbageCollected { objects: 0, rows }).await?;
                tx.commit().await?;
            }
            Ok::<_, storage::Error>(())
        });
    }
    for _ in 0..SEQUENCERS {
        let storage = storage.clone();
        work.spawn(async move {
            for _ in 0..20 {
                log::sequence(&storage).await?;
            }
            Ok(())
        });
    }
    while let Some(done) = work.join_next().await {
        done??;
    }
    while log::sequence(storage).await?.is_some() {}
    let found = audit::check(storage, &[]).await?;
    ensure!(found.events >= WRITERS as u64 * EVENTS, "events are missing: {found:?}");
    Ok(found.problems)
}
