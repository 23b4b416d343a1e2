//! Keys: the root key file, wrapping, column sealing, and the sealed object format against everything done to its bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
};

use domain::{
    files::ReadAt as _,
    ids::{BlobId, CaseId, DocumentId},
};
use proptest::prelude::*;
use storage::{
    objects::{BlobKind, Objects},
    vault::{
        CaseKey, FIRST_CASE_KEY_VERSION, Place, Vault, VaultError,
        chunked::{self, CHUNK, HEADER, Opener, Sealer},
    },
};
use tempfile::TempDir;

const SEALED_CHUNK: usize = CHUNK + 16;

fn key() -> CaseKey {
    let dir = TempDir::new().unwrap();
    Vault::open(dir.path()).unwrap().new_case_key(CaseId::new()).unwrap().0
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

fn seal(key: &CaseKey, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(key, context, Vec::new()).unwrap();
    sealer.write_all(plain).unwrap();
    sealer.finish().unwrap()
}

/// Opens and reads everything.
fn open(key: &CaseKey, context: &[u8], sealed: Vec<u8>) -> io::Result<Vec<u8>> {
    let opener = Opener::open(key, context, sealed)?;
    opener.read_at(0..opener.len())
}

fn assert_refused(key: &CaseKey, context: &[u8], sealed: Vec<u8>, what: &str) {
    match open(key, context, sealed) {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}"),
        Ok(_) => panic!("{what} was accepted"),
    }
}

// The root key.

#[test]
fn the_root_key_is_made_once_for_its_owner_only() {
    let dir = TempDir::new().unwrap();
    let first = Vault::open(dir.path()).unwrap();
    let metadata = fs::metadata(dir.path().join("root.key")).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    let second = Vault::open(dir.path()).unwrap();
    assert_eq!(first.blind_index("email", "a@b.c"), second.blind_index("email", "a@b.c"));
}

#[test]
fn processes_that_start_together_agree_on_one_root_key() {
    let dir = TempDir::new().unwrap();
    let indexes: Vec<_> = thread::scope(|scope| {
        let open = || Vault::open(dir.path()).unwrap().blind_index("email", "a@b.c");
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(indexes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_root_key_that_others_can_read_or_of_another_shape_is_refused() {
    let dir = TempDir::new().unwrap();
    Vault::open(dir.path()).unwrap();
    let path = dir.path().join("root.key");
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Vault::open(dir.path()), Err(VaultError::RootMode { .. })), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for length in [0, 31, 33] {
        fs::write(&path, vec![7; length]).unwrap();
        assert!(matches!(Vault::open(dir.path()), Err(VaultError::RootShape { .. })), "{length}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(Vault::open(dir.path()), Err(VaultError::RootShape { .. })));
    assert!(matches!(Vault::open(&dir.path().join("absent")), Err(VaultError::RootFile { .. })));
}

// Keys under it.

#[test]
fn a_case_key_unwraps_only_for_its_root_case_and_version() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let vault = Vault::open(dir.path()).unwrap();
    let (case, place) = (CaseId::new(), Place::new("messages", "body", DocumentId::new()));
    let (key, wrapped) = vault.new_case_key(case).unwrap();
    let sealed = key.seal(&place, b"x").unwrap();

    let again = Vault::open(dir.path()).unwrap().unwrap_case_key(case, FIRST_CASE_KEY_VERSION, &wrapped).unwrap();
    assert_eq!(again.open(&place, &sealed).unwrap(), b"x");

    let refused = |vault: &Vault, case, version, wrapped: &[u8]| {
        matches!(vault.unwrap_case_key(case, version, wrapped), Err(VaultError::CaseKey))
    };
    assert!(refused(&Vault::open(other.path()).unwrap(), case, 1, &wrapped), "another root key");
    assert!(refused(&vault, CaseId::new(), 1, &wrapped), "another case");
    assert!(refused(&vault, case, 2, &wrapped), "another version");
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(refused(&vault, case, 1, &altered), "byte {at}");
        assert!(refused(&vault, case, 1, &wrapped[..at]), "cut at {at}");
    }
}

#[test]
fn a_column_opens_only_in_its_place() {
    let (key, row) = (key(), DocumentId::new());
    let place = Place::new("documents", "name", row);
    let sealed = key.seal(&place, b"privileged.pdf").unwrap();
    assert_eq!(key.open(&place, &sealed).unwrap(), b"privileged.pdf");
    assert_ne!(key.seal(&place, b"privileged.pdf").unwrap(), sealed, "equal values must not look equal");
    assert_eq!(key.open(&place, &key.seal(&place, b"").unwrap()).unwrap(), b"");

    let elsewhere = [
        Place::new("messages", "name", row),
        Place::new("documents", "body", row),
        Place::new("documents", "name", DocumentId::new()),
        Place::new("documentsn", "ame", row),
    ];
    for place in elsewhere {
        assert!(matches!(key.open(&place, &sealed), Err(VaultError::Sealed)), "{place:?}");
    }
    assert!(self::key().open(&place, &sealed).is_err(), "another case's key");
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 0x80;
        assert!(key.open(&place, &altered).is_err(), "byte {at}");
        assert!(key.open(&place, &sealed[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn system_keys_and_blind_indexes_are_separate_by_purpose_and_root() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (vault, other) = (Vault::open(dir.path()).unwrap(), Vault::open(other.path()).unwrap());
    assert_eq!(vault.system_key("jwt").seed(), vault.system_key("jwt").seed());
    assert_ne!(vault.system_key("jwt").seed(), vault.system_key("totp").seed());
    assert_ne!(vault.system_key("jwt").seed(), other.system_key("jwt").seed());
    assert_ne!(vault.blind_index("email", "a"), vault.blind_index("email", "b"));
    assert_ne!(vault.blind_index("email", "a"), vault.blind_index("name", "a"));
    assert_ne!(vault.blind_index("email", "a"), other.blind_index("email", "a"));

    let place = Place::new("users", "email", DocumentId::new());
    let sealed = vault.system_key("accounts").seal(&place, b"a@b.c").unwrap();
    assert_eq!(vault.system_key("accounts").open(&place, &sealed).unwrap(), b"a@b.c");
    assert!(vault.system_key("other").open(&place, &sealed).is_err());
}

#[test]
fn keys_print_nothing() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let printed = format!("{vault:?} {:?} {:?}", vault.system_key("jwt"), key());
    assert_eq!(printed, "Vault SystemKey CaseKey");
}

// The object format.

#[test]
fn every_length_round_trips() {
    let key = key();
    for len in [0, 1, 16_383, 16_384, 16_385, 32_768, 5 * 1024 * 1024 + 3] {
        let plain = plain(len);
        let sealed = seal(&key, b"here", &plain);
        assert_eq!(sealed.len() as u64, chunked::sealed_len(len as u64), "{len}");
        assert_eq!(chunked::plaintext_len(sealed.len() as u64), Some(len as u64));
        assert!(open(&key, b"here", sealed).unwrap() == plain, "{len}");
    }
}

#[test]
fn any_flipped_byte_is_refused() {
    let key = key();
    let small = seal(&key, b"here", &plain(100));
    let large = seal(&key, b"here", &plain(2 * CHUNK + 500));
    let flip = |sealed: &[u8], at: usize, bit: u8| {
        let mut altered = sealed.to_vec();
        altered[at] ^= 1 << bit;
        assert_refused(&key, b"here", altered, &format!("byte {at} of {}, bit {bit}", sealed.len()));
    };
    for at in 0..small.len() {
        for bit in 0..8 {
            flip(&small, at, bit);
        }
    }
    let edges = [0, 1, 2].map(|chunk| HEADER + chunk * SEALED_CHUNK);
    let around = edges.iter().flat_map(|edge| edge.saturating_sub(17)..(edge + 2).min(large.len()));
    for at in around.chain((0..large.len()).step_by(997)) {
        flip(&large, at, 0);
    }
}

#[test]
fn any_cut_or_growth_is_refused() {
    let key = key();
    let small = seal(&key, b"here", &plain(100));
    for len in 0..small.len() {
        assert_refused(&key, b"here", small[..len].to_vec(), &format!("cut to {len}"));
    }
    let large = seal(&key, b"here", &plain(3 * CHUNK));
    for chunk in 0..=3 {
        let edge = HEADER + chunk * SEALED_CHUNK;
        for len in [edge - 1, edge, edge + 1, edge + 15, edge + 16, edge + 17] {
            if len < large.len() {
                assert_refused(&key, b"here", large[..len].to_vec(), &format!("cut to {len}"));
            }
        }
    }
    for more in [1, 16, SEALED_CHUNK] {
        assert_refused(&key, b"here", [large.as_slice(), &vec![0; more]].concat(), &format!("{more} more"));
    }
}

#[test]
fn moved_chunks_are_refused() {
    let key = key();
    let plain = plain(3 * CHUNK + 9);
    let (one, two) = (seal(&key, b"here", &plain), seal(&key, b"here", &plain));
    let part = |sealed: &[u8], chunk: usize| {
        let start = HEADER + chunk * SEALED_CHUNK;
        sealed[start..(start + SEALED_CHUNK).min(sealed.len())].to_vec()
    };
    let build = |header: &[u8], parts: &[Vec<u8>]| [header[..HEADER].to_vec(), parts.concat()].concat();
    let of = |sealed: &[u8], chunks: &[usize]| chunks.iter().map(|chunk| part(sealed, *chunk)).collect::<Vec<_>>();
    assert_eq!(
        open(&key, b"here", build(&one, &of(&one, &[0, 1, 2, 3]))).unwrap(),
        plain,
        "the rebuild itself is right"
    );

    for (what, chunks) in [("swapped", [1, 0, 2, 3].as_slice()), ("dropped", &[0, 2, 3]), ("doubled", &[0, 0, 1, 2, 3])]
    {
        assert_refused(&key, b"here", build(&one, &of(&one, chunks)), what);
    }
    for chunk in 0..4 {
        let mut parts = of(&one, &[0, 1, 2, 3]);
        parts[chunk] = part(&two, chunk);
        assert_refused(&key, b"here", build(&one, &parts), &format!("chunk {chunk} of another object"));
    }
    assert_refused(&key, b"here", build(&two, &of(&one, &[0, 1, 2, 3])), "another object's header");
    assert_refused(&key, b"here", [&two[..24], &one[24..]].concat(), "another object's salt");
}

#[test]
fn another_key_or_context_is_refused() {
    let key = key();
    let sealed = seal(&key, b"here", b"text");
    assert_refused(&self::key(), b"here", sealed.clone(), "another key");
    for context in [b"".as_slice(), b"her", b"there", b"here\0"] {
        assert_refused(&key, context, sealed.clone(), "another context");
    }
}

#[test]
fn a_read_before_the_damage_is_served_and_one_across_it_is_not() {
    let key = key();
    let plain = plain(3 * CHUNK);
    let mut sealed = seal(&key, b"here", &plain);
    sealed[HEADER + SEALED_CHUNK + 5] ^= 1;
    let opener = Opener::open(&key, b"here", sealed).unwrap();
    assert_eq!(opener.read_at(10..20).unwrap(), plain[10..20]);
    let damaged = opener.read_at(CHUNK as u64 - 1..CHUNK as u64 + 1).unwrap_err();
    assert_eq!(damaged.kind(), io::ErrorKind::InvalidData);
    let past = opener.read_at(0..opener.len() + 1).unwrap_err();
    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_access_agrees_with_the_plaintext(len in 0_usize..70_000, reads in prop::collection::vec((any::<u32>(), any::<u32>()), 1..8)) {
        let (key, plain) = (key(), plain(len));
        let opener = Opener::open(&key, b"here", seal(&key, b"here", &plain)).unwrap();
        prop_assert_eq!(opener.len(), len as u64);
        for (a, b) in reads {
            let (a, b) = (a as usize % (len + 1), b as usize % (len + 1));
            let (start, end) = (a.min(b), a.max(b));
            prop_assert!(opener.read_at(start as u64..end as u64).unwrap() == plain[start..end]);
        }
    }

    #[test]
    fn writes_of_any_size_seal_the_same_bytes(cuts in prop::collection::vec(0_usize..40_000, 0..6)) {
        let (key, plain) = (key(), plain(50_000));
        let mut sealer = Sealer::new(&key, b"here", Vec::new()).unwrap();
        let mut rest = plain.as_slice();
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            sealer.write_all(now).unwrap();
            rest = later;
        }
        sealer.write_all(rest).unwrap();
        prop_assert!(open(&key, b"here", sealer.finish().unwrap()).unwrap() == plain);
    }

    #[test]
    fn lengths_invert(len in 0_u64..1 << 52) {
        prop_assert_eq!(chunked::plaintext_len(chunked::sealed_len(len)), Some(len));
    }

    #[test]
    fn noise_never_opens(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&key(), b"here", noise.clone()).is_err());
        prop_assert!(key().open(&Place::new("t", "c", DocumentId::new()), &noise).is_err());
    }
}

/// The format is what the documentation says: a Python program written from it alone (`open_blob.py`, on the
/// package `cryptography`) opens a stored object, from the root key file on.
#[test]
fn an_independent_implementation_opens_a_stored_object() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    let case = CaseId::new();
    let (key, wrapped) = vault.new_case_key(case).unwrap();
    let objects = Objects::disk(dir.path()).unwrap();
    for len in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 77] {
        let (blob, plain) = (BlobId::new(), plain(len));
        let mut writer = objects.writer_blocking(&key, case, blob, BlobKind::Text).unwrap();
        writer.write_all(&plain).unwrap();
        writer.finish().unwrap();
        let hex = blob.uuid().simple().to_string();
        let output = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/open_blob.py"))
            .arg(dir.path().join("root.key"))
            .args([case.to_string(), FIRST_CASE_KEY_VERSION.to_string(), hex::encode(&wrapped)])
            .args([blob.to_string(), "text".to_owned()])
            .arg(dir.path().join("blobs").join(&hex[30..]).join(blob.to_string()))
            .output()
            .expect("python3 must be installed, with the package `cryptography`");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint} (`python3 -m pip install cryptography` may be missing)");
        assert!(output.stdout == plain, "{len} bytes differ");
    }
}
