//! The password bank of a case: passwords that people knew or found, kept sealed to open what is protected. Nobody reads one
//! back. A password is kept once, told by a digest keyed under the case key. The bank has an edition that rises with every
//! password added: a protected document notes which edition was tried on it, so that each is tried once with what is new.

use std::fmt;

use domain::{
    access::Action,
    clock::Timestamp,
    ids::{CaseId, DocumentId, PasswordId, UserId},
    jobs::RetryProtected,
    page::{Page, PageQuery},
};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    Error, Result, Tx,
    audit::Audit,
    cases::{Case, permit},
    db::{change, query},
    documents::Document,
    tx::{seal, unseal},
    vault::{CaseKey, Place},
};

/// Most passwords added in one transaction.
pub const MOST_AT_ONCE: usize = 1_000;
/// Longest password, in characters; no format takes longer ones.
const LONGEST: usize = 512;
/// Longest note, in characters.
const LONGEST_NOTE: usize = 2_000;

/// A password in memory: wiped when dropped, and not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a password over.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// The password itself, for the one who tries it.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }

    /// What tells it from others of the case, without giving it away: for the row, and wherever a request is compared with
    /// one made before.
    pub fn lookup(&self, key: &CaseKey) -> [u8; 32] {
        key.lookup("password", self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What may be known of a password in the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// Its id.
    pub id: PasswordId,
    /// Where it comes from, in the words of whoever added it; may be empty.
    pub note: String,
    /// Who added it.
    pub added_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// How often it opened a document, to unpack or to read it.
    pub uses: u64,
    /// When it did so last.
    pub used_at: Option<Timestamp>,
}

/// What became of a password that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its id in the bank.
    pub id: PasswordId,
    /// False when the bank held it before; then it keeps its note.
    pub fresh: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    sealed_note: Vec<u8>,
    added_by: Option<Uuid>,
    uses: i64,
    used_at: Option<i64>,
    created_at: i64,
}

fn place(id: PasswordId) -> Place {
    Place::new("passwords", "sealed_password", id)
}

fn place_of_note(id: PasswordId) -> Place {
    Place::new("passwords", "sealed_note", id)
}

impl Case {
    /// Adds passwords to the bank of a case found with [`Action::ManagePasswords`], and asks for everything that is still
    /// protected to be tried again, unless the bank held all of them before.
    pub async fn add_passwords(&self, tx: &mut Tx, passwords: &[Secret], note: &str) -> Result<Vec<Kept>> {
        permit(tx, self.id, &self.standing, Action::ManagePasswords)?;
        if !(1..=MOST_AT_ONCE).contains(&passwords.len()) {
            return Err(Error::Invalid("send 1 to 1000 passwords at once"));
        }
        check(passwords, note)?;
        let edition = edition_to_be(tx, self.id).await?;
        let mut kept = Vec::with_capacity(passwords.len());
        for password in passwords {
            kept.push(keep(tx, self.id, password, note, edition).await?);
        }
        if kept.iter().any(|kept| kept.fresh) {
            publish(tx, self.id, edition).await?;
        }
        Ok(kept)
    }

    /// What is in the bank, oldest first; never the passwords themselves.
    pub async fn passwords(&self, tx: &mut Tx, page: &PageQuery) -> Result<Page<Password>> {
        permit(tx, self.id, &self.standing, Action::ManagePasswords)?;
        let limit = page.limit()?;
        let after: Uuid = page.key()?.unwrap_or(Uuid::nil());
        let rows: Vec<Row> = query!(tx, c => sqlx::query_as(
            "select id, sealed_note, added_by, uses, used_at, created_at from passwords where case_id = $1 and id > $2
             order by id limit $3")
            .bind(self.id.uuid()).bind(after).bind(i64::from(limit) + 1).fetch_all(c).await)?;
        let key = tx.case_key(self.id).await?;
        let passwords: Result<Vec<Password>> = rows.into_iter().map(|row| row.open(&key)).collect();
        Ok(Page::of(passwords?, limit, |password| password.id))
    }

    /// Removes a password from the bank. What it opened stays open.
    pub async fn remove_password(&self, tx: &mut Tx, id: PasswordId) -> Result<()> {
        permit(tx, self.id, &self.standing, Action::ManagePasswords)?;
        let removed = change!(tx, c => sqlx::query("delete from passwords where id = $1 and case_id = $2")
            .bind(id.uuid()).bind(self.id.uuid()).execute(c).await.map(|r| r.rows_affected()))?;
        if removed == 0 {
            return Err(Error::NotFound);
        }
        tx.audit(Audit::PasswordRemoved { case: self.id, password: id }).await
    }
}

impl Document {
    /// Supplies a password for a document found with [`Action::ManagePasswords`]: it is kept in the bank as the newest, and
    /// the document, or the members it did not give up, are tried again, ignored or not. [`Error::Conflict`] for a document
    /// that does not wait for one.
    pub async fn supply_password(&self, tx: &mut Tx, password: &Secret, note: &str) -> Result<Kept> {
        permit(tx, self.case, &self.standing, Action::ManagePasswords)?;
        check(std::slice::from_ref(password), note)?;
        let edition = edition_to_be(tx, self.case).await?;
        let kept = keep(tx, self.case, password, note, edition).await?;
        if !kept.fresh {
            change!(tx, c => sqlx::query("update passwords set number = $2 where id = $1")
                .bind(kept.id.uuid()).bind(edition).execute(c).await.map(drop))?;
        }
        tx.audit(Audit::PasswordSupplied { case: self.case, document: self.id, password: kept.id }).await?;
        if !self.unlock(tx).await? {
            return Err(Error::Conflict("the document does not wait for a password; add it to the case instead"));
        }
        publish(tx, self.case, edition).await?;
        Ok(kept)
    }
}

impl Row {
    fn open(self, key: &CaseKey) -> Result<Password> {
        Ok(Password {
            id: PasswordId(self.id),
            note: unseal(key, &place_of_note(PasswordId(self.id)), &self.sealed_note)?,
            added_by: self.added_by.map(UserId),
            created_at: Timestamp(self.created_at),
            uses: u64::try_from(self.uses).unwrap_or(0),
            used_at: self.used_at.map(Timestamp),
        })
    }
}

fn check(passwords: &[Secret], note: &str) -> Result<()> {
    if passwords.iter().any(|password| !(1..=LONGEST).contains(&password.0.chars().count())) {
        return Err(Error::Invalid("a password must have 1 to 512 characters"));
    }
    if note.chars().count() > LONGEST_NOTE {
        return Err(Error::Invalid("a note must have at most 2000 characters"));
    }
    Ok(())
}

/// The number of the next edition. Until this transaction ends nobody else adds, and nobody [finds](unchanged) that no
/// password fits.
async fn edition_to_be(tx: &mut Tx, case: CaseId) -> Result<i64> {
    let sql = if tx.is_postgres() {
        "select bank_edition from cases where id = $1 and deleted_at is null for no key update"
    } else {
        "select bank_edition from cases where id = $1 and deleted_at is null"
    };
    let edition: Option<i64> = query!(tx, c => sqlx::query_scalar(sql).bind(case.uuid()).fetch_optional(c).await)?;
    Ok(edition.ok_or(Error::NotFound)?.saturating_add(1))
}

async fn keep(tx: &mut Tx, case: CaseId, password: &Secret, note: &str, edition: i64) -> Result<Kept> {
    let key = tx.case_key(case).await?;
    let lookup = password.lookup(&key);
    let known: Option<Uuid> = query!(tx, c => sqlx::query_scalar("select id from passwords where case_id = $1 and lookup = $2")
        .bind(case.uuid()).bind(&lookup[..]).fetch_optional(c).await)?;
    if let Some(id) = known {
        return Ok(Kept { id: PasswordId(id), fresh: false });
    }
    let (id, now, by) = (PasswordId::new(), tx.now(), tx.actor().user());
    let sealed = key.seal(&place(id), password.0.as_bytes())?;
    let sealed_note = seal(&key, &place_of_note(id), &note.trim())?;
    change!(tx, c => sqlx::query(
        "insert into passwords (id, case_id, lookup, number, sealed_password, sealed_note, added_by, created_at)
         values ($1,$2,$3,$4,$5,$6,$7,$8)")
        .bind(id.uuid()).bind(case.uuid()).bind(&lookup[..]).bind(edition).bind(sealed).bind(sealed_note)
        .bind(by.map(UserId::uuid)).bind(now.0).execute(c).await.map(drop))?;
    tx.audit(Audit::PasswordAdded { case, password: id }).await?;
    Ok(Kept { id, fresh: true })
}

async fn publish(tx: &mut Tx, case: CaseId, edition: i64) -> Result<()> {
    change!(tx, c => sqlx::query("update cases set bank_edition = $2 where id = $1")
        .bind(case.uuid()).bind(edition).execute(c).await.map(drop))?;
    tx.enqueue(&RetryProtected { case }).await
}

/// What a job may try on a protected document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// Which edition this is; 0 when no password was ever added.
    pub edition: i64,
    /// The passwords, in the order in which they are tried.
    pub passwords: Vec<(PasswordId, Secret)>,
}

/// At most `most` passwords of a case: the newest for half of the places, then those that opened the most.
pub async fn bank(tx: &mut Tx, case: CaseId, most: u32) -> Result<Bank> {
    let edition: Option<i64> = query!(tx, c => sqlx::query_scalar("select bank_edition from cases where id = $1")
        .bind(case.uuid()).fetch_optional(c).await)?;
    let edition = edition.ok_or(Error::NotFound)?;
    let mut rows: Vec<(Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
        "select id, sealed_password from passwords where case_id = $1 order by number desc, id desc limit $2")
        .bind(case.uuid()).bind(i64::from(most.div_ceil(2))).fetch_all(c).await)?;
    let proven: Vec<(Uuid, Vec<u8>)> = query!(tx, c => sqlx::query_as(
        "select id, sealed_password from passwords where case_id = $1 order by uses desc, number desc, id desc limit $2")
        .bind(case.uuid()).bind(i64::from(most)).fetch_all(c).await)?;
    for row in proven {
        if rows.len() < most as usize && rows.iter().all(|(id, _)| *id != row.0) {
            rows.push(row);
        }
    }
    let key = tx.case_key(case).await?;
    let mut passwords = Vec::with_capacity(rows.len());
    for (id, sealed) in rows {
        let id = PasswordId(id);
        let bytes = Zeroizing::new(key.open(&place(id), &sealed)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Invalid("a kept password is not text"))?;
        passwords.push((id, Secret::new(text.to_owned())));
    }
    Ok(Bank { edition, passwords })
}

/// True while `edition` is the newest of the case's bank, and so until this transaction ends. Whoever finds that no password
/// fits asks first: an edition that came meanwhile has its `retry_protected` behind it, which saw nothing to retry.
pub async fn unchanged(tx: &mut Tx, case: CaseId, edition: i64) -> Result<bool> {
    let sql = if tx.is_postgres() {
        "select bank_edition from cases where id = $1 for share"
    } else {
        "select bank_edition from cases where id = $1"
    };
    let newest: Option<i64> = query!(tx, c => sqlx::query_scalar(sql).bind(case.uuid()).fetch_optional(c).await)?;
    Ok(newest == Some(edition))
}

/// Counts passwords that opened a document of the case, and puts the use on record.
pub async fn used(tx: &mut Tx, case: CaseId, document: DocumentId, passwords: &[PasswordId]) -> Result<()> {
    let now = tx.now();
    for password in passwords.iter().copied() {
        change!(tx, c => sqlx::query("update passwords set uses = uses + 1, used_at = $3 where id = $1 and case_id = $2")
            .bind(password.uuid()).bind(case.uuid()).bind(now.0).execute(c).await.map(drop))?;
        tx.audit(Audit::PasswordUsed { case, document, password }).await?;
    }
    Ok(())
}
