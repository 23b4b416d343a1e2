//! Making the sorted file of known files out of lists. Hashes are sorted in memory as far as that goes and written in sorted parts beside the
//! result, which are merged at the end; so a list of any length takes the same memory.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use super::{HashKind, MAGIC};

/// What was made of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Different hashes: MD5, SHA-1, SHA-256.
    pub hashes: [u64; 3],
    /// Lines read.
    pub lines: u64,
    /// Lines without a hash, such as headings.
    pub without: u64,
}

/// Why no file was made.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No line of any list holds a hash.
    #[error("the list holds no MD5, SHA-1 or SHA-256 hash in hexadecimal digits")]
    Empty,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Longest line of a list that is looked at.
const LONGEST_LINE: u64 = 1 << 16;

fn at(path: &Path) -> impl Fn(io::Error) -> ImportError {
    let path = path.to_owned();
    move |source| ImportError::Io { path: path.clone(), source }
}

/// Makes `into` of lists, holding about `memory` bytes of hashes at once. A line is a hash in hexadecimal digits, or values between commas
/// (in quotation marks or not) of which some are hashes, as in the NSRL's `NSRLFile.txt`; of several in a line the strongest is
/// taken. `into` is replaced when the new file is whole and durable. Blocks.
pub fn import(lists: &[PathBuf], into: &Path, memory: usize) -> Result<Imported, ImportError> {
    let folder = into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let work = tempfile::Builder::new().prefix(".known-files").tempdir_in(folder).map_err(at(folder))?;
    let mut imported = Imported { hashes: [0; 3], lines: 0, without: 0 };
    let mut kinds = HashKind::ALL.map(|kind| Sorter::new(kind, work.path(), memory));
    for list in lists {
        read(list, &mut kinds, &mut imported).map_err(at(list))?;
    }
    let made = work.path().join("whole");
    let mut sections = Vec::with_capacity(kinds.len());
    for (sorter, number) in kinds.into_iter().zip(&mut imported.hashes) {
        let section = sorter.path("all");
        *number = sorter.finish(&section).map_err(at(&section))?;
        sections.push(section);
    }
    if imported.hashes == [0; 3] {
        return Err(ImportError::Empty);
    }
    assemble(&made, &sections, imported.hashes).map_err(at(&made))?;
    fs::rename(&made, into).map_err(at(into))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    Ok(imported)
}

fn assemble(made: &Path, sections: &[PathBuf], numbers: [u64; 3]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create_new(made)?);
    out.write_all(&MAGIC)?;
    for number in numbers {
        out.write_all(&number.to_be_bytes())?;
    }
    for section in sections {
        io::copy(&mut File::open(section)?, &mut out)?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn read(list: &Path, kinds: &mut [Sorter; 3], imported: &mut Imported) -> io::Result<()> {
    let mut list = BufReader::with_capacity(1 << 20, File::open(list)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if list.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        imported.lines += 1;
        let Some((kind, hash)) = strongest(&line) else {
            imported.without += 1;
            continue;
        };
        kinds[kind as usize].push(&hash[..kind.length()])?;
    }
}

/// The strongest hash in a line.
fn strongest(line: &[u8]) -> Option<(HashKind, [u8; 32])> {
    let values = line.split(|byte| matches!(byte, b',' | b'"' | b' ' | b'\t' | b'\r' | b'\n' | b'|' | b';'));
    values.filter_map(decoded).max_by_key(|(kind, _)| *kind)
}

fn decoded(value: &[u8]) -> Option<(HashKind, [u8; 32])> {
    let kind = HashKind::ALL.into_iter().find(|kind| kind.length() * 2 == value.len())?;
    let mut hash = [0; 32];
    hex::decode_to_slice(value, &mut hash[..kind.length()]).ok()?;
    Some((kind, hash))
}

/// Sorts hashes of one kind.
struct Sorter {
    kind: HashKind,
    folder: PathBuf,
    most: usize,
    held: Vec<u8>,
    parts: Vec<PathBuf>,
}

impl Sorter {
    fn new(kind: HashKind, folder: &Path, memory: usize) -> Self {
        // Sorting takes as much again, and any one kind may be all of a list.
        let most = (memory / 2).max(kind.length());
        Self { kind, folder: folder.to_owned(), most, held: Vec::new(), parts: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{:?}-{name}", self.kind))
    }

    fn push(&mut self, hash: &[u8]) -> io::Result<()> {
        if self.held.len() + hash.len() > self.most {
            self.spill()?;
        }
        self.held.extend_from_slice(hash);
        Ok(())
    }

    /// Writes what is held as one sorted part.
    fn spill(&mut self) -> io::Result<()> {
        let path = self.path(&self.parts.len().to_string());
        let mut out = BufWriter::new(File::create_new(&path)?);
        let mut hashes: Vec<&[u8]> = self.held.chunks_exact(self.kind.length()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        for hash in hashes {
            out.write_all(hash)?;
        }
        out.flush()?;
        self.parts.push(path);
        self.held.clear();
        Ok(())
    }

    /// Merges the parts into `path`; returns how many different hashes there are.
    fn finish(mut self, path: &Path) -> io::Result<u64> {
        self.spill()?;
        self.held = Vec::new();
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(BufReader::with_capacity(1 << 16, File::open(part)?));
        }
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        let mut next = BinaryHeap::with_capacity(parts.len());
        for (at, part) in parts.iter_mut().enumerate() {
            next.extend(self.first(part)?.map(|hash| Reverse((hash, at))));
        }
        let (mut number, mut last) = (0, None);
        while let Some(Reverse((hash, at))) = next.pop() {
            if last != Some(hash) {
                out.write_all(&hash[..self.kind.length()])?;
                (number, last) = (number + 1, Some(hash));
            }
            if let Some(part) = parts.get_mut(at) {
                next.extend(self.first(part)?.map(|hash| Reverse((hash, at))));
            }
        }
        out.flush()?;
        for part in &self.parts {
            fs::remove_file(part)?;
        }
        Ok(number)
    }

    /// The next hash of a part.
    fn first(&self, part: &mut BufReader<File>) -> io::Result<Option<[u8; 32]>> {
        if part.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut hash = [0; 32];
        part.read_exact(&mut hash[..self.kind.length()])?;
        Ok(Some(hash))
    }
}
