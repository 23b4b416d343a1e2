//! Sealed files in memory: finished files under their names, with a hand to damage them.

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex},
};

use domain::files::{ReadAt, SealedFiles, WriteSealed};

/// What storage does when a block does not authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Sound,
    Tampered,
}

#[derive(Clone, Default)]
pub(crate) struct MemoryFiles {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

struct MemoryFile {
    bytes: Vec<u8>,
    health: Mutex<Health>,
}

impl MemoryFiles {
    /// Copies the named files: what publishing a generation keeps.
    pub(crate) fn keep(&self, names: &[String]) -> Self {
        let files = self.files.lock().unwrap();
        let kept = names.iter().map(|name| (name.clone(), files.get(name).expect("a living file").clone())).collect();
        Self { files: Arc::new(Mutex::new(kept)) }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().cloned().collect()
    }

    /// From now on every read of the file fails as a failed authentication does.
    pub(crate) fn tamper(&self, name: &str) {
        *self.files.lock().unwrap()[name].health.lock().unwrap() = Health::Tampered;
    }

    pub(crate) fn forget(&self, name: &str) {
        self.files.lock().unwrap().remove(name);
    }

    /// All bytes, to look for what should not be there.
    pub(crate) fn bytes(&self) -> usize {
        self.files.lock().unwrap().values().map(|file| file.bytes.len()).sum()
    }
}

impl fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryFiles")
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryFile")
    }
}

impl ReadAt for MemoryFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if *self.health.lock().unwrap() == Health::Tampered {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        self.bytes.get(range).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl SealedFiles for MemoryFiles {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let file = self.files.lock().unwrap().get(name).cloned();
        file.map(|file| file as Arc<dyn ReadAt>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteSealed>> {
        if self.exists(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(Sink { files: self.clone(), name: name.to_owned(), bytes: Vec::new() }))
    }

    fn exists(&self, name: &str) -> bool {
        self.files.lock().unwrap().contains_key(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct Sink {
    files: MemoryFiles,
    name: String,
    bytes: Vec<u8>,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteSealed for Sink {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let file = Arc::new(MemoryFile { bytes: self.bytes, health: Mutex::new(Health::Sound) });
        self.files.files.lock().unwrap().insert(self.name, file);
        Ok(())
    }
}
