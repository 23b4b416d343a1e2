//! Known files (deNIST): files that everybody has, such as parts of operating systems, named by hashes in a list of the operator's (the
//! NSRL's Reference Data Set, or any other). A list is imported once into a sorted file, which is searched where it lies: a look-up
//! reads a few blocks and takes no memory, however long the list.
//!
//! ```text
//! "dia known files\n" ‖ 0x01 ‖ for MD5, SHA-1, SHA-256: number of hashes (8, big-endian) ‖ the hashes of each, ascending
//! ```

mod import;

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

pub use import::{ImportError, Imported, import};

/// What the file begins with.
const MAGIC: [u8; 17] = *b"dia known files\n\x01";
/// Bytes of the head: [`MAGIC`] and three numbers.
const HEAD: usize = MAGIC.len() + 3 * 8;

/// A kind of hash that lists name files by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashKind {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

impl HashKind {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha1, Self::Sha256];

    /// Bytes of a hash.
    pub fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// A sorted list of known files. Cloning shares it.
#[derive(Debug, Clone)]
pub struct KnownFiles {
    file: Arc<File>,
    /// Hashes of each kind.
    numbers: [u64; 3],
}

impl KnownFiles {
    /// Opens a file made by [`import`]; one that is anything else, or not whole, is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut head = [0; HEAD];
        file.read_exact(&mut head)?;
        let (magic, numbers) = head.split_at(MAGIC.len());
        let number =
            |at: usize| numbers.get(at * 8..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u64::from_be_bytes(*n));
        let numbers = [number(0), number(1), number(2)];
        let lengths = numbers.iter().zip(HashKind::ALL).map(|(number, kind)| number.checked_mul(kind.length() as u64));
        let whole = lengths.chain([Some(HEAD as u64)]).try_fold(0_u64, |sum, part| sum.checked_add(part?));
        if magic != MAGIC || whole != Some(file.metadata()?.len()) {
            let message = "not a list made by `dia known-files import`, or not all of it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self { file: Arc::new(file), numbers })
    }

    /// How many hashes of a kind there are. Where there are none, no file need be hashed so.
    pub fn number(&self, kind: HashKind) -> u64 {
        self.numbers[kind as usize]
    }

    /// Whether a hash is listed. Blocks. Hashes are spread evenly, so the place of one can be guessed from its value: a few
    /// reads where halving takes 27 among 100 million.
    pub fn contains(&self, kind: HashKind, hash: &[u8]) -> io::Result<bool> {
        let length = kind.length();
        if hash.len() != length {
            return Ok(false);
        }
        let before = HashKind::ALL.into_iter().take_while(|other| *other < kind);
        let start = before.fold(HEAD as u64, |sum, other| sum + self.number(other) * other.length() as u64);
        // Within `low..high`; what stands before has values below `least`, what stands after above `most`.
        let (mut low, mut high) = (0, self.number(kind));
        let (mut least, mut most) = (0_u64, u64::MAX);
        let wanted = value(hash);
        let mut found = [0; 32];
        let found = &mut found[..length];
        for step in 0_u32.. {
            if low >= high {
                break;
            }
            // Every third step halves: a list that is not spread evenly cannot make it slow.
            let at = if step % 3 == 2 { low + (high - low) / 2 } else { guess(low, high, least, most, wanted) };
            self.file.read_exact_at(found, start + at * length as u64)?;
            match found[..].cmp(hash) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => (low, least) = (at + 1, value(found)),
                std::cmp::Ordering::Greater => (high, most) = (at, value(found)),
            }
        }
        Ok(false)
    }
}

/// The first eight bytes as a number.
fn value(hash: &[u8]) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Where `wanted` would stand if the values between were spread evenly.
fn guess(low: u64, high: u64, least: u64, most: u64, wanted: u64) -> u64 {
    let (span, offset) = (u128::from(most - least) + 1, u128::from(wanted.saturating_sub(least)));
    let steps = offset * u128::from(high - low) / span;
    (low + u64::try_from(steps).unwrap_or(0)).min(high - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn hash(of: u32) -> [u8; 32] {
        Sha256::digest(of.to_be_bytes()).into()
    }

    fn made(lists: &[&str]) -> (tempfile::TempDir, KnownFiles, Imported) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> =
            (0..).zip(lists).map(|(at, list)| (folder.path().join(format!("{at}.txt")), list)).collect();
        for (path, list) in &paths {
            fs::write(path, list).unwrap();
        }
        let into = folder.path().join("known");
        let paths: Vec<_> = paths.into_iter().map(|(path, _)| path).collect();
        // So little at once that it is sorted in parts.
        let imported = import(&paths, &into, 1 << 10).unwrap();
        let known = KnownFiles::open(&into).unwrap();
        (folder, known, imported)
    }

    #[test]
    fn what_is_listed_is_found_and_nothing_else() {
        let list: String = (0..5_000).rev().chain(100..200).map(|of| format!("{}\n", hex::encode(hash(of)))).collect();
        let (folder, known, imported) = made(&[&list]);
        assert_eq!(imported, Imported { hashes: [0, 0, 5_000], lines: 5_100, without: 0 });
        for of in 0..10_000 {
            assert_eq!(known.contains(HashKind::Sha256, &hash(of)).unwrap(), of < 5_000, "{of}");
        }
        assert!(!known.contains(HashKind::Sha1, &hash(1)[..20]).unwrap());
        assert!(!known.contains(HashKind::Sha256, &hash(1)[..31]).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the list and the file made of it");
    }

    #[test]
    fn hashes_that_are_not_spread_are_found_too() {
        let near = |last: u32| [&[7; 28][..], &last.to_be_bytes()].concat();
        let list: String = (0..3_000).map(|at| hex::encode(near(at * 2)) + "\r\n").collect();
        let (_folder, known, _) = made(&[&list, &"0".repeat(64), &"f".repeat(64)]);
        for at in 0..6_000 {
            assert_eq!(known.contains(HashKind::Sha256, &near(at)).unwrap(), at % 2 == 0, "{at}");
        }
        assert!(known.contains(HashKind::Sha256, &[0; 32]).unwrap());
        assert!(known.contains(HashKind::Sha256, &[255; 32]).unwrap());
        assert!(!known.contains(HashKind::Sha256, &[8; 32]).unwrap());
    }

    #[test]
    fn the_reference_data_set_s_lists_are_read() {
        let rds2 = "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"SpecialCode\"\r\n\
                    \"0000002D9D62AEBE1E0E9DB6C4C4C7C16A163D2C\",\"1D6EBB5A789ABD108FF578263E1F40F3\",\"FFFFFFFF\",\"a, \"\"b\"\".htm\",4109,21000,\"358\",\"\"\r\n";
        let rds3 =
            format!("sha256,sha1,md5,file_name\n{},{},{},x\n", "ab".repeat(32), "cd".repeat(20), "ef".repeat(16));
        let (_folder, known, imported) = made(&[rds2, &rds3, "# a comment\n\nnothing\n"]);
        // Of each line the strongest hash is taken.
        assert_eq!(imported, Imported { hashes: [0, 1, 1], lines: 7, without: 5 });
        assert!(
            known.contains(HashKind::Sha1, &hex::decode("0000002d9d62aebe1e0e9db6c4c4c7c16a163d2c").unwrap()).unwrap()
        );
        assert!(known.contains(HashKind::Sha256, &[0xab; 32]).unwrap());
        assert_eq!(known.number(HashKind::Md5), 0);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (list, into) = (folder.path().join("list"), folder.path().join("known"));
        fs::write(&list, "not one hash\n").unwrap();
        assert!(matches!(import(std::slice::from_ref(&list), &into, 1 << 20), Err(ImportError::Empty)));
        assert!(!into.exists(), "nothing half made is left");
        assert!(import(&[folder.path().join("absent")], &into, 1 << 20).is_err());
        fs::write(&list, hex::encode([1; 32])).unwrap();
        import(&[list], &into, 1 << 20).unwrap();
        let whole = fs::read(&into).unwrap();
        for wrong in [&whole[..whole.len() - 1], &whole[..20], &[&whole[..], &[0]].concat(), &[1; 100]] {
            fs::write(&into, wrong).unwrap();
            assert!(KnownFiles::open(&into).is_err());
        }
    }
}
