//! The password bank at work. A document is read without passwords first; only when it turns out to be protected are those
//! of its case loaded and tried. What none of them opens notes which edition of the bank was tried.

use std::collections::BTreeSet;

use domain::ids::{CaseId, PasswordId};
use pipeline::Reader;
use storage::{Tx, documents::Document, passwords};

use crate::runner::{JobError, Run};

/// A reader with the passwords it may try.
pub(super) struct Bank {
    reader: Reader,
    /// Which edition was loaded, if one was.
    edition: Option<i64>,
    /// The passwords by their place in the reader's list.
    ids: Vec<PasswordId>,
}

impl Bank {
    /// Without passwords.
    pub(super) fn unopened(reader: &Reader) -> Self {
        Self { reader: reader.clone(), edition: None, ids: Vec::new() }
    }

    /// The reader, to be given to the thread that reads.
    pub(super) fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Takes the passwords of the case's bank as it is now, at most `most`. False when nothing is to be tried that was not
    /// tried before.
    pub(super) async fn load(&mut self, run: &Run, case: CaseId, most: u32) -> Result<bool, JobError> {
        let mut tx = run.read().await?;
        let bank = passwords::bank(&mut tx, case, most).await?;
        drop(tx);
        if self.edition == Some(bank.edition) {
            return Ok(false);
        }
        self.edition = Some(bank.edition);
        let (ids, secrets): (Vec<_>, Vec<_>) =
            bank.passwords.into_iter().map(|(id, secret)| (id, secret.into_inner())).unzip();
        self.reader = self.reader.with_passwords(secrets);
        self.ids = ids;
        Ok(!self.ids.is_empty())
    }

    /// The passwords at these places.
    pub(super) fn at(&self, places: &BTreeSet<u32>) -> Vec<PasswordId> {
        places.iter().filter_map(|place| self.ids.get(*place as usize).copied()).collect()
    }

    /// False when a password was added since this was loaded: then it must be tried before the document is given up. Asked
    /// first in the transaction that does so.
    pub(super) async fn is_current(&self, tx: &mut Tx, case: CaseId) -> storage::Result<bool> {
        match self.edition {
            Some(edition) => passwords::unchanged(tx, case, edition).await,
            None => Ok(true),
        }
    }

    /// Notes that this was tried on what is still protected of the document, itself or its members.
    pub(super) async fn note(&self, tx: &mut Tx, document: &Document) -> storage::Result<()> {
        match self.edition {
            Some(edition) => document.note_tried(tx, edition).await.map(drop),
            None => Ok(()),
        }
    }

    /// Which edition was loaded; 0 when none was.
    pub(super) fn edition(&self) -> i64 {
        self.edition.unwrap_or(0)
    }
}
