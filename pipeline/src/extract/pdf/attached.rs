//! Files embedded in a PDF: those of the name tree (portfolios have all their files there), associated files, and files
//! pinned to pages (ISO 32000-2, 7.11.4 and 12.5.6.15).

use std::collections::HashSet;

use domain::clock::Timestamp;
use pdf_oxide::object::{Object, ObjectRef};

use super::{
    builtin::Builtin,
    date, guarded,
    objects::{MOST, Objects},
};
use crate::{passwords::KeyRing, sniff::find};

/// One embedded file.
pub(crate) struct AttachedFile {
    pub(crate) name: String,
    pub(crate) modified: Option<Timestamp>,
    /// `None` when the bytes cannot be decoded.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Gives the embedded files to `take`, one at a time, until it says stop by an error. A document that cannot be opened has
/// none: reading its text says what is wrong with it.
pub(crate) fn attached_files<E>(
    bytes: Vec<u8>,
    keys: &KeyRing,
    take: &mut dyn FnMut(AttachedFile) -> Result<(), E>,
) -> Result<(), E> {
    if !may_have_files(&bytes) {
        return Ok(());
    }
    let Some(builtin) = guarded(|| Builtin::open(bytes, keys).ok()) else { return Ok(()) };
    let objects = Objects(builtin.document());
    let specifications = guarded(|| objects.specifications(builtin.pages()));
    if builtin.document().is_encrypted() {
        return encrypted_files(objects, &specifications, take);
    }
    let mut seen = HashSet::new();
    for specification in specifications {
        let Some((file, at)) = objects.embedded(&specification) else { continue };
        if at.is_some_and(|at| !seen.insert(at)) {
            continue;
        }
        let modified = objects.entry(&file, "Params").and_then(|params| objects.text(&params, "ModDate"));
        take(AttachedFile {
            name: objects.file_name(&specification),
            modified: modified.and_then(|modified| date(&modified)),
            bytes: guarded(|| file.decode_stream_data().ok()),
        })?;
    }
    Ok(())
}

/// `pdf_oxide` decrypts only what it walks to itself, which are the files of the name tree. They come in the same order as
/// the specifications, which stand first in ours.
fn encrypted_files<E>(
    objects: Objects<'_>,
    specifications: &[Object],
    take: &mut dyn FnMut(AttachedFile) -> Result<(), E>,
) -> Result<(), E> {
    let files = guarded(|| objects.0.extract_embedded_files().unwrap_or_default());
    for ((name, bytes), place) in files.into_iter().zip(0..) {
        let name = specifications.get(place).map_or(name, |specification| objects.file_name(specification));
        take(AttachedFile { name, modified: None, bytes: Some(bytes) })?;
    }
    Ok(())
}

/// False for the great majority, without parsing: the key of embedded files is nowhere, and no compressed object can hold it.
fn may_have_files(bytes: &[u8]) -> bool {
    find(bytes, b"/EF").is_some() || find(bytes, b"/ObjStm").is_some() || find(bytes, b"/Encrypt").is_some()
}

impl Objects<'_> {
    /// All file specifications, those of the name tree first.
    fn specifications(self, pages: usize) -> Vec<Object> {
        let mut found = Vec::new();
        let catalog = self.catalog();
        let names = catalog.as_ref().and_then(|catalog| self.entry(catalog, "Names"));
        if let Some(root) = names.as_ref().and_then(|names| self.entry(names, "EmbeddedFiles")) {
            self.name_tree(root, &mut found);
        }
        if let Some(Object::Array(associated)) = catalog.as_ref().and_then(|catalog| self.entry(catalog, "AF")) {
            found.extend(associated.iter().take(MOST).filter_map(|one| self.resolved(one)));
        }
        for page in 0..pages.min(MOST) {
            let pinned = self.annotations(page).into_iter().filter_map(|annotation| self.entry(&annotation, "FS"));
            found.extend(pinned);
        }
        found
    }

    /// The values of a name tree (ISO 32000-1, 7.9.6), in order.
    fn name_tree(self, root: Object, found: &mut Vec<Object>) {
        let mut seen = HashSet::new();
        let mut waiting = vec![root];
        while let Some(node) = waiting.pop() {
            if let Some(Object::Array(pairs)) = self.entry(&node, "Names") {
                let values = pairs.iter().skip(1).step_by(2).filter_map(|one| self.resolved(one));
                found.extend(values.take(MOST));
            }
            if let Some(Object::Array(kids)) = self.entry(&node, "Kids") {
                let kids = kids.iter().rev().filter_map(Object::as_reference);
                let new: Vec<ObjectRef> = kids.filter(|kid| seen.len() < MOST && seen.insert(*kid)).collect();
                waiting.extend(new.into_iter().filter_map(|kid| self.0.load_object(kid).ok()));
            }
        }
    }

    /// The stream of an embedded file and where it stands.
    fn embedded(self, specification: &Object) -> Option<(Object, Option<ObjectRef>)> {
        let files = self.entry(specification, "EF")?;
        let key = ["UF", "F", "Unix", "DOS", "Mac"].into_iter().find(|key| self.entry(&files, key).is_some())?;
        let at = files.as_dict().and_then(|files| files.get(key)?.as_reference());
        Some((self.entry(&files, key)?, at))
    }

    fn file_name(self, specification: &Object) -> String {
        let name = ["UF", "F", "Unix", "DOS", "Mac"].into_iter().find_map(|key| self.text(specification, key));
        name.or_else(|| self.text(specification, "Desc")).unwrap_or_default()
    }
}
