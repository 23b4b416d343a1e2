//! The log on both databases: every event gets one position, proves it, and what somebody changed behind dia's back is found.

use std::{path::Path, process::Command};

use domain::{access::Action, actor::Actor, ids};
use storage::{
    Error, Storage,
    audit::{self, Audit, Checkpoint, Verifier, bundle, log, merkle},
    cases::{self, Case},
};
use testkit::{Matter, TestStorage, on_each_database, tamper};

on_each_database!(
    every_event_has_a_position_and_a_proof,
    many_writers_never_fork_the_log,
    what_somebody_changed_is_found,
    rows_that_were_changed_are_not_signed_over,
    a_bundle_proves_itself,
    what_is_shredded_stays_proved,
);

/// Signs until nothing waits; returns the notes.
async fn seal(storage: &Storage) -> Vec<(Checkpoint, String)> {
    let mut signed = Vec::new();
    while let Some(checkpoint) = log::sequence(storage).await.unwrap() {
        signed.push(checkpoint);
    }
    signed
}

fn system() -> Actor {
    Actor::system(ids::fresh())
}

async fn happen(storage: &Storage, times: u64) {
    for rows in 0..times {
        let mut tx = storage.begin(&system()).await.unwrap();
        tx.audit(Audit::GarbageCollected { objects: 0, rows }).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A case with documents, and a log of several hundred events under three checkpoints.
async fn lived_in(test: &TestStorage) -> (Matter, Vec<(Checkpoint, String)>) {
    let matter = Matter::open(test).await;
    let batch = matter.batch().await;
    let mut notes = seal(&test.storage).await;
    for number in 0..4 {
        matter.document(batch, &format!("{number}.txt"), &[number]).await;
    }
    happen(&test.storage, 300).await;
    notes.extend(seal(&test.storage).await);
    matter.document(batch, "last.txt", b"last").await;
    notes.extend(seal(&test.storage).await);
    (matter, notes)
}

async fn every_event_has_a_position_and_a_proof(test: TestStorage) {
    let (matter, notes) = lived_in(&test).await;
    let verifier = log::verifier(&test.storage).unwrap();
    assert_eq!(Verifier::parse(&verifier.to_string()), Some(verifier.clone()));
    for (checkpoint, note) in &notes {
        assert_eq!(verifier.open(note).as_ref(), Some(checkpoint));
        assert_eq!(verifier.open(&note.replacen("\n3", "\n4", 1)).as_ref().filter(|_| note.contains("\n3")), None);
    }
    let (last, note) = notes.last().unwrap();
    assert_eq!(i64::try_from(last.size), Ok(test.number("select count(*) from audit_events").await));
    assert_eq!(test.number("select count(*) from audit_pending").await, 0);
    assert_eq!(test.number("select count(*) from audit_nodes").await, 1);
    let trail = test.trail(matter.case).await;
    assert!(trail.iter().any(|entry| entry.action == "document.received" && entry.details["documents"].is_array()));
    let mut tx = test.storage.read(&system()).await.unwrap();
    for entry in &trail {
        let proof = log::prove(&mut tx, matter.case, entry.id).await.unwrap();
        assert_eq!((Some(proof.index), &proof.checkpoint), (entry.position, note));
        let leaf = merkle::leaf(proof.leaf.as_bytes());
        assert!(merkle::is_included(leaf, proof.index, last.size, &proof.hashes, last.root));
    }
    for pair in notes.windows(2) {
        let [(old, _), (new, _)] = pair else { panic!("windows of two") };
        let proof = log::prove_growth(&mut tx, old.size, new.size).await.unwrap();
        assert!(merkle::is_consistent(old.size, new.size, old.root, new.root, &proof));
    }
    assert!(matches!(log::prove_growth(&mut tx, 0, last.size + 1).await, Err(Error::Invalid(_))));
    assert!(matches!(log::prove(&mut tx, matter.case, ids::AuditId::new()).await, Err(Error::NotFound)));
    drop(tx);
    happen(&test.storage, 1).await;
    let found = audit::check(&test.storage, std::slice::from_ref(note)).await.unwrap();
    assert_eq!((found.events, found.waiting, found.problems), (last.size, 1, 0), "{found:?}");
    // What is sealed in a row is nowhere in the clear.
    assert_eq!(
        test.number("select count(*) from audit_events where case_id is not null and cast(details as text) <> '{}'")
            .await,
        0
    );
}

async fn many_writers_never_fork_the_log(test: TestStorage) {
    let mut work = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let storage = test.storage.clone();
        work.spawn(async move { happen(&storage, 5).await });
    }
    for _ in 0..8 {
        let storage = test.storage.clone();
        work.spawn(async move {
            for _ in 0..10 {
                log::sequence(&storage).await.unwrap();
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    seal(&test.storage).await;
    let found = audit::check(&test.storage, &[]).await.unwrap();
    assert_eq!((found.events, found.problems), (320, 0), "{found:?}");
    assert_eq!(test.number("select max(position) from audit_leaves").await, 319);
}

async fn what_somebody_changed_is_found(test: TestStorage) {
    let (_, notes) = lived_in(&test).await;
    let published: Vec<String> = notes.iter().map(|(_, note)| note.clone()).collect();
    let size = notes.last().unwrap().0.size;
    let clean = audit::check(&test.storage, &published).await.unwrap();
    assert_eq!(clean.problems, 0, "{clean:?}");
    for (what, change, undo) in tamper::ROWS {
        for statement in change.split(';') {
            test.statement(&statement.replace("$size", &size.to_string())).await;
        }
        let found = audit::check(&test.storage, &published).await.unwrap();
        assert!(found.problems > 0, "{what} was not found");
        for statement in undo.split(';') {
            test.statement(&statement.replace("$size", &size.to_string())).await;
        }
        let found = audit::check(&test.storage, &published).await.unwrap();
        assert_eq!(found.problems, 0, "{what}: {found:?}");
    }
    // All of it gone, or begun anew: what was published says so.
    for table in ["audit_nodes", "audit_checkpoints", "audit_leaves", "system"] {
        test.statement(&format!("delete from {table}")).await;
    }
    happen(&test.storage, 1).await;
    seal(&test.storage).await;
    let found = audit::check(&test.storage, &published).await.unwrap();
    assert!(found.told.iter().any(|problem| problem.contains("was signed, and 1 are left")), "{found:?}");
}

async fn rows_that_were_changed_are_not_signed_over(test: TestStorage) {
    let (_, notes) = lived_in(&test).await;
    happen(&test.storage, 1).await;
    let before = notes[1].1.replace('\'', "''");
    for change in [
        "update system set value = (select hash from audit_leaves where position = 0) where name = 'audit_head'"
            .to_owned(),
        "delete from system where name = 'audit_head'".to_owned(),
        format!("update audit_checkpoints set note = '{before}' where size = {}", notes.last().unwrap().0.size),
    ] {
        test.statement(&change).await;
        assert!(log::sequence(&test.storage).await.is_err(), "{change}");
    }
}

/// What a verifier that shares no code with dia says (Python, with the package `cryptography`).
fn python(directory: &Path, text: &str, key: &Verifier) -> bool {
    let file = directory.join("bundle.ndjson");
    std::fs::write(&file, text).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verify_log.py");
    let output = Command::new("python3").arg(program).arg(&file).arg(key.to_string()).output();
    let output = output.expect("python3 must be installed, with the package `cryptography`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("Traceback"), "{said}");
    output.status.success()
}

async fn a_bundle_proves_itself(test: TestStorage) {
    let (matter, notes) = lived_in(&test).await;
    let key = log::verifier(&test.storage).unwrap();
    let stranger = TestStorage::sqlite().await;
    let other = log::verifier(&stranger.storage).unwrap();
    let kept: Vec<String> = notes.iter().map(|(_, note)| note.clone()).collect();
    for case in [None, Some(&matter)] {
        let text = tamper::write(&test.storage, case.map(|matter| matter.case)).await;
        let (found, checkpoint) = bundle::verify(text.as_bytes(), &key, &kept).unwrap();
        assert_eq!(found.problems, 0, "{found:?}");
        assert_eq!(checkpoint.as_ref(), Some(&notes.last().unwrap().0));
        assert_eq!(found.events, text.lines().count() as u64 - 1);
        assert_eq!(text.contains("disclosed"), case.is_some());
        assert!(bundle::verify(text.as_bytes(), &other, &[]).unwrap().0.problems > 0);
        assert!(bundle::verify(b"".as_slice(), &key, &[]).unwrap().0.problems > 0);
        assert!(python(test.directory(), &text, &key));
        assert!(!python(test.directory(), &text, &other));
        let mut random = tamper::random(7);
        for number in 0..400 {
            let (what, changed) = tamper::bundle(&text, &mut random);
            let found = bundle::verify(changed.as_bytes(), &key, &[]).map_or(1, |(found, _)| found.problems);
            assert!(found > 0, "{what} was not found");
            // Starting an interpreter takes longer than all the rest.
            assert!(number % 40 > 0 || !python(test.directory(), &changed, &key), "{what} was not found by Python");
        }
    }
    // A log that is shorter than what somebody has kept.
    let text = tamper::write(&test.storage, None).await;
    happen(&test.storage, 1).await;
    let later: Vec<String> = seal(&test.storage).await.into_iter().map(|(_, note)| note).collect();
    assert_eq!(bundle::verify(text.as_bytes(), &key, &later).unwrap().0.problems, 1);
}

async fn what_is_shredded_stays_proved(test: TestStorage) {
    let (matter, _) = lived_in(&test).await;
    let mut tx = matter.begin().await;
    Case::find(&mut tx, matter.case, Action::DeleteCase).await.unwrap().delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = test.storage.begin(&system()).await.unwrap();
    assert!(cases::destroy_key(&mut tx, matter.case).await.unwrap());
    tx.audit(Audit::CaseKeyDestroyed { case: matter.case }).await.unwrap();
    tx.commit().await.unwrap();
    seal(&test.storage).await;
    let found = audit::check(&test.storage, &[]).await.unwrap();
    assert_eq!(found.problems, 0, "{found:?}");
    let key = log::verifier(&test.storage).unwrap();
    assert_eq!(bundle::verify(tamper::write(&test.storage, None).await.as_bytes(), &key, &[]).unwrap().0.problems, 0);
    let trail = test.trail(matter.case).await;
    let (said, silent): (Vec<_>, Vec<_>) = trail.iter().partition(|entry| !entry.details.is_null());
    assert_eq!(said.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["case.key_destroyed"]);
    assert!(silent.len() > 5);
}
