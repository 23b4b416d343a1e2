//! Generations: replace, delete, reopen from what was kept, and readers that stay where they are.

use std::sync::Arc;

use domain::ids::DatabaseId;
use index::{BlockCache, Error, Reader, SearchRequest, Writer};

use crate::{
    files::MemoryFiles,
    support::{Paper, add, ask, found, indexed, open, writer},
};

#[test]
fn a_document_is_replaced_and_deleted_with_its_chunks() {
    let files = MemoryFiles::default();
    let mut papers: Vec<Paper> = (0..5).map(|n| Paper::new(&format!("{n}.txt"), &"old words ".repeat(30))).collect();
    let mut first = writer(&files, None);
    for paper in &papers {
        add(&mut first, paper);
    }
    let first = first.commit().unwrap();
    assert_eq!((first.documents, first.chunks), (5, 20));

    papers[0].text = "new".to_owned();
    let mut second = writer(&files, Some(&first));
    add(&mut second, &papers[0]);
    second.delete(papers[1].id).unwrap();
    second.delete(domain::ids::DocumentId::new()).unwrap();
    let second = second.commit().unwrap();
    assert_eq!((second.documents, second.chunks), (4, 13));
    let reader = open(&files, &second);
    assert_eq!(found(&reader, "old"), ["2.txt", "3.txt", "4.txt"]);
    assert_eq!(found(&reader, "new"), ["0.txt"]);
    assert_eq!(ask(&reader, "new").hits[0].highlights.len(), 1);

    // Twice the same document in one session, and nothing at all in the next.
    let mut third = writer(&files, Some(&second));
    add(&mut third, &papers[1]);
    papers[1].text = "last".to_owned();
    add(&mut third, &papers[1]);
    let third = third.commit().unwrap();
    let fourth = writer(&files, Some(&third)).commit().unwrap();
    let reader = open(&files, &fourth);
    assert_eq!(found(&reader, "last"), ["1.txt"]);
    assert_eq!((fourth.documents, fourth.chunks), (5, 14));
}

#[test]
fn meta_and_the_listed_files_are_all_that_is_needed() {
    let files = MemoryFiles::default();
    let mut generation = None;
    for round in 0..12 {
        let mut next = writer(&files, generation.as_ref());
        add(&mut next, &Paper::new(&format!("{round:02}.txt"), "shared words"));
        generation = Some(next.commit().unwrap());
    }
    let generation = generation.unwrap();
    let kept = files.keep(&generation.files);
    let reader = open(&kept, &generation);
    assert_eq!(found(&reader, "shared").len(), 12);
    assert!(kept.names().len() <= files.names().len());

    let mut next = writer(&kept, Some(&generation));
    add(&mut next, &Paper::new("more.txt", "shared words"));
    let next = next.commit().unwrap();
    assert_eq!(found(&open(&kept, &next), "shared").len(), 13);
}

#[test]
fn an_empty_index_opens_and_finds_nothing() {
    let files = MemoryFiles::default();
    let generation = writer(&files, None).commit().unwrap();
    assert_eq!((generation.documents, generation.files.len()), (0, 0));
    let reader = open(&files, &generation);
    assert_eq!(ask(&reader, "a OR ba* NOT \"c d\"").total, 0);
    assert_eq!(index::retrieve(&[reader], "what is it?", &index::Scope::default(), 5).unwrap(), []);
    assert_eq!(index::retrieve(&[], "what?", &index::Scope::default(), 5).unwrap(), []);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let papers: Vec<Paper> =
        (0..40).map(|n| Paper::new(&format!("{n}.txt"), &format!("word {n} ").repeat(200))).collect();
    let build = || {
        let files = MemoryFiles::default();
        let mut writer = writer(&files, None);
        for paper in &papers {
            add(&mut writer, paper);
        }
        let generation = writer.commit().unwrap();
        // A second session with a delete, so that there is a list of deleted entries to damage.
        let mut again = Writer::open(Arc::new(files.clone()), Some(&generation.meta), 0, 1).unwrap();
        again.delete(papers[3].id).unwrap();
        let generation = again.commit().unwrap();
        (files, generation)
    };
    let (_, generation) = build();
    let everything = |reader: &Reader| -> Result<(), Error> {
        for query in ["word", "\"word 7\"", "wo*", "NOT word", "date:2024"] {
            index::search(std::slice::from_ref(reader), &SearchRequest::new(index::query::parse(query).unwrap()))?;
        }
        index::retrieve(std::slice::from_ref(reader), "which word is in 7.txt?", &index::Scope::default(), 5)?;
        Ok(())
    };
    let mut failed = 0;
    for number in 0..generation.files.len() {
        for when in ["before opening", "after opening", "missing"] {
            let (files, generation) = build();
            let name = &generation.files[number];
            let opened = |files: &MemoryFiles| {
                Reader::open(Arc::new(files.clone()), &generation.meta, &BlockCache::new(0).of(DatabaseId::new()))
            };
            let outcome = match when {
                "after opening" => {
                    let reader = opened(&files).unwrap();
                    files.tamper(name);
                    everything(&reader)
                }
                "missing" => {
                    files.forget(name);
                    opened(&files).and_then(|reader| everything(&reader))
                }
                _ => {
                    files.tamper(name);
                    opened(&files).and_then(|reader| everything(&reader))
                }
            };
            failed += usize::from(outcome.is_err());
            if when != "after opening" {
                let error = outcome.expect_err(&format!("{name} {when}"));
                assert!(matches!(error, Error::Engine(_)), "{name} {when}: {error}");
            }
        }
    }
    assert!(failed > generation.files.len() * 2, "damage after opening is noticed too");
}

#[test]
fn meta_that_is_not_ours_is_refused() {
    let files = MemoryFiles::default();
    let generation = writer(&files, None).commit().unwrap();
    let meta = String::from_utf8(generation.meta).unwrap();
    for bad in ["", "{", &meta.replace("\"passage\"", "\"other\"")] {
        assert!(
            Reader::open(Arc::new(files.clone()), bad.as_bytes(), &BlockCache::new(0).of(DatabaseId::new())).is_err(),
            "{bad}"
        );
        assert!(Writer::open(Arc::new(files.clone()), Some(bad.as_bytes()), 0, 1).is_err(), "{bad}");
    }
}

#[test]
fn readers_keep_their_generation_while_a_writer_works() {
    let files = MemoryFiles::default();
    let papers: Vec<Paper> = (0..30).map(|n| Paper::new(&format!("{n}.txt"), "word before")).collect();
    let mut first = writer(&files, None);
    for paper in &papers {
        add(&mut first, paper);
    }
    let first = first.commit().unwrap();
    let reader = open(&files.keep(&first.files), &first);
    let second = std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| (0..50).for_each(|_| assert_eq!(ask(&reader, "before").total, 30)));
        }
        let mut second = writer(&files, Some(&first));
        for paper in &papers[..20] {
            second.delete(paper.id).unwrap();
        }
        add(&mut second, &Paper::new("new.txt", "word after"));
        second.commit().unwrap()
    });
    assert_eq!(ask(&reader, "word").total, 30);
    assert_eq!(ask(&open(&files, &second), "word").total, 11);
}

#[test]
fn several_threads_index_the_same_as_one() {
    let papers: Vec<Paper> = (0..200).map(|n| Paper::new(&format!("{n}.txt"), &format!("word number{n}"))).collect();
    let files = MemoryFiles::default();
    let mut many = Writer::open(Arc::new(files.clone()), None, 64 << 20, 4).unwrap();
    for paper in &papers {
        add(&mut many, paper);
    }
    let generation = many.commit().unwrap();
    assert_eq!(generation.documents, 200);
    assert_eq!(found(&open(&files, &generation), "word"), found(&indexed(&papers), "word"));
    assert!(files.bytes() > 0);
}
