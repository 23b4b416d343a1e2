//! The files of one index as the index sees them: names over sealed objects. A published generation is a map of names to
//! blobs; a writer adds files as fresh blobs and publishes the new map in its manifest row.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    files::{ReadAt, SealedFiles, WriteSealed},
    ids::{BlobId, CaseId},
};

use super::{BlobKind, BlockingBlobWriter, Objects, Stored};
use crate::vault::CaseKey;

/// A file that a writer added and nobody has published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its name in the index.
    pub name: String,
    /// The blob that holds it: name, plaintext size, SHA-256.
    pub stored: Stored,
}

/// The files of one index generation and those a writer adds. Cloning shares the view.
#[derive(Debug, Clone)]
pub struct IndexFiles {
    objects: Objects,
    key: CaseKey,
    case: CaseId,
    writable: bool,
    view: Arc<Mutex<View>>,
}

/// What the index has done so far.
#[derive(Debug, Default)]
struct View {
    published: BTreeMap<String, BlobId>,
    added: BTreeMap<String, Stored>,
    /// Names being written.
    unfinished: BTreeSet<String>,
    /// Published names the writer has removed since.
    removed: BTreeSet<String>,
    /// Blobs added and removed again before anyone published them.
    discarded: Vec<BlobId>,
}

impl View {
    fn find(&self, name: &str) -> Option<BlobId> {
        self.added.get(name).map(|stored| stored.blob).or_else(|| self.published.get(name).copied())
    }
}

impl IndexFiles {
    /// A published generation, to read only.
    pub fn read_only(objects: Objects, key: CaseKey, case: CaseId, files: BTreeMap<String, BlobId>) -> Self {
        Self::new(objects, key, case, files, false)
    }

    /// A published generation (none at first: an empty map) that a writer builds the next one upon.
    pub fn writable(objects: Objects, key: CaseKey, case: CaseId, files: BTreeMap<String, BlobId>) -> Self {
        Self::new(objects, key, case, files, true)
    }

    fn new(objects: Objects, key: CaseKey, case: CaseId, published: BTreeMap<String, BlobId>, writable: bool) -> Self {
        let view = Arc::new(Mutex::new(View { published, ..View::default() }));
        Self { objects, key, case, writable, view }
    }

    /// Every finished file as it stands: the manifest of the generation to publish.
    pub fn files(&self) -> BTreeMap<String, BlobId> {
        let view = self.view();
        let added = view.added.iter().map(|(name, stored)| (name.clone(), stored.blob));
        view.published.iter().map(|(name, blob)| (name.clone(), *blob)).chain(added).collect()
    }

    /// Files added since the generation this began with, or since [`IndexFiles::mark_published`].
    pub fn added(&self) -> Vec<Added> {
        let view = self.view();
        view.added.iter().map(|(name, stored)| Added { name: name.clone(), stored: *stored }).collect()
    }

    /// Published files that are gone from this view. Their blobs belong to older generations: delete them only with those.
    pub fn removed(&self) -> Vec<String> {
        self.view().removed.iter().cloned().collect()
    }

    /// Takes the blobs that were added and removed without ever being published. No generation knows them: they may be
    /// deleted at once.
    pub fn take_discarded(&self) -> Vec<BlobId> {
        std::mem::take(&mut self.view().discarded)
    }

    /// Says that the present files have been published (the manifest row is committed), so that the writer may go on to
    /// the next generation.
    pub fn mark_published(&self) {
        let mut view = self.view();
        let added = std::mem::take(&mut view.added);
        view.published.extend(added.into_iter().map(|(name, stored)| (name, stored.blob)));
        view.removed.clear();
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // Each change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl SealedFiles for IndexFiles {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let blob = self.view().find(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.objects.open(&self.key, self.case, blob, BlobKind::Index)?)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteSealed>> {
        self.check_writable()?;
        {
            let mut view = self.view();
            if view.find(name).is_some() || !view.unfinished.insert(name.to_owned()) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        let claim = Claim { name: name.to_owned(), view: Arc::clone(&self.view) };
        let writer = self.objects.writer_blocking(&self.key, self.case, BlobId::new(), BlobKind::Index)?;
        Ok(Box::new(NewFile { writer, claim }))
    }

    fn exists(&self, name: &str) -> bool {
        self.view().find(name).is_some()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        let mut view = self.view();
        if let Some(stored) = view.added.remove(name) {
            view.discarded.push(stored.blob);
        } else if view.published.remove(name).is_some() {
            view.removed.insert(name.to_owned());
        } else {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }
}

/// A file being written; its name is taken until it is finished or dropped.
struct NewFile {
    writer: BlockingBlobWriter,
    claim: Claim,
}

/// A name held by a file being written.
struct Claim {
    name: String,
    view: Arc<Mutex<View>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).unfinished.remove(&self.name);
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl WriteSealed for NewFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let Self { writer, claim } = *self;
        let stored = writer.finish()?;
        let mut view = claim.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.added.insert(claim.name.clone(), stored);
        drop(view);
        Ok(())
    }
}
