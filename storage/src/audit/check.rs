//! Whether the rows of the log are those that were signed: every leaf is made again from its event, every hash from its leaves, and
//! every checkpoint opened, those that were published outside the database among them.

use std::collections::{BTreeMap, btree_map::Entry};

use domain::{actor::Actor, ids::CaseId};
use serde::Serialize;
use uuid::Uuid;

use super::{
    leaf::event_columns,
    log::{self, Positioned},
    merkle::{self, Frontier, Hash},
};
use crate::{Result, Storage, Tx, db::query, vault::CaseKey};

/// Leaves read at once.
const TOGETHER: i64 = 2_000;
/// Findings that are told; all are counted.
const TOLD: usize = 100;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Leaves that were made again.
    pub events: u64,
    /// Events that have no position yet.
    pub waiting: u64,
    /// Checkpoints that were opened.
    pub checkpoints: u64,
    /// How much is wrong.
    pub problems: u64,
    /// What is wrong, the first hundred.
    pub told: Vec<String>,
}

impl Findings {
    pub(super) fn tell(&mut self, problem: String) {
        self.problems += 1;
        if self.told.len() < TOLD {
            self.told.push(problem);
        }
    }
}

/// Checks all of the log. `published` are notes that were kept outside the database.
pub async fn check(storage: &Storage, published: &[String]) -> Result<Findings> {
    let verifier = log::verifier(storage)?;
    let mut findings = Findings::default();
    // One picture of the rows from beginning to end.
    let mut tx = storage.read(&Actor::system(Uuid::nil())).await?;
    let mut signed: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    let kept: Vec<(i64, String)> =
        query!(tx, c => sqlx::query_as("select size, note from audit_checkpoints order by size").fetch_all(c).await)?;
    for (size, note) in &kept {
        match verifier.open(note) {
            Some(checkpoint) if i64::try_from(checkpoint.size) == Ok(*size) => {
                signed.entry(checkpoint.size).or_default().push(checkpoint.root);
            }
            _ => findings.tell(format!("checkpoint {size}: the row holds no checkpoint of this size that dia signed")),
        }
    }
    let own = signed.last_key_value().map_or(0, |(size, _)| *size);
    for note in published {
        match verifier.open(note) {
            Some(checkpoint) => signed.entry(checkpoint.size).or_default().push(checkpoint.root),
            None => findings.tell("a published checkpoint was not signed by this installation".to_owned()),
        }
    }
    let log = leaves(&mut tx, &mut findings, &signed).await?;
    for size in signed.keys().filter(|size| **size > log.size()) {
        findings.tell(format!("a checkpoint of {size} events was signed, and {} are left", log.size()));
    }
    if own != log.size() {
        findings.tell(format!("the log has {} events, and {own} in its last checkpoint", log.size()));
    }
    nodes(&mut tx, &mut findings, log.size()).await?;
    strays(&mut tx, &mut findings).await?;
    Ok(findings)
}

/// Walks through the leaves; compares each with its event and the root at every signed size with what was signed.
async fn leaves(tx: &mut Tx, findings: &mut Findings, signed: &BTreeMap<u64, Vec<Hash>>) -> Result<Frontier> {
    let mut log = Frontier::default();
    let (mut keys, mut next) = (BTreeMap::new(), 0_i64);
    loop {
        let stored: Vec<(i64, Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
            "select position, event_id, hash from audit_leaves where position >= $1 order by position limit $2")
            .bind(next).bind(TOGETHER).fetch_all(c).await)?;
        let Some((last, ..)) = stored.last() else { return Ok(log) };
        let last = *last;
        let rows: Vec<Positioned> = query!(tx, c => sqlx::query_as(concat!("select ", event_columns!(), ", l.position
            from audit_leaves l join audit_events e on e.id = l.event_id where l.position >= $1 and l.position <= $2"))
            .bind(next).bind(last).fetch_all(c).await)?;
        let events: BTreeMap<Option<i64>, _> = rows.into_iter().map(|row| (row.position, row.event)).collect();
        for (position, event, hash) in stored {
            if position != next {
                findings.tell(format!("positions {next} to {} are missing", position - 1));
            }
            next = position + 1;
            let leaf = if let Some(event) = events.get(&Some(position)) {
                disclose(tx, findings, &mut keys, position, event).await?;
                merkle::leaf(event.line()?.as_bytes())
            } else {
                findings.tell(format!("position {position}: event {event} is missing"));
                merkle::leaf(b"")
            };
            if leaf.0[..] != hash {
                findings.tell(format!("position {position}: event {event} is not the one that was logged"));
            }
            findings.events += 1;
            log.push(leaf, |_, _| ());
            for root in signed.get(&log.size()).into_iter().flatten() {
                findings.checkpoints += 1;
                if *root != log.root() {
                    findings.tell(format!("the first {} events are not those of the signed checkpoint", log.size()));
                }
            }
        }
    }
}

/// What is sealed must be what was committed to, as long as there is a key.
async fn disclose(
    tx: &mut Tx,
    findings: &mut Findings,
    keys: &mut BTreeMap<CaseId, Option<CaseKey>>,
    position: i64,
    event: &super::leaf::Event,
) -> Result<()> {
    let Some(case) = event.case().filter(|_| event.commitment.is_some() || event.sealed_details.is_some()) else {
        return Ok(());
    };
    let key = match keys.entry(case) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => unknown.insert(tx.case_key_if_any(case).await?),
    };
    let Some(key) = key else { return Ok(()) };
    let opened = event.disclosed(Some(key)).ok().flatten();
    if opened.map(|opened| opened.commitment().to_vec()) != event.commitment {
        findings.tell(format!("position {position}: the fields of event {} are not those that were logged", event.id));
    }
    Ok(())
}

/// The hashes that proofs are made from.
async fn nodes(tx: &mut Tx, findings: &mut Findings, size: u64) -> Result<()> {
    let (mut after, mut found) = ((-1_i64, -1_i64), 0);
    loop {
        let nodes: Vec<(i64, i64, Vec<u8>)> = query!(tx, c => sqlx::query_as(
            "select level, position, hash from audit_nodes where level > $1 or (level = $1 and position > $2)
             order by level, position limit $3")
            .bind(after.0).bind(after.1).bind(TOGETHER).fetch_all(c).await)?;
        let Some((level, position, _)) = nodes.last() else { break };
        after = (*level, *position);
        found += nodes.len() as u64;
        for (level, position, hash) in nodes {
            if !log::is_node(tx, level, position, &hash).await? {
                findings.tell(format!("the hash of subtree {position} of level {level} is not that of its leaves"));
            }
        }
    }
    let expected: u64 = (1..8).map(|level| size.checked_shr(level * log::STEP).unwrap_or(0)).sum();
    if found != expected {
        findings.tell(format!("{found} hashes of subtrees are kept, and {expected} belong to the log"));
    }
    Ok(())
}

/// Events that are neither in the log nor wait for it.
async fn strays(tx: &mut Tx, findings: &mut Findings) -> Result<()> {
    let waiting: i64 = query!(tx, c => sqlx::query_scalar("select count(*) from audit_pending").fetch_one(c).await)?;
    findings.waiting = u64::try_from(waiting).unwrap_or(0);
    let strays: Vec<Uuid> = query!(tx, c => sqlx::query_scalar(
        "select e.id from audit_events e left join audit_leaves l on l.event_id = e.id
         left join audit_pending p on p.event_id = e.id where l.event_id is null and p.event_id is null limit 1000")
        .fetch_all(c).await)?;
    for stray in strays {
        findings.tell(format!("event {stray} is not in the log"));
    }
    Ok(())
}
