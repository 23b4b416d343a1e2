//! A case taken away as a BagIt bag (RFC 8493): the files as they were received, what is known of how each came to be here, and the part
//! of the audit log that concerns the case with its proofs. A signed note over the bag's own list of tag files makes it whole: who has the
//! unpacked bag and the public key needs nothing else to verify it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use domain::{clock::Timestamp, ids::CaseId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Findings, bundle, log, note::Checkpoint, note::Verifier};
use crate::{Result, Storage};

/// What a bag says it is: the first line of its note after the signer's name.
const FORMAT: &str = "dia-custody/1";
/// The file that names every tag file with its SHA-256.
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// The signed note over it.
pub const NOTE: &str = "tagmanifest-sha256.txt.note";
/// The file that names every file of the payload with its SHA-256.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// What the names of files that tell of custody, and of the log, begin with.
const CUSTODY: &str = "data/custody-";
const AUDIT: &str = "data/audit-";
/// Longest line of a file that tells of custody, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// A container around a document, and the document in it that holds the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The container.
    pub id: String,
    /// Its name as delivered.
    pub name: String,
    /// SHA-256 of its bytes as received, in hexadecimal.
    pub sha256: String,
}

/// The name of a file that tells of custody: part 1, 2 …
pub fn custody_part(number: u32) -> String {
    format!("{CUSTODY}{number:05}.jsonl")
}

/// The name of a file with a part of the log.
pub fn audit_part(number: u32) -> String {
    format!("{AUDIT}{number:05}.ndjson")
}

/// The note that makes a bag whole: over the digest of its list of tag files.
pub fn sign(storage: &Storage, case: CaseId, tag_manifest: &str) -> Result<String> {
    let digest = hex::encode(Sha256::digest(tag_manifest));
    let text = format!("{FORMAT}\n{case}\n{digest}\n{}\n", storage.clock.now().rfc3339());
    log::sign_text(storage, &text)
}

/// What a bag that verifies says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its case.
    pub case: CaseId,
    /// When it was made.
    pub at: Timestamp,
    /// Documents it tells of.
    pub documents: u64,
    /// Files of the payload.
    pub files: u64,
    /// The log's last checkpoint when it was made.
    pub checkpoint: Checkpoint,
}

/// Verifies an unpacked bag with the key that one has pinned, and with checkpoints that one has kept. Everything that is wrong is found; an error
/// means that the folder could not be read at all.
pub fn verify(folder: &Path, key: &Verifier, kept: &[String]) -> Result<(Findings, Option<Verified>)> {
    let mut findings = Findings::default();
    let Some((case, at)) = tags(folder, key, &mut findings)? else { return Ok((findings, None)) };
    let listed = manifest(folder, MANIFEST, &mut findings)?;
    let payload = payload(folder, &listed, &mut findings)?;
    let parts = |prefix: &str| payload.keys().filter(|name| name.starts_with(prefix)).cloned().collect::<Vec<_>>();
    let documents = custody(folder, &parts(CUSTODY), &payload, &mut findings)?;
    let log = Parts { paths: parts(AUDIT).into_iter().map(|part| folder.join(part)).collect(), open: None };
    let (of_log, checkpoint) = bundle::verify(BufReader::new(log), key, kept)?;
    findings.events = of_log.events;
    findings.checkpoints = of_log.checkpoints;
    findings.problems += of_log.problems;
    findings.told.extend(of_log.told);
    let named = first_case(folder, &parts(AUDIT))?;
    if named.as_deref() != Some(case.to_string().as_str()) {
        findings.tell("the log in the bag is not that of the bag's case".to_owned());
    }
    let files = payload.len() as u64;
    Ok((findings, checkpoint.map(|checkpoint| Verified { case, at, documents, files, checkpoint })))
}

/// Files read one after the other.
struct Parts {
    paths: VecDeque<PathBuf>,
    open: Option<File>,
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.open {
                let read = file.read(into)?;
                if read > 0 {
                    return Ok(read);
                }
            }
            let Some(next) = self.paths.pop_front() else { return Ok(0) };
            self.open = Some(File::open(next)?);
        }
    }
}

/// The note, and the tag files it stands for.
fn tags(folder: &Path, key: &Verifier, findings: &mut Findings) -> Result<Option<(CaseId, Timestamp)>> {
    let (Ok(note), Ok(tags)) = (fs::read_to_string(folder.join(NOTE)), fs::read_to_string(folder.join(TAG_MANIFEST)))
    else {
        findings
            .tell(format!("there is no {NOTE} with its {TAG_MANIFEST}: this is no bag of dia's, or it was cut off"));
        return Ok(None);
    };
    let Some(text) = key.text(&note) else {
        findings.tell(format!("{NOTE} is not signed with the pinned key"));
        return Ok(None);
    };
    let lines: Vec<&str> = text.lines().collect();
    let [_, FORMAT, case, digest, at] = lines.as_slice() else {
        findings.tell(format!("{NOTE} is not a note over a bag"));
        return Ok(None);
    };
    if *digest != hex::encode(Sha256::digest(&tags)) {
        findings.tell(format!("{TAG_MANIFEST} is not the one that was signed"));
    }
    let listed = manifest(folder, TAG_MANIFEST, findings)?;
    for name in ["bagit.txt", "bag-info.txt", MANIFEST] {
        if !listed.contains_key(name) {
            findings.tell(format!("{TAG_MANIFEST} does not name {name}"));
        }
    }
    for (name, digest) in &listed {
        compare(folder, name, digest, findings);
    }
    Ok(case.parse().ok().map(CaseId).zip(Timestamp::parse(at)))
}

/// A manifest's lines: a digest, two spaces, a path within the bag.
fn manifest(folder: &Path, name: &str, findings: &mut Findings) -> Result<BTreeMap<String, String>> {
    let mut listed = BTreeMap::new();
    let Ok(file) = File::open(folder.join(name)) else {
        findings.tell(format!("{name} is missing"));
        return Ok(listed);
    };
    for line in BufReader::new(file).lines() {
        let line = line?;
        let Some((digest, path)) = line.split_once("  ").filter(|(_, path)| is_within(path)) else {
            findings.tell(format!("{name} has a line that names no file of the bag"));
            continue;
        };
        if listed.insert(path.to_owned(), digest.to_owned()).is_some() {
            findings.tell(format!("{name} names {path} twice"));
        }
    }
    Ok(listed)
}

/// Nothing outside the bag is ever opened.
fn is_within(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\\')
}

fn compare(folder: &Path, name: &str, digest: &str, findings: &mut Findings) {
    match hashed(&folder.join(name)) {
        Ok(found) if found == digest => {}
        Ok(_) => findings.tell(format!("{name} is not the file that was taken away")),
        Err(_) => findings.tell(format!("{name} is missing or cannot be read")),
    }
}

fn hashed(path: &Path) -> io::Result<String> {
    // A link could lead anywhere.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&piece[..read]);
    }
}

/// All files of the payload are listed, and are what the list says; those that are, with their digests.
fn payload(
    folder: &Path,
    listed: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Result<BTreeMap<String, String>> {
    let mut folders = vec![PathBuf::from("data")];
    let mut found = BTreeMap::new();
    while let Some(inner) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&inner)) else { continue };
        for entry in entries {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.to_string_lossy().into_owned();
            match listed.get(&name) {
                None => findings.tell(format!("{name} is not in {MANIFEST}")),
                Some(digest) => drop(found.insert(name, digest.clone())),
            }
        }
    }
    for (name, digest) in listed {
        if !name.starts_with("data/") {
            findings.tell(format!("{MANIFEST} names {name}, which is no payload"));
        }
        compare(folder, name, digest, findings);
    }
    Ok(found)
}

/// What the bag tells of its documents agrees with its files and with itself; how many there are.
fn custody(
    folder: &Path,
    parts: &[String],
    payload: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Result<u64> {
    let (mut known, mut links) = (HashMap::new(), Vec::new());
    let mut files = 0_u64;
    for part in parts {
        let mut lines = BufReader::new(File::open(folder.join(part))?);
        loop {
            let mut line = String::new();
            if (&mut lines).take(MAX_LINE).read_line(&mut line)? == 0 {
                break;
            }
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            let (id, sha256) = (told["id"].as_str().unwrap_or_default(), told["sha256"].as_str().unwrap_or_default());
            if id.is_empty() || known.insert(id.to_owned(), sha256.to_owned()).is_some() {
                findings.tell(format!("{part} has a line that is of no document, or of one that came before"));
                continue;
            }
            match told["file"].as_str() {
                Some(file) if payload.get(file).map(String::as_str) == Some(sha256) => files += 1,
                Some(file) => findings.tell(format!("{file} is not the file of document {id}")),
                None if told["withheld"].is_string() => {}
                None => findings.tell(format!("document {id} has neither a file nor a reason for having none")),
            }
            let chain: Vec<Link> = serde_json::from_value(told["containers"].clone()).unwrap_or_default();
            if chain.last().map(|link| link.id.as_str()) != told["parent_id"].as_str() {
                findings.tell(format!("document {id} is not within the container it names"));
            }
            links.extend(chain);
        }
    }
    for link in links {
        if known.get(&link.id).is_some_and(|sha256| *sha256 != link.sha256) {
            findings.tell(format!("container {} has another digest where it is told of itself", link.id));
        }
    }
    let originals = payload.keys().filter(|name| name.starts_with("data/originals/")).count() as u64;
    if files != originals {
        findings.tell(format!("{originals} files are here, and documents tell of {files}"));
    }
    Ok(known.len() as u64)
}

/// The case of the log in the bag.
fn first_case(folder: &Path, parts: &[String]) -> Result<Option<String>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let mut line = String::new();
    BufReader::new(File::open(folder.join(first))?).take(MAX_LINE).read_line(&mut line)?;
    let head: Value = serde_json::from_str(&line).unwrap_or_default();
    Ok(head["case"].as_str().map(str::to_owned))
}
