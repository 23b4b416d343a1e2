//! Known files (deNIST): what the operator's list names is left out and accounted for; families stay whole.

use std::path::Path;

use domain::outcome::{DocumentState, Exclusion};
use sha2::{Digest as _, Sha256};
use storage::{
    documents::Document,
    known_files::{KnownFiles, import},
};
use testkit::TestStorage;
use workers::Context;

use crate::{
    both,
    matter::{Matter, context, eml, zip},
};

both!(
    known_files_are_left_out_and_accounted_for,
    what_belongs_to_a_family_stays,
    old_lists_name_files_by_weaker_hashes,
);

const LIBRARY: &[u8] = b"MZ a part of an operating system";

/// A context with a list of these lines.
fn listing(folder: &Path, lines: &str) -> Context {
    let (list, into) = (folder.join("list.txt"), folder.join("known"));
    std::fs::write(&list, lines).unwrap();
    import(&[list], &into, 1 << 20).unwrap();
    Context { known_files: Some(KnownFiles::open(&into).unwrap()), ..context() }
}

async fn settle(matter: &Matter, context: Context) -> Vec<Document> {
    let office = matter.work(context);
    matter.settled().await;
    office.close().await;
    let counts = matter.counts().await;
    assert!(counts.balances(), "{counts:?}");
    matter.documents().await
}

/// Paths of what was left out as known.
fn left_out(documents: &[Document]) -> Vec<&str> {
    let known = documents.iter().filter(|document| document.exclusion == Some(Exclusion::KnownFile));
    let mut paths: Vec<&str> = known
        .map(|document| {
            assert_eq!((document.state, document.text), (DocumentState::Excluded, None));
            document.details.path.as_str()
        })
        .collect();
    paths.sort_unstable();
    paths
}

async fn known_files_are_left_out_and_accounted_for(test: TestStorage) {
    let matter = Matter::open(test).await;
    let folder = tempfile::tempdir().unwrap();
    let whole = zip(&[("a.dll", b"in a known archive"), ("b.txt", b"so is the mizzen")]);
    let lines = format!("{}\n{}\n", hex::encode(Sha256::digest(LIBRARY)), hex::encode(Sha256::digest(&whole)));
    let inner = zip(&[("deep.dll", LIBRARY), ("kept.txt", b"The orlop is dry.")]);
    matter
        .deliver(&[
            ("loose.dll", LIBRARY.to_vec()),
            ("copy of loose.dll", LIBRARY.to_vec()),
            ("letter.txt", b"The orlop is wet.".to_vec()),
            ("outer.zip", zip(&[("x.dll", LIBRARY), ("inner.zip", &inner)])),
            ("whole.zip", whole),
        ])
        .await;
    let documents = settle(&matter, listing(folder.path(), &lines)).await;
    assert_eq!(
        left_out(&documents),
        ["copy of loose.dll", "loose.dll", "outer.zip/inner.zip/deep.dll", "outer.zip/x.dll", "whole.zip"]
    );
    let counts = matter.counts().await;
    assert_eq!((counts.received, counts.unpacked, counts.excluded, counts.duplicate), (5, 4, 5, 0), "{counts:?}");
    assert_eq!((matter.found("orlop").await.len(), matter.found("mizzen").await.len()), (2, 0));
    assert_eq!(matter.test.number("select count(*) from audit_events where action = 'document.known_file'").await, 5);
    assert_eq!(matter.test.number("select count(*) from contents").await, 2, "none stands for a known file");
}

async fn what_belongs_to_a_family_stays(test: TestStorage) {
    let matter = Matter::open(test).await;
    let folder = tempfile::tempdir().unwrap();
    let attached = "A shared note of the orlop.";
    let lines = hex::encode(Sha256::digest(attached));
    let mail = eml("See attached.", ("note.txt", attached));
    let loose = attached.as_bytes().to_vec();
    let boxed = zip(&[("mail too.eml", &mail)]);
    matter.deliver(&[("mail.eml", mail.clone()), ("box.zip", boxed), ("loose.txt", loose)]).await;
    let documents = settle(&matter, listing(folder.path(), &lines)).await;
    assert_eq!(left_out(&documents), ["loose.txt"], "the list does name the bytes");
    assert_eq!(matter.found("orlop").await.len(), 2, "each mail keeps its attachment");
}

async fn old_lists_name_files_by_weaker_hashes(test: TestStorage) {
    let matter = Matter::open(test).await;
    let folder = tempfile::tempdir().unwrap();
    // Of "abc" (FIPS 180-1) and of "a" (RFC 1321).
    let lines = "\"SHA-1\",\"MD5\"\n\"A9993E364706816ABA3E25717850C26C9CD0D89D\",\"00000000000000000000000000000000\"\n\
                 0CC175B9C0F1B6A831C399E269772661\n";
    matter
        .deliver(&[("abc.bin", b"abc".to_vec()), ("a.bin", b"a".to_vec()), ("b.txt", b"A letter about b.".to_vec())])
        .await;
    let documents = settle(&matter, listing(folder.path(), lines)).await;
    assert_eq!(left_out(&documents), ["a.bin", "abc.bin"]);
}
