//! A part of the log on its own, or all of it: lines of JSON that anybody can verify who has them and the public key. The first line
//! names the log, with a signed checkpoint; each other line is a leaf. Where all leaves are given they must make the signed root; where some are
//! given each brings its proof.

use std::io::BufRead;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    ids::CaseId,
    page::{Page, PageQuery},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    check::Findings,
    leaf::{Disclosure, event_columns},
    log::{self, Positioned},
    merkle::{self, Frontier, Hash},
    note::{Checkpoint, Verifier},
};
use crate::{Error, Result, Tx, db::query};

/// What the first line says that this is.
pub const FORMAT: &str = "dia-audit/1";
/// Longest line read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// Who verifies the checkpoint, as the log says itself; whoever verifies brings a key of their own.
    pub key: String,
    /// The case whose events these are; all events otherwise.
    pub case: Option<CaseId>,
    /// The signed note.
    pub checkpoint: String,
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Its position in the log.
    pub index: u64,
    /// What was hashed: JSON as text, so that nobody has to write it anew.
    pub leaf: String,
    /// The fields that the leaf commits to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disclosed: Option<Disclosure>,
    /// The sibling hashes from the leaf up, in Base64.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proof: Option<Vec<String>>,
}

/// The head of a bundle that ends at the latest checkpoint; `None` while nothing was signed.
pub async fn head(tx: &mut Tx, case: Option<CaseId>) -> Result<Option<(Head, Checkpoint)>> {
    let key = log::verifier(tx.storage())?.to_string();
    let found = log::checkpoint(tx).await?;
    Ok(found.map(|(checkpoint, note)| (Head { format: FORMAT.to_owned(), key, case, checkpoint: note }, checkpoint)))
}

/// Leaves of a case with their fields and proofs under a log of `size`, in order of position.
pub async fn of_case(tx: &mut Tx, case: CaseId, size: u64, page: &PageQuery) -> Result<Page<Leaf>> {
    let (limit, next) = (page.limit()?, page.key::<u64>()?.map_or(0, |last| last + 1));
    let rows: Vec<Positioned> = query!(tx, c => sqlx::query_as(concat!("select ", event_columns!(), ", l.position
        from audit_events e join audit_leaves l on l.event_id = e.id
        where e.case_id = $1 and l.position >= $2 and l.position < $3 order by l.position limit $4"))
        .bind(case.uuid()).bind(bounded(next)).bind(bounded(size)).bind(i64::from(limit) + 1).fetch_all(c).await)?;
    let key = tx.case_key(case).await?;
    let mut leaves = Vec::with_capacity(rows.len());
    for row in rows {
        let index = row.position().ok_or(Error::NotFound)?;
        let hashes = log::roots(tx, &merkle::inclusion(index, size)).await?;
        let proof = hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect();
        let disclosed = row.event.disclosed(Some(&key))?;
        leaves.push(Leaf { index, leaf: row.event.line()?, disclosed, proof: Some(proof) });
    }
    Ok(Page::of(leaves, limit, |leaf| leaf.index))
}

/// Leaves of the whole log, without what is sealed.
pub async fn of_log(tx: &mut Tx, size: u64, page: &PageQuery) -> Result<Page<Leaf>> {
    let (limit, next) = (page.limit()?, page.key::<u64>()?.map_or(0, |last| last + 1));
    let rows: Vec<Positioned> = query!(tx, c => sqlx::query_as(concat!("select ", event_columns!(), ", l.position
        from audit_leaves l join audit_events e on e.id = l.event_id
        where l.position >= $1 and l.position < $2 order by l.position limit $3"))
        .bind(bounded(next)).bind(bounded(size)).bind(i64::from(limit) + 1).fetch_all(c).await)?;
    let mut leaves = Vec::with_capacity(rows.len());
    for row in rows {
        let index = row.position().ok_or(Error::NotFound)?;
        leaves.push(Leaf { index, leaf: row.event.line()?, disclosed: None, proof: None });
    }
    Ok(Page::of(leaves, limit, |leaf| leaf.index))
}

fn bounded(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// Verifies a bundle with the key that one has pinned, and with notes that one has kept: a log that is shorter than one of them, or
/// is another, is refused. Everything that is wrong is found; an error means that the bundle could not be read at all.
pub fn verify(bundle: impl BufRead, key: &Verifier, kept: &[String]) -> Result<(Findings, Option<Checkpoint>)> {
    let mut findings = Findings::default();
    let mut lines = Lines(bundle);
    let head = match lines.next::<Head>()? {
        Some(Ok(head)) if head.format == FORMAT => head,
        _ => {
            findings.tell(format!("the first line is not the head of a bundle of format {FORMAT}"));
            return Ok((findings, None));
        }
    };
    if head.key != key.to_string() {
        findings.tell("the bundle names another key than the pinned one".to_owned());
    }
    let Some(checkpoint) = key.open(&head.checkpoint) else {
        findings.tell("the checkpoint is not signed with the pinned key".to_owned());
        return Ok((findings, None));
    };
    let kept: Vec<Option<Checkpoint>> = kept.iter().map(|note| key.open(note)).collect();
    findings.checkpoints = 1 + kept.len() as u64;
    let mut walk = Walk { checkpoint: &checkpoint, case: head.case, log: Frontier::default(), next: 0 };
    while let Some(line) = lines.next::<Leaf>()? {
        let Ok(line) = line else {
            findings.tell(format!("line {} is not a leaf as dia writes it", findings.events + 2));
            findings.events += 1;
            continue;
        };
        walk.leaf(&line, &mut findings);
        for note in kept.iter().flatten().filter(|note| head.case.is_none() && note.size == walk.log.size()) {
            if note.root != walk.log.root() {
                findings.tell(format!("the first {} events are not those of a checkpoint that was kept", note.size));
            }
        }
    }
    for note in kept {
        match note {
            None => findings.tell("a checkpoint that was kept is not signed with the pinned key".to_owned()),
            Some(note) if note.size > checkpoint.size => findings.tell(format!(
                "a checkpoint of {} events was kept, and this log ends at {}",
                note.size, checkpoint.size
            )),
            Some(note) if note.size == checkpoint.size && note.root != checkpoint.root => {
                findings.tell(format!("another log of {} events was signed", note.size));
            }
            Some(_) => {}
        }
    }
    if head.case.is_none() && (walk.log.size(), walk.log.root()) != (checkpoint.size, checkpoint.root) {
        findings.tell(format!("these {} events are not the {} that were signed", walk.log.size(), checkpoint.size));
    }
    Ok((findings, Some(checkpoint)))
}

struct Walk<'a> {
    checkpoint: &'a Checkpoint,
    case: Option<CaseId>,
    log: Frontier,
    next: u64,
}

impl Walk<'_> {
    fn leaf(&mut self, line: &Leaf, findings: &mut Findings) {
        findings.events += 1;
        let (index, hash) = (line.index, merkle::leaf(line.leaf.as_bytes()));
        if index < self.next || (self.case.is_none() && index != self.next) {
            findings.tell(format!("position {index} stands where {} should be or one after it", self.next));
        }
        self.next = index.saturating_add(1);
        match (self.case, &line.proof) {
            (None, None) => self.log.push(hash, |_, _| ()),
            (Some(_), Some(proof)) => {
                let proof: Option<Vec<Hash>> =
                    proof.iter().map(|h| STANDARD.decode(h).ok()?.try_into().ok().map(Hash)).collect();
                let (size, root) = (self.checkpoint.size, self.checkpoint.root);
                if !proof.is_some_and(|proof| merkle::is_included(hash, index, size, &proof, root)) {
                    findings.tell(format!("position {index}: the event is not the one that was logged"));
                }
            }
            _ => findings
                .tell(format!("position {index}: a leaf of a case has a proof, and one of a whole log has none")),
        }
        let fields: Value = serde_json::from_str(&line.leaf).unwrap_or_default();
        let commitment = fields["commitment"].as_str().map(ToOwned::to_owned);
        let case = fields["case_id"].as_str().map(ToOwned::to_owned);
        if self.case.is_some_and(|own| case != Some(own.to_string())) {
            findings.tell(format!("position {index}: the event is not one of the case"));
        }
        let disclosed = line.disclosed.as_ref().map(|disclosed| hex::encode(disclosed.commitment()));
        if (self.case.is_some() || disclosed.is_some()) && disclosed != commitment {
            findings.tell(format!("position {index}: the fields are not those that were logged"));
        }
    }
}

struct Lines<R>(R);

impl<R: BufRead> Lines<R> {
    /// The next line: `Err` when it is not byte for byte what dia writes, so that nothing hides between the fields.
    #[allow(clippy::type_complexity, reason = "a line may end the file, be no such line, or not be readable")]
    fn next<T: for<'a> Deserialize<'a> + Serialize>(&mut self) -> Result<Option<Result<T, ()>>> {
        use std::io::Read as _;
        let mut line = String::new();
        if (&mut self.0).take(MAX_LINE).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let value: Result<T, ()> = serde_json::from_str(&line).map_err(drop);
        Ok(Some(value.and_then(|value| {
            let same = serde_json::to_string(&value).is_ok_and(|text| line.strip_suffix('\n') == Some(&*text));
            if same { Ok(value) } else { Err(()) }
        })))
    }
}
