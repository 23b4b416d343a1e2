//! What is asked of the server when the faults have stopped, through the same door as everybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::Client;
use tokio::time::sleep;

use crate::deliveries::Deliveries;

/// What the clock enqueues, whether there is work or not.
const BY_THE_CLOCK: [&str; 2] = ["collect_garbage", "sweep_jobs"];

/// Waits until no document and no job moves.
pub(crate) async fn wait(client: &Client, database: &str) -> Result<()> {
    while client.counts(database).await?.in_flight > 0 || !open_jobs(client).await?.is_empty() {
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Jobs that have not ended, those of the clock left out.
async fn open_jobs(client: &Client) -> Result<Vec<Value>> {
    let mut open = client.list("/jobs?state=ready").await?;
    open.extend(client.list("/jobs?state=running").await?);
    open.retain(|job| !BY_THE_CLOCK.iter().any(|kind| job["kind"] == *kind));
    Ok(open)
}

/// Sends the documents that were given up for an internal reason through the pipeline again; returns how many.
pub(crate) async fn retry_internal(client: &Client, database: &str) -> Result<u64> {
    let again = json!({ "category": "internal" });
    let answer = client.post(&format!("/databases/{database}/exceptions/retry"), &again).await?;
    answer["retried"].as_u64().context("a retry says how many")
}

/// Everything that is wrong, and how many documents are lost.
pub(crate) async fn judge(client: &Client, database: &str, deliveries: &Deliveries) -> Result<(Vec<String>, usize)> {
    let (mut wrong, mut lost) = (Vec::new(), 0);
    if deliveries.left() > 0 {
        wrong.push(format!("{} deliveries were never taken", deliveries.left()));
    }
    let received = deliveries.received();
    for (item, file) in &received {
        match client.original(&file.document).await {
            Ok(bytes) if hex::encode(Sha256::digest(&bytes)) == file.sha256 && bytes == item.bytes => {}
            Ok(_) => {
                lost += 1;
                wrong.push(format!("I1 {} has other bytes now", file.document));
            }
            Err(error) => {
                lost += 1;
                wrong.push(format!("I1 {error:#}"));
            }
        }
    }
    let counts = client.counts(database).await?;
    println!("{}", serde_json::to_string(&counts)?);
    if counts.in_flight > 0 {
        wrong.push(format!("I2 {} documents have not ended", counts.in_flight));
    }
    for job in open_jobs(client).await? {
        wrong.push(format!("I2 a job is still {}: {}", job["state"], job["kind"]));
    }
    let documents = client.documents(database).await?;
    wrong.extend(one_effect_each(&documents, &received.iter().map(|(_, file)| file.document.clone()).collect()));
    if counts.received != received.len() as u64 || counts.received + counts.unpacked != documents.len() as u64 {
        wrong.push(format!("{} documents were received, {} are listed: {counts:?}", received.len(), documents.len()));
    }
    wrong.extend(findable(client, database, deliveries, &documents).await?);
    Ok((wrong, lost))
}

/// I3: every delivered item is one document, and there is no document nobody delivered.
fn one_effect_each(documents: &[Value], received: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let top = |document: &&Value| document["parent_id"].is_null();
    let listed: BTreeSet<String> =
        documents.iter().filter(top).filter_map(|d| d["id"].as_str().map(ToOwned::to_owned)).collect();
    let (unknown, missing) = (listed.difference(received).count(), received.difference(&listed).count());
    if unknown > 0 || missing > 0 {
        wrong.push(format!("I3 {unknown} documents nobody has a 201 for, {missing} with a 201 are not listed"));
    }
    let mut seen = BTreeSet::new();
    for document in documents {
        let place = [&document["batch_id"], &document["parent_id"], &document["ordinal"], &document["path"]];
        if !seen.insert(place.map(ToString::to_string)) {
            wrong.push(format!("I3 {} is there twice", document["id"]));
        }
    }
    wrong
}

/// Every word is found, in the document it was put into or in what was unpacked from it.
async fn findable(
    client: &Client,
    database: &str,
    deliveries: &Deliveries,
    documents: &[Value],
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let by_id: BTreeMap<&str, &Value> = documents.iter().filter_map(|d| Some((d["id"].as_str()?, d))).collect();
    for (item, file) in deliveries.received() {
        for word in &item.words {
            let hits = client.search(database, word).await?;
            let family = |hit: &Value| hit["family_id"] == file.document.as_str();
            if hits.is_empty() || !hits.iter().all(family) {
                let known = by_id.get(file.document.as_str());
                let stands = known.map(|d| format!("{} {}", d["state"], d["exception"])).unwrap_or_default();
                wrong.push(format!("{} ({stands}): {} hits for one of its words", item.path, hits.len()));
            }
        }
    }
    Ok(wrong)
}
