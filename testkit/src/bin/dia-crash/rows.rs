//! The rows of a dead server, looked at from outside: a copy of a database in a file is opened, so that the next
//! life finds its files exactly as the kill left them; one in PostgreSQL is asked as it is.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use testkit::plaintext::Secrets;
use tokio::process::Command;

use crate::objects::Store;

/// References that must lead somewhere (I5): what is wrong, and the query that counts it.
const REFERENCES: [(&str, &str); 14] = [
    (
        "originals without a register entry",
        "select count(*) from documents d where not exists (select 1 from blobs b where b.id = d.original_blob)",
    ),
    (
        "texts without a register entry",
        "select count(*) from documents d where d.text_blob is not null and not exists (select 1 from blobs b where b.id = d.text_blob)",
    ),
    (
        "copies of a document that is gone",
        "select count(*) from documents d where d.state = 'duplicate' and not exists (select 1 from documents f where f.id = d.duplicate_of)",
    ),
    (
        "indexed documents without a text",
        "select count(*) from documents where state = 'indexed' and text_blob is null",
    ),
    (
        "items of documents that are gone",
        "select count(*) from items i where i.document_id is not null and not exists (select 1 from documents d where d.id = i.document_id)",
    ),
    (
        "uploads of documents that are gone",
        "select count(*) from uploads u where u.document_id is not null and not exists (select 1 from documents d where d.id = u.document_id)",
    ),
    (
        "pieces of uploads without a register entry",
        "select count(*) from upload_parts p where not exists (select 1 from blobs b where b.id = p.blob)",
    ),
    ("exceptions without a reason", "select count(*) from documents where state = 'exception' and exception is null"),
    (
        "live generations without a row",
        "select count(*) from databases d where d.generation > 0 and not exists
      (select 1 from generations g where g.database_id = d.id and g.number = d.generation)",
    ),
    (
        "open jobs of documents that are gone",
        "select count(*) from jobs j where j.state in ('ready', 'running') and j.document_id is not null
      and not exists (select 1 from documents d where d.id = j.document_id)",
    ),
    (
        "live generations that hold other documents than the indexed ones",
        "select count(*) from databases d join generations g on g.database_id = d.id and g.number = d.generation
      where g.documents <> (select count(*) from documents f where f.database_id = d.id and f.state = 'indexed')",
    ),
    (
        "answers that ended more than once",
        "select count(*) from (select resource_id from audit_events
      where action in ('message.answered', 'message.failed', 'message.cancelled') group by resource_id having count(*) > 1) twice",
    ),
    (
        "answers whose end left no trace",
        "select count(*) from messages m where m.role = 'assistant' and not exists (select 1 from audit_events e
      where e.resource_id = m.id and e.action in ('message.answered', 'message.failed', 'message.cancelled'))",
    ),
    ("deleted cases that keep their words", "select count(*) from cases where deleted_at is not null and title <> ''"),
];

/// The same where the databases speak differently.
const OF_SQLITE: [(&str, &str); 2] = [
    (
        "leases of databases that are gone",
        "select count(*) from leases l where l.name like 'index:%' and not exists
      (select 1 from databases d where lower(hex(d.id)) = replace(substr(l.name, 7), '-', ''))",
    ),
    ("foreign keys that lead nowhere", "select count(*) from pragma_foreign_key_check"),
];
const OF_POSTGRES: [(&str, &str); 1] = [(
    "leases of databases that are gone",
    "select count(*) from leases l where l.name like 'index:%' and not exists
      (select 1 from databases d where cast(d.id as text) = substr(l.name, 7))",
)];

/// Where the rows of a run are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a data directory.
    Directory(PathBuf),
    /// In PostgreSQL, by its URL.
    Postgres(String),
}

impl Place {
    /// I7: whether something secret stands in the clear in what PostgreSQL holds; a directory is searched as files are.
    pub(crate) async fn has_plaintext(&self, secrets: &Secrets) -> Result<bool> {
        let Self::Postgres(url) = self else { return Ok(false) };
        let dump = Command::new("pg_dump").args(["--data-only", "--dbname", url]).output().await?;
        ensure!(dump.status.success(), "pg_dump failed: {}", String::from_utf8_lossy(&dump.stderr));
        let text = String::from_utf8(dump.stdout).context("the dump is not UTF-8")?;
        // Bytes stand in a dump as `\\x` and hexadecimal digits.
        let mut bytes = Vec::new();
        for field in text.split(['\t', '\n']).filter_map(|field| field.strip_prefix(r"\\x")) {
            bytes.extend(hex::decode(field).context("a dump of bytes")?);
            bytes.push(0);
        }
        println!("searched {} kB of rows for plaintext", text.len() / 1000);
        ensure!(!bytes.is_empty(), "the dump holds no bytes");
        Ok(secrets.stand_in(text.as_bytes()) || secrets.stand_in(&bytes))
    }
}

/// Rows being looked at.
enum Rows {
    Sqlite(SqliteConnection, #[expect(dead_code, reason = "the copy lies in it")] TempDir),
    Postgres(PgConnection),
}

impl Rows {
    /// `None` when there is no database yet.
    async fn open(place: &Place) -> Result<Option<Self>> {
        match place {
            Place::Postgres(url) => Ok(Some(Self::Postgres(PgConnection::connect(url).await?))),
            Place::Directory(data) => {
                let copy = tempfile::tempdir()?;
                Ok(open_copy(data, copy.path()).await?.map(|rows| Self::Sqlite(rows, copy)))
            }
        }
    }

    async fn number(&mut self, sql: &str) -> Result<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::Sqlite(rows, _) => sqlx::query_scalar(sql).fetch_one(rows).await?,
            Self::Postgres(rows) => sqlx::query_scalar(sql).fetch_one(rows).await?,
        })
    }

    async fn texts(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<Vec<String>> {
        Ok(match self {
            Self::Sqlite(rows, _) => sqlx::query_scalar(sqlite).fetch_all(rows).await?,
            Self::Postgres(rows) => sqlx::query_scalar(postgres).fetch_all(rows).await?,
        })
    }

    fn references(&self) -> Vec<(&'static str, &'static str)> {
        let own: &[_] = match self {
            Self::Sqlite(..) => &OF_SQLITE,
            Self::Postgres(_) => &OF_POSTGRES,
        };
        [&REFERENCES[..], own].concat()
    }

    /// What makes the file itself unsound.
    async fn unsound(&mut self) -> Result<Option<String>> {
        let Self::Sqlite(rows, _) = self else { return Ok(None) };
        let sound: String = sqlx::query_scalar("pragma integrity_check").fetch_one(rows).await?;
        Ok((sound != "ok").then(|| format!("the database file is damaged: {sound}")))
    }
}

/// The audit trail as last seen.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    entries: BTreeMap<String, String>,
}

impl Trail {
    /// I4: what was there is there still, unchanged. And the database file is sound.
    pub(crate) async fn check(&mut self, place: &Place) -> Result<Vec<String>> {
        let Some(mut rows) = Rows::open(place).await? else { return Ok(Vec::new()) };
        let mut wrong: Vec<String> = rows.unsound().await?.into_iter().collect();
        let entries = rows
            .texts(
                "select hex(id) || ' ' || at || ' ' || actor_kind || ' ' || coalesce(hex(actor_id), '') || ' ' || action || ' ' || details
                 from audit_events",
                "select id || ' ' || at || ' ' || actor_kind || ' ' || coalesce(cast(actor_id as text), '') || ' ' || action || ' ' || details
                 from audit_events",
            )
            .await?;
        let split = |entry: String| entry.split_once(' ').map(|(id, entry)| (id.to_owned(), entry.to_owned()));
        let entries: BTreeMap<String, String> = entries.into_iter().filter_map(split).collect();
        let lost = self.entries.iter().filter(|(id, entry)| entries.get(*id) != Some(entry)).count();
        if lost > 0 {
            wrong.push(format!("I4 {lost} audit events are gone or changed"));
        }
        self.entries = entries;
        Ok(wrong)
    }
}

/// I5 and the end of cases: rows and objects refer to what exists, in both directions, and of `deleted` cases nothing is left.
pub(crate) async fn references(place: &Place, store: &Store, deleted: usize) -> Result<Vec<String>> {
    let Some(mut rows) = Rows::open(place).await? else {
        return Ok(vec!["there is no database".to_owned()]);
    };
    let mut wrong = Vec::new();
    for (what, sql) in rows.references() {
        let count = rows.number(sql).await?;
        if count > 0 {
            wrong.push(format!("I5 {count} {what}"));
        }
    }
    let gone = rows.number("select count(*) from cases where deleted_at is not null").await?;
    if usize::try_from(gone) != Ok(deleted) {
        wrong.push(format!("{deleted} cases were deleted, {gone} are marked so"));
    }
    wrong.extend(remains(&mut rows).await?);
    let registered =
        rows.texts("select lower(hex(id)) from blobs", "select replace(cast(id as text), '-', '') from blobs").await?;
    wrong.extend(store.compare(&registered.into_iter().collect()).await?);
    Ok(wrong)
}

/// What is left of deleted cases, in every table that knows of cases. Their own rows and the audit trail stay.
async fn remains(rows: &mut Rows) -> Result<Vec<String>> {
    let tables = rows
        .texts(
            "select m.name from sqlite_master m join pragma_table_info(m.name) c on c.name = 'case_id'
             where m.type = 'table' and m.name <> 'audit_events'",
            "select cast(table_name as text) from information_schema.columns where column_name = 'case_id' and table_schema = 'public'
             and table_name <> 'audit_events'",
        )
        .await?;
    ensure!(tables.iter().any(|table| table == "case_keys"), "the tables of cases were not recognised: {tables:?}");
    let mut wrong = Vec::new();
    for table in tables {
        let sql =
            format!("select count(*) from {table} t join cases c on c.id = t.case_id where c.deleted_at is not null");
        let left = rows.number(&sql).await?;
        if left > 0 {
            wrong.push(format!("{left} rows of deleted cases are left in {table}"));
        }
    }
    Ok(wrong)
}

async fn open_copy(data: &Path, copy: &Path) -> Result<Option<SqliteConnection>> {
    for name in ["dia.sqlite", "dia.sqlite-wal"] {
        if data.join(name).exists() {
            fs::copy(data.join(name), copy.join(name))?;
        }
    }
    let path = copy.join("dia.sqlite");
    if !path.exists() {
        return Ok(None);
    }
    let mut rows = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await?;
    // A kill during the first start may come before the first table.
    let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_master where name = 'audit_events'")
        .fetch_one(&mut rows)
        .await?;
    Ok((tables == 1).then_some(rows))
}
