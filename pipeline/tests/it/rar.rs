//! RAR archives of every age: their members, their passwords, their damage, their malice.

use std::collections::BTreeSet;

use domain::outcome::Category;
use pipeline::{Format, Limits, ReadError, Reader, Unpacked, identify};

use crate::machine::{Members, NEVER, category, extract, file, limited, reader, secrets};

const ALL: [&str; 15] = [
    "rar13.rar",
    "rar13_folder.rar",
    "rar25_solid.rar",
    "rar3_solid.rar",
    "rar3_ppmd.rar",
    "rar3_filter.rar",
    "rar4_locked.rar",
    "rar4_locked_directory.rar",
    "rar5.rar",
    "rar5_solid.rar",
    "rar5_filter.rar",
    "rar5_locked.rar",
    "rar5_locked_directory.rar",
    "rar5_links.rar",
    "rar5_volume.part1.rar",
];

fn open(reader: &Reader, bytes: &[u8]) -> (Result<Unpacked, ReadError>, Members) {
    let mut members = Members::default();
    (reader.unpack(Format::Rar, "papers.rar", &mut &bytes[..], &mut members, &NEVER), members)
}

fn paths(found: &Members) -> Vec<&str> {
    found.0.iter().map(|(head, ..)| head.path.as_str()).collect()
}

fn failures(found: &Members) -> Vec<Option<Category>> {
    found.0.iter().map(|(.., failure)| failure.as_ref().map(|exception| exception.category)).collect()
}

/// A path, its size, and how its content begins.
type Expected<'a> = (&'a str, usize, &'a str);

#[test]
fn members_of_every_age() {
    let golden: [(&str, &[Expected<'_>]); 8] = [
        ("rar13.rar", &[("HELLO.TXT", 33, "Hello, RAR 1.402 fixture world."), ("TINY.TXT", 10, "AAAAAAAA\r\n")]),
        ("rar13_folder.rar", &[("SUBDIR/INNER.TXT", 16, "Inside subdir.")]),
        (
            "rar25_solid.rar",
            &[("SOLID1.TXT", 15_840, "RAR 2.50 solid dictionary"), ("SOLID2.TXT", 13_800, "RAR 2.50 solid dictionary")],
        ),
        (
            "rar3_solid.rar",
            &[("one.txt", 48, "shared prefix shared prefix"), ("two.txt", 47, "shared prefix shared prefix")],
        ),
        (
            "rar3_ppmd.rar",
            &[("repeated_phrase_64k.txt", 44_544, "alpha beta gamma delta epsilon zeta eta theta\nalpha")],
        ),
        ("rar3_filter.rar", &[("x86_e8_stream.bin", 196_608, "\u{e8}")]),
        (
            "rar5.rar",
            &[("hello.txt", 30, "Hello, RAR 5.0 fixture"), ("tiny.txt", 9, "AAAAAAAA\n"), ("random_4k.bin", 4_096, "")],
        ),
        ("rar5_solid.rar", &[("hello.txt", 30, "Hello, RAR 5.0 fixture world.\n"), ("tiny.txt", 9, "AAAAAAAA\n")]),
    ];
    for (name, expected) in golden {
        let bytes = file(name);
        assert_eq!(identify(&bytes, "").format, Format::Rar, "{name}");
        let (result, found) = open(&reader(), &bytes);
        assert_eq!(result.unwrap().failed, 0, "{name}: {found:?}");
        assert_eq!(found.0.len(), expected.len(), "{name}");
        for ((head, content, _), (path, size, begins)) in found.0.iter().zip(expected) {
            assert_eq!((head.path.as_str(), content.len()), (*path, *size), "{name}");
            let text: String = content.iter().map(|byte| char::from(*byte)).collect();
            assert!(text.starts_with(begins), "{name}: {path}");
        }
        assert_eq!(extract(&reader(), name, &bytes).unwrap().text, paths(&found).join("\n"), "{name}");
    }
    let (_, found) = open(&reader(), &file("rar5_filter.rar"));
    assert!(found.0[0].1.starts_with(b"\x00\x11\x22\x33\x01\x12\x23\x34") && found.0[0].1.len() == 262_144);
    let (_, found) = open(&reader(), &file("rar5.rar"));
    assert_eq!(found.0[0].0.modified.unwrap().0, 1_777_267_381_294_316);
    let (_, found) = open(&reader(), &file("rar3_solid.rar"));
    assert_eq!(found.0[0].0.modified.unwrap().rfc3339(), "2026-04-29T04:05:38Z");
}

#[test]
fn passwords_of_members_and_directories() {
    let encrypted = Some(Category::Encrypted);
    let cases = [
        ("rar4_locked.rar", "known-pass", vec![None, encrypted, encrypted]),
        ("rar5_locked.rar", "password", vec![encrypted]),
        ("rar4_locked_directory.rar", "password", vec![]),
        ("rar5_locked_directory.rar", "password", vec![]),
    ];
    for (name, password, locked) in cases {
        let bytes = file(name);
        for reader in [reader(), reader().with_passwords(secrets(&["wrong", "Password"]))] {
            let (result, shut) = open(&reader, &bytes);
            assert_eq!(failures(&shut), locked, "{name}");
            if locked.is_empty() {
                assert_eq!(category(result), Category::Encrypted, "{name}");
                assert_eq!(category(extract(&reader, name, &bytes)), Category::Encrypted, "{name}");
            } else {
                assert_eq!(result.unwrap().opened_with, BTreeSet::new(), "{name}");
            }
        }
        let (_, shut) = open(&reader(), &bytes);
        let (result, found) = open(&reader().with_passwords(secrets(&["wrong", password])), &bytes);
        let done = result.unwrap();
        assert_eq!((done.failed, done.opened_with), (0, BTreeSet::from([1])), "{name}");
        assert!(shut.0.iter().zip(&found.0).all(|(shut, found)| shut.0 == found.0), "{name}: the ordinals stay");
        assert!(found.0.iter().all(|(_, content, _)| !content.is_empty()), "{name}");
    }
    let (_, found) = open(&reader().with_passwords(secrets(&["known-pass"])), &file("rar4_locked.rar"));
    assert_eq!(paths(&found), ["1File.txt", "2中文.txt", "3Sec.txt"]);
    assert_eq!(found.0[1].1, b"known encrypted unicode payload\n");
}

#[test]
fn links_and_volumes_have_a_name() {
    let (result, found) = open(&reader(), &file("rar5_links.rar"));
    assert_eq!((result.unwrap().failed, paths(&found)), (2, vec!["file.txt", "symlink.txt", "dirlink"]));
    assert_eq!(failures(&found), [None, Some(Category::Unsupported), Some(Category::Unsupported)]);
    assert_eq!(found.0[0].1, b"1234\n");
    let (result, found) = open(&reader(), &file("rar5_volume.part1.rar"));
    assert_eq!((result.unwrap().members, failures(&found)), (1, vec![Some(Category::Unsupported)]));
    assert!(found.0[0].2.as_ref().unwrap().detail.contains("another volume"), "{found:?}");
}

#[test]
fn limits_hold() {
    let few = limited(Limits { max_members: 2, ..Limits::default() });
    assert_eq!(category(open(&few, &file("rar5.rar")).0), Category::TooManyMembers);
    let flat = limited(Limits { ratio_floor_bytes: 1_000, max_ratio: 20, ..Limits::default() });
    for name in ["rar3_ppmd.rar", "rar3_filter.rar", "rar5_filter.rar"] {
        assert_eq!(category(open(&flat, &file(name)).0), Category::ArchiveBomb, "{name}");
    }
}

/// A number of seven bits a byte at `at`, and where it ends.
fn number(bytes: &[u8], mut at: usize) -> (u64, usize) {
    let (mut value, mut shift) = (0, 0);
    loop {
        value |= u64::from(bytes[at] & 0x7f) << shift;
        (at, shift) = (at + 1, shift + 7);
        if bytes[at - 1] & 0x80 == 0 {
            return (value, at);
        }
    }
}

#[test]
fn dictionaries_are_held_to_the_memory() {
    let mut bytes = file("rar5_filter.rar");
    // The second header is the file's: checksum, size, kind, flags, sizes, and so on to what says how it is compressed.
    let (length, after) = number(&bytes, 8 + 4);
    let header = after + usize::try_from(length).unwrap();
    let (length, start) = number(&bytes, header + 4);
    let end = start + usize::try_from(length).unwrap();
    let (kind, at) = number(&bytes, start);
    let (flags, mut at) = number(&bytes, at);
    assert_eq!((kind, flags & 2), (2, 2));
    for _ in 0..=flags & 1 {
        at = number(&bytes, at).1;
    }
    let (flags, at) = number(&bytes, at);
    let sums = usize::try_from((flags >> 1 & 1) + (flags >> 2 & 1)).unwrap() * 4;
    let at = number(&bytes, number(&bytes, at).1).1 + sums;
    assert_eq!(number(&bytes, at).1, at + 2);
    // Fifteen doublings of 128 KiB.
    bytes[at + 1] |= 0x78;
    let mut sum = flate2::Crc::new();
    sum.update(&bytes[header + 4..end]);
    bytes[header..header + 4].copy_from_slice(&sum.sum().to_le_bytes());
    let (result, found) = open(&reader(), &bytes);
    assert_eq!((result.unwrap().failed, failures(&found)), (1, vec![Some(Category::Memory)]));
}

#[test]
fn cut_and_bent_archives_never_crash() {
    let reader = reader().with_passwords(secrets(&["password", "known-pass"]));
    let mut kept = 0;
    for name in ALL {
        let whole = file(name);
        let step = (whole.len() / 24).max(1);
        let cut = (0..whole.len()).step_by(step).map(|length| whole[..length].to_vec());
        let bent = (7..whole.len()).step_by(step).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for bytes in cut.chain(bent).filter(|bytes| bytes.len() > 8) {
            let (result, found) = open(&reader, &bytes);
            kept += found.0.iter().filter(|(.., failure)| failure.is_none()).count();
            let failed = found.0.iter().filter_map(|(.., failure)| failure.as_ref().map(|one| one.category));
            let whole = match result {
                Err(ReadError::Exception(exception)) => Some(exception.category),
                Err(other) => panic!("{name}: {other:?}"),
                Ok(_) => None,
            };
            for category in failed.chain(whole) {
                let named = [Category::Corrupt, Category::Encrypted, Category::Unsupported, Category::Memory];
                assert!(named.contains(&category), "{name}: {category:?}");
            }
        }
    }
    // Damage costs what it hits.
    assert!(kept > 100, "{kept}");
}
