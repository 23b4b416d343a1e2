//! Members of a container on their way into the object store: each is hashed, sealed and durable when its last byte has
//! come, before any row speaks of it.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
};

use domain::{ids::BlobId, outcome::Exception};
use pipeline::{MemberHead, MemberSink};
use storage::{
    Storage,
    documents::{Details, Document, NewMember},
    objects::{BlobKind, BlockingBlobWriter},
    vault::CaseKey,
};

use crate::runner::JobError;

/// Longest name kept of a member, in scalars.
const LONGEST_NAME: usize = 1_000;

/// Takes the members of one container.
pub(super) struct Members<'a> {
    storage: &'a Storage,
    key: &'a CaseKey,
    container: &'a Document,
    /// The container lies too deep to have members.
    refuse: bool,
    refused: bool,
    /// Positions of the members that are wanted; all of them when nothing is named.
    only: Option<BTreeSet<u32>>,
    /// The member begun last is not wanted.
    skipping: bool,
    begun: Option<(MemberHead, BlockingBlobWriter)>,
    finished: Vec<NewMember>,
}

impl<'a> Members<'a> {
    pub(super) fn new(
        storage: &'a Storage,
        key: &'a CaseKey,
        container: &'a Document,
        refuse: bool,
        only: Option<BTreeSet<u32>>,
    ) -> Self {
        let (refused, skipping, begun, finished) = (false, false, None, Vec::new());
        Self { storage, key, container, refuse, refused, only, skipping, begun, finished }
    }

    /// True when a member was refused because of its depth.
    pub(super) fn found_too_deep(&self) -> bool {
        self.refused
    }

    /// The members that are complete, readable or not.
    pub(super) fn into_members(self) -> Vec<NewMember> {
        self.finished
    }

    /// Deletes what was stored: the job will unpack again. What cannot be deleted is left to the garbage collection.
    pub(super) fn throw_away<T>(self, error: JobError) -> Result<T, JobError> {
        let (storage, blobs) = (self.storage.clone(), self.finished.into_iter().map(|member| member.stored.blob));
        let blobs: Vec<BlobId> = blobs.collect();
        tokio::runtime::Handle::current().spawn(async move { super::discard(&storage, blobs).await });
        Err(error)
    }

    fn finish(&mut self, exception: Option<Exception>) -> io::Result<()> {
        if self.skipping {
            return Ok(());
        }
        let (head, writer) = self.begun.take().ok_or_else(out_of_turn)?;
        let details = self.details(&head);
        self.finished.push(NewMember { ordinal: head.ordinal, details, stored: writer.finish()?, exception });
        Ok(())
    }

    /// A member inherits from its container whose it is and how it is labelled.
    fn details(&self, head: &MemberHead) -> Details {
        let of = &self.container.details;
        let path: String = head.path.chars().take(LONGEST_NAME).collect();
        Details {
            name: name_of(&path, head.ordinal),
            path: format!("{}/{}", of.path, path.trim_start_matches('/')),
            custodian: of.custodian.clone(),
            labels: of.labels.clone(),
            file_modified_at: head.modified,
            inline: head.inline,
            ..Details::default()
        }
    }
}

impl MemberSink for Members<'_> {
    fn begin(&mut self, member: &MemberHead) -> io::Result<()> {
        if self.refuse {
            self.refused = true;
            return Err(io::Error::other("the container lies too deep"));
        }
        self.skipping = self.only.as_ref().is_some_and(|only| !only.contains(&member.ordinal));
        if self.skipping {
            return Ok(());
        }
        let writer =
            self.storage.objects.writer_blocking(self.key, self.container.case, BlobId::new(), BlobKind::Original)?;
        self.begun = Some((member.clone(), writer));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.skipping {
            return Ok(());
        }
        let (_, writer) = self.begun.as_mut().ok_or_else(out_of_turn)?;
        writer.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        self.finish(None)
    }

    fn failed(&mut self, exception: Exception) -> io::Result<()> {
        self.finish(Some(exception))
    }
}

fn out_of_turn() -> io::Error {
    io::Error::other("no member was begun")
}

/// The last part of a member's path, in the manner of either kind of archiver; never empty.
fn name_of(path: &str, ordinal: u32) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if name.is_empty() { format!("item {}", ordinal.saturating_add(1)) } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_by_the_last_part_of_its_path() {
        for (path, name) in [
            ("a/b/c.pdf", "c.pdf"),
            ("a\\b.doc", "b.doc"),
            ("plain.txt", "plain.txt"),
            ("folder/", "item 3"),
            ("../..", ".."),
            ("", "item 3"),
        ] {
            assert_eq!(name_of(path, 2), name, "{path}");
        }
    }
}
