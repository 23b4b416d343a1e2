//! Archives of every kind: their members, their passwords, their damage, their malice.

use std::{collections::BTreeSet, io::Write};

use domain::outcome::Category;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use pipeline::{Format, Limits, ReadError, Reader, identify};
use tar::{EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    containers::zip,
    machine::{Members, NEVER, category, extract, file, limited, reader, secrets, unpack},
};

fn words(name: &str) -> Vec<u8> {
    format!("Words of the member {name}. ").repeat(40).into_bytes()
}

fn paths(found: &Members) -> Vec<&str> {
    found.0.iter().map(|(head, ..)| head.path.as_str()).collect()
}

fn failures(found: &Members) -> Vec<Option<Category>> {
    found.0.iter().map(|(.., failure)| failure.as_ref().map(|exception| exception.category)).collect()
}

/// Opens `bytes` as what they are, under `name`.
fn open(reader: &Reader, name: &str, bytes: &[u8]) -> (Result<pipeline::Unpacked, ReadError>, Members) {
    let mut members = Members::default();
    let format = identify(bytes, "").format;
    (reader.unpack(format, name, &mut &bytes[..], &mut members, &NEVER), members)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tar(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, bytes) in members {
        let mut header = Header::new_gnu();
        // Straight into the field: the library would refuse names that lead out of a folder.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_706_691_600);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn tar_members_and_what_is_none() {
    let long = "n".repeat(90);
    let bytes = tar(&[
        ("folder/", EntryType::Directory, b""),
        ("folder/a.txt", FILE, b"alpha"),
        ("../../etc/passwd", FILE, b"beta"),
        ("hard", EntryType::Link, b""),
        ("soft", EntryType::Symlink, b""),
        ("pipe", EntryType::Fifo, b""),
        (&long, FILE, b""),
    ]);
    let (result, found) = open(&reader(), "papers.tar", &bytes);
    let done = result.unwrap();
    assert_eq!((done.members, done.failed, done.bytes), (6, 3, 9));
    assert_eq!(paths(&found), ["folder/a.txt", "../../etc/passwd", "hard", "soft", "pipe", &long]);
    let unsupported = Some(Category::Unsupported);
    assert_eq!(failures(&found), [None, None, unsupported, unsupported, unsupported, None]);
    assert_eq!(found.0[1].1, b"beta");
    assert_eq!(found.0[0].0.modified.unwrap().rfc3339(), "2024-01-31T09:00:00Z");
    let listed = extract(&reader(), "papers.tar", &bytes).unwrap();
    assert_eq!(listed.text.lines().collect::<Vec<_>>(), paths(&found));
    // Cut within the second file: what stands before is good, and the container says what is missing.
    let (result, found) = open(&reader(), "papers.tar", &bytes[..2048]);
    assert_eq!((category(result), found.0[0].1.as_slice()), (Category::Corrupt, &b"alpha"[..]));
}

#[test]
fn tar_of_every_age() {
    // Before ustar there was no mark, only the checksum.
    let mut old = tar(&[("old.txt", FILE, b"old words")]);
    old[257..265].fill(0);
    let sum: u32 =
        old[..512].iter().zip(0..).map(|(byte, at)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum();
    old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(identify(&old, "").format, Format::Tar);
    assert_eq!(open(&reader(), "old.tar", &old).1.0[0].1, b"old words");
    // Pax: long names, and sparse files that cannot be expanded.
    let name = format!("{}/ü.txt", "d".repeat(120));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len();
        while length < rest.len() + length.to_string().len() {
            length += 1;
        }
        format!("{length}{rest}")
    };
    let pax = tar(&[
        ("x", EntryType::XHeader, record("path", &name).as_bytes()),
        ("short", FILE, b"long"),
        ("x", EntryType::XHeader, record("GNU.sparse.major", "1").as_bytes()),
        ("sparse", FILE, b"1\n0\n4\n"),
    ]);
    let (result, found) = open(&reader(), "pax.tar", &pax);
    assert_eq!(result.unwrap().members, 2);
    assert_eq!(paths(&found), [name.as_str(), "sparse"]);
    assert_eq!(failures(&found), [None, Some(Category::Unsupported)]);
}

#[test]
fn compressed_tars_are_one_archive() {
    let bytes = gzip(&tar(&[("letter.txt", FILE, &words("letter.txt")), ("b/memo.txt", FILE, b"memo")]));
    let (result, found) = open(&reader(), "papers.tgz", &bytes);
    assert_eq!(result.unwrap().members, 2);
    assert_eq!(paths(&found), ["letter.txt", "b/memo.txt"]);
    assert_eq!(extract(&reader(), "papers.tgz", &bytes).unwrap().text, "letter.txt\nb/memo.txt");
    for name in ["papers.tar.xz", "papers.tar.zst"] {
        let (result, found) = open(&reader(), name, &file(name));
        assert_eq!(result.unwrap().failed, 0, "{name}");
        assert_eq!(paths(&found), ["letter.txt", "folder/memo.txt"], "{name}");
        assert_eq!(found.0[1].1, words("folder/memo.txt"), "{name}");
    }
}

#[test]
fn a_compressed_file_keeps_its_name() {
    let mut encoder =
        GzBuilder::new().filename("Übersicht.csv").mtime(1_706_691_600).write(Vec::new(), Compression::fast());
    encoder.write_all(b"a,b\n").unwrap();
    let named = encoder.finish().unwrap();
    let (_, found) = open(&reader(), "renamed.gz", &named);
    assert_eq!((paths(&found)[0], found.0[0].1.as_slice()), ("Übersicht.csv", &b"a,b\n"[..]));
    assert_eq!(found.0[0].0.modified.unwrap().rfc3339(), "2024-01-31T09:00:00Z");
    // Two streams are one file; what follows is padding.
    let parts = [gzip(b"one "), gzip(b"two"), b"\0\0\0".to_vec()].concat();
    let (result, found) = open(&reader(), "box/letter.txt.GZ", &parts);
    assert_eq!((result.unwrap().failed, paths(&found)[0], found.0[0].1.as_slice()), (0, "letter.txt", &b"one two"[..]));
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(b"bee").unwrap();
    let (_, found) = open(&reader(), "bee.txt.bz2", &encoder.finish().unwrap());
    assert_eq!((paths(&found)[0], found.0[0].1.as_slice()), ("bee.txt", &b"bee"[..]));
}

#[test]
fn zip_methods() {
    let (result, found) = open(&reader(), "methods.zip", &file("methods.zip"));
    assert_eq!(result.unwrap().failed, 1);
    for (head, content, failure) in &found.0 {
        match failure {
            None => assert_eq!(*content, words(&head.path), "{}", head.path),
            Some(exception) => {
                assert_eq!((head.path.as_str(), exception.category), ("wavpack.wv", Category::Unsupported));
            }
        }
    }
    assert_eq!(found.0.len(), 8);
}

#[test]
fn zip_methods_before_deflate() {
    let (result, found) = open(&reader(), "old.zip", &file("old.zip"));
    assert_eq!(result.unwrap().failed, 0, "{:?}", failures(&found));
    assert_eq!(found.0.len(), 6);
    let text = |at: usize| String::from_utf8_lossy(&found.0[at].1).into_owned();
    assert_eq!((paths(&found)[0], paths(&found)[1]), ("moby.122", "moby.120"));
    assert!(text(0).contains("MIDNIGHT ALOFT--THUNDER AND LIGHTNING") && text(0).contains("Stop that thunder!"));
    assert!(text(1).contains("Starbuck") && found.0[1].1.len() == 1078, "{}", text(1));
    for (head, content, _) in &found.0[2..] {
        assert_eq!(*content, [words(&head.path), vec![144, 144, 0x41]].concat(), "{}", head.path);
    }
    // Without the directory they are decoded all the same.
    let whole = file("old.zip");
    let directory = whole.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let (_, walked) = open(&reader(), "old.zip", &whole[..directory]);
    assert!(walked.0.iter().zip(&found.0).all(|(walked, found)| walked.1 == found.1));
}

#[test]
fn hostile_members_of_old_methods_fail_alone() {
    let whole = file("old.zip");
    let directory = whole.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    for at in (40..directory).step_by(23) {
        for flipped in [0xff, 0x10] {
            let mut bytes = whole.clone();
            bytes[at] ^= flipped;
            let (result, found) = open(&reader(), "old.zip", &bytes);
            assert!(result.is_ok(), "{at}: {result:?}");
            assert!(found.0.iter().filter(|(.., failure)| failure.is_none()).count() >= 4, "{at}");
        }
    }
    // The library keeps all of such a member in memory, so its size is held to that.
    let mut bytes = whole.clone();
    for at in (0..whole.len() - 46).filter(|at| whole[*at..].starts_with(b"PK\x01\x02")).collect::<Vec<_>>() {
        bytes[at + 24..at + 28].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    }
    let (result, found) = open(&reader(), "old.zip", &bytes);
    assert_eq!(result.unwrap().failed, 6);
    assert_eq!(failures(&found), [Some(Category::Memory); 6]);
}

#[test]
fn zip_passwords() {
    let encrypted = Some(Category::Encrypted);
    let files = [
        ("aes.zip", file("aes.zip"), [encrypted, None, encrypted]),
        ("zipcrypto.zip", file("zipcrypto.zip"), [encrypted, None, encrypted]),
    ];
    for (name, bytes, locked) in files {
        let (result, shut) = open(&reader().with_passwords(secrets(&["wrong"])), name, &bytes);
        assert_eq!((failures(&shut), result.unwrap().opened_with), (locked.to_vec(), BTreeSet::new()), "{name}");
        let many: Vec<String> = (0..300).map(|number| format!("wrong{number}")).collect();
        let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
        many.extend(["secret", "other", "sécret"]);
        let (result, found) = open(&reader().with_passwords(secrets(&many)), name, &bytes);
        let expected = if name == "aes.zip" { BTreeSet::from([302]) } else { BTreeSet::from([300, 301]) };
        assert_eq!(result.unwrap().opened_with, expected, "{name}");
        for ((head, content, failure), (before, ..)) in found.0.iter().zip(&shut.0) {
            assert_eq!((head, failure), (before, &None), "{name}: the ordinals stay");
            assert_eq!(*content, words(&head.path), "{name}");
        }
    }
}

#[test]
fn zip_without_its_directory() {
    let names = ["a.txt", "b.txt", "c.txt"];
    let contents: Vec<Vec<u8>> = names.iter().map(|name| words(name)).collect();
    let whole = zip(&[("a.txt", &contents[0]), ("b.txt", &contents[1]), ("c.txt", &contents[2])]);
    let directory = whole.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let third = whole.windows(5).position(|five| five == b"c.txt").unwrap();
    let (result, found) = open(&reader(), "cut.zip", &whole[..directory]);
    let Err(ReadError::Exception(exception)) = result else { panic!("{result:?}") };
    assert_eq!(exception.category, Category::Partial);
    assert!(exception.detail.contains("3 members"), "{}", exception.detail);
    assert_eq!(paths(&found), names);
    assert!(found.0.iter().zip(&contents).all(|((_, content, _), expected)| content == expected));
    // Cut within the last member as well.
    let (_, found) = open(&reader(), "cut.zip", &whole[..third + 20]);
    assert_eq!(failures(&found), [None, None, Some(Category::Corrupt)]);
    // Sizes that stand behind the data, with and without a directory; and a password.
    let streamed = {
        let mut writer = ZipWriter::new_stream(Vec::new());
        for name in names {
            writer
                .start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated))
                .unwrap();
            writer.write_all(&words(name)).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    let directory = streamed.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let (_, found) = open(&reader(), "streamed.zip", &streamed[..directory]);
    assert_eq!((paths(&found), failures(&found)), (names.to_vec(), vec![None; 3]));
    let locked = file("aes.zip");
    let directory = locked.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let (_, found) = open(&reader().with_passwords(secrets(&["sécret"])), "locked.zip", &locked[..directory]);
    assert_eq!(failures(&found), [None, None, None]);
    assert_eq!(found.0[2].1, words("a256.txt"));
    // Nothing but noise.
    assert_eq!(category(unpack(&reader(), Format::Zip, b"PK\x03\x04 and nothing more").0), Category::Corrupt);
}

#[test]
fn zip_that_lists_a_name_twice() {
    let mut bytes = zip(&[("draft.txt", b"first"), ("final.txt", b"second")]);
    for at in (0..bytes.len() - 9).filter(|at| bytes[*at..].starts_with(b"final.txt")).collect::<Vec<_>>() {
        bytes[at..at + 9].copy_from_slice(b"draft.txt");
    }
    let (result, found) = open(&reader(), "twice.zip", &bytes);
    assert_eq!(result.unwrap().members, 2);
    assert_eq!((found.0[0].1.as_slice(), found.0[1].1.as_slice()), (&b"first"[..], &b"second"[..]));
    assert_eq!(extract(&reader(), "twice.zip", &bytes).unwrap().text, "draft.txt\ndraft.txt");
}

#[test]
fn seven_zip() {
    let names = ["letter.txt", "folder/memo.txt", "note.txt", "empty.txt"];
    let (result, found) = open(&reader(), "papers.7z", &file("papers.7z"));
    assert_eq!(result.unwrap().failed, 0);
    assert_eq!(paths(&found).into_iter().collect::<BTreeSet<_>>(), names.into_iter().collect());
    for (head, content, _) in found.0.iter().filter(|(head, ..)| head.path != "empty.txt") {
        assert_eq!(*content, words(&head.path));
        assert_eq!(head.modified.unwrap().rfc3339(), "2024-01-31T09:00:00Z");
    }
    // Members under a password fail by name; a directory under one hides even the names.
    let (result, shut) = open(&reader(), "locked.7z", &file("locked_members.7z"));
    assert!(result.unwrap().failed >= 3);
    assert!(shut.0.iter().all(|(head, _, failure)| head.path == "empty.txt" || failure.is_some()));
    assert_eq!(category(open(&reader(), "locked.7z", &file("locked_directory.7z")).0), Category::Encrypted);
    assert_eq!(category(extract(&reader(), "locked.7z", &file("locked_directory.7z"))), Category::Encrypted);
    for name in ["locked_members.7z", "locked_directory.7z"] {
        let (result, found) = open(&reader().with_passwords(secrets(&["wrong", "sécret"])), name, &file(name));
        assert_eq!(result.unwrap().opened_with, BTreeSet::from([1]), "{name}");
        assert!(found.0.iter().all(|(_, _, failure)| failure.is_none()), "{name}");
        let letter = found.0.iter().find(|(head, ..)| head.path == "letter.txt").unwrap();
        assert_eq!(letter.1, words("letter.txt"), "{name}");
        if name == "locked_members.7z" {
            let heads = |members: &Members| members.0.iter().map(|(head, ..)| head.clone()).collect::<Vec<_>>();
            assert_eq!(heads(&shut), heads(&found), "the ordinals stay");
        }
    }
}

#[test]
fn bombs_end_by_name() {
    let zeros = vec![0; 24 << 20];
    let bombs = [
        ("bomb.gz", gzip(&zeros)),
        ("bomb.tar.gz", gzip(&tar(&[("zeros", FILE, &zeros)]))),
        ("bomb.zip", zip(&[("zeros", &zeros)])),
        // Sixteen layers are the caller's to count; one of them is one member.
        ("nested.zip", zip(&[("inner.zip", &zip(&[("deeper.zip", &zip(&[("x", b"x")]))]))])),
    ];
    for (name, bytes) in bombs {
        let (result, found) = open(&reader(), name, &bytes);
        if name == "nested.zip" {
            assert_eq!((result.unwrap().members, paths(&found)[0]), (1, "inner.zip"));
        } else {
            assert_eq!(category(result), Category::ArchiveBomb, "{name}");
        }
    }
    let listed = extract(&reader(), "bomb.tar.gz", &gzip(&tar(&[("zeros", FILE, &zeros)])));
    assert_eq!(category(listed), Category::ArchiveBomb);
    let many: Vec<(&str, EntryType, &[u8])> = vec![("x", FILE, b""); 30];
    let few = limited(Limits { max_members: 20, ..Limits::default() });
    assert_eq!(category(open(&few, "many.tar", &tar(&many)).0), Category::TooManyMembers);
    // A hole of an exabyte, in the size field that GNU widens.
    let mut claims = tar(&[("huge", FILE, b"x")]);
    claims[124..136].copy_from_slice(b"\x80\0\0\0\x0f\0\0\0\0\0\0\0");
    let sum: u32 = claims[..512]
        .iter()
        .zip(0..)
        .map(|(byte, at)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    claims[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(!matches!(open(&reader(), "huge.tar", &claims).0, Ok(done) if done.failed == 0));
}

#[test]
fn dictionaries_are_held_to_the_memory() {
    // XZ: the block header's LZMA2 property 40 asks for 4 GiB; the CRC of the header is made to fit.
    let mut xz = file("papers.tar.xz");
    let header = 12..12 + (usize::from(xz[12]) + 1) * 4;
    let filter = xz[header.clone()].windows(2).position(|two| two == [0x21, 0x01]).unwrap() + header.start;
    xz[filter + 2] = 40;
    let mut crc = flate2::Crc::new();
    crc.update(&xz[header.start..header.end - 4]);
    xz[header.end - 4..header.end].copy_from_slice(&crc.sum().to_le_bytes());
    let (_, found) = open(&reader(), "huge.xz", &xz);
    assert_eq!(failures(&found), [Some(Category::Memory)]);
    // Zstandard: a window of 3 TiB.
    let zstd = [&b"\x28\xb5\x2f\xfd\x00\xff"[..], &[0; 20]].concat();
    let (_, found) = open(&reader(), "huge.zst", &zstd);
    assert_eq!(failures(&found), [Some(Category::Memory)]);
    // LZMA in ZIP: the dictionary stands in the member's first bytes.
    let mut zip = file("methods.zip");
    let lzma = zip.windows(8).position(|eight| eight == b"lzma.txt").unwrap() + 8;
    zip[lzma + 5..lzma + 9].fill(0xff);
    let (_, found) = open(&reader(), "huge.zip", &zip);
    assert_eq!(found.0.iter().filter(|(.., failure)| failure.is_some()).count(), 2);
    let lzma = found.0.iter().find(|(head, ..)| head.path == "lzma.txt").unwrap();
    assert_eq!(lzma.2.as_ref().unwrap().category, Category::Memory);
    // 7z: less memory than the dictionary of an honest archive.
    let small = limited(Limits { memory_bytes: 256 << 20, ..Limits::default() });
    assert_eq!(open(&small, "papers.7z", &file("papers.7z")).0.unwrap().failed, 0);
}

#[test]
fn cut_and_bent_archives_never_crash() {
    let samples = [
        ("a.zip", file("aes.zip")),
        ("b.zip", file("methods.zip")),
        ("c.tar", tar(&[("a", FILE, b"alpha"), ("b", EntryType::Link, b"")])),
        ("d.tgz", gzip(&tar(&[("a", FILE, b"alpha")]))),
        ("e.xz", file("papers.tar.xz")),
        ("f.zst", file("papers.tar.zst")),
        ("g.7z", file("papers.7z")),
        ("h.7z", file("locked_members.7z")),
    ];
    let reader = reader().with_passwords(secrets(&["sécret"]));
    for (name, bytes) in samples {
        let format = identify(&bytes, "").format;
        let step = bytes.len().div_ceil(24);
        for cut in (0..bytes.len()).step_by(step) {
            let mut bent = bytes.clone();
            bent[cut] ^= 0xff;
            for hostile in [&bytes[..cut], &bent] {
                let (result, _) = unpack(&reader, format, hostile);
                if let Err(error) = result {
                    let ReadError::Exception(exception) = error else { panic!("{name} {cut}: {error}") };
                    assert_ne!(exception.category, Category::Crashed, "{name} {cut}: {}", exception.detail);
                }
            }
        }
    }
}
