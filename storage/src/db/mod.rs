//! The two databases behind one text of SQL. A statement is written once with `$1` parameters and native uuid, bool,
//! bytes, bigint and JSON; the macros below expand it per driver. Only what truly differs asks for the dialect.

mod schema;

use std::{path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection as _, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::error::Result;

/// Where rows live.
#[derive(Debug, Clone)]
pub enum Db {
    /// A file beside the data: one writer, many readers.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Read-only connections.
        readers: SqlitePool,
    },
    /// A PostgreSQL server.
    Postgres(PgPool),
}

/// How long a caller waits for a connection before the database counts as away.
const ACQUIRE: Duration = Duration::from_mins(1);

/// How a process uses a PostgreSQL server. Zero leaves a limit to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresSettings {
    /// Brings the schema up to date on opening; otherwise it must be already ([`Db::migrate_postgres`]).
    pub migrate: bool,
    /// Most connections it holds.
    pub connections: u32,
    /// Longest run of a statement; the server ends it then.
    pub statement_timeout: Duration,
    /// Longest pause within a transaction: a process that was frozen in the midst of one must not hold its locks for ever.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            migrate: true,
            connections: 16,
            statement_timeout: Duration::from_mins(5),
            idle_in_transaction_timeout: Duration::from_mins(2),
        }
    }
}

impl Db {
    /// Opens (and creates) a SQLite database file and brings its schema up to date.
    ///
    /// One writer with `BEGIN IMMEDIATE` never meets `SQLITE_BUSY_SNAPSHOT`; `synchronous=FULL` makes a commit durable.
    pub async fn sqlite(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30))
            .foreign_keys(true)
            .pragma("secure_delete", "on")
            .pragma("temp_store", "memory")
            .pragma("journal_size_limit", "67108864");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            // SQLite ends a transaction by itself when the disk is full, which the driver does not notice: it believes in
            // that transaction for ever. Such a connection is replaced.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!("../migrations/sqlite").run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(8)
            .acquire_timeout(ACQUIRE)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// Connects to PostgreSQL (`postgres://user@host/database`, with `?sslmode=verify-full` over TLS). A schema that is newer
    /// than this version is worked with: while a fleet is upgraded, its processes are of two versions.
    pub async fn postgres(url: &str, settings: &PostgresSettings) -> Result<Self> {
        let options = postgres_options(url)?;
        if settings.migrate {
            schema::bring_up_to_date(&options, None).await?;
        } else {
            schema::expect(&options).await?;
        }
        let limits = [
            ("statement_timeout", settings.statement_timeout),
            ("idle_in_transaction_session_timeout", settings.idle_in_transaction_timeout),
        ];
        let limits = limits.map(|(name, limit)| format!("set {name} = {}", limit.as_millis())).join("; ");
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(ACQUIRE)
            .after_connect(move |connection, _| {
                let limits = AssertSqlSafe(limits.clone());
                Box::pin(async move { sqlx::raw_sql(limits).execute(connection).await.map(drop) })
            })
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// Brings the schema of a PostgreSQL database up to date and gives `role`, if one is named, what the processes of dia need
    /// and no more. The URL is that of the schema's owner.
    pub async fn migrate_postgres(url: &str, role: Option<&str>) -> Result<()> {
        schema::bring_up_to_date(&postgres_options(url)?, role).await
    }

    /// Closes all connections; SQLite folds its write-ahead log into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.application_name("dia"))
}

/// Runs a reading statement on a [`crate::Tx`]: `query!(tx, c => sqlx::query(…).fetch_one(c).await)`.
macro_rules! query {
    ($tx:expr, $c:ident => $body:expr) => {
        match &mut $tx.connection {
            $crate::tx::Connection::Sqlite(t) => {
                #[allow(unused, reason = "only bulk statements name the driver")]
                type Driver = sqlx::Sqlite;
                let $c = &mut **t;
                $body
            }
            $crate::tx::Connection::Postgres(t) => {
                #[allow(unused, reason = "only bulk statements name the driver")]
                type Driver = sqlx::Postgres;
                let $c = &mut **t;
                $body
            }
        }
    };
}

/// Runs a changing statement on a [`crate::Tx`] and remembers that the transaction owes an audit event.
macro_rules! change {
    ($tx:expr, $c:ident => $body:expr) => {{
        $tx.changed = true;
        $crate::db::query!($tx, $c => $body)
    }};
}

pub(crate) use change;
pub(crate) use query;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_does_not_silence_the_writer() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::sqlite(&directory.path().join("dia.sqlite")).await.unwrap();
        let Db::Sqlite { writer, .. } = &db else { panic!("this is SQLite") };
        // As full as a disk can be for this connection; the next one sees the room there is.
        let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(writer).await.unwrap();
        let limit = AssertSqlSafe(format!("pragma max_page_count = {pages}"));
        sqlx::query(limit).execute(writer).await.unwrap();
        let insert = "insert into queues (name, paused) values ($1, true)";
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let written = sqlx::query(insert).bind("x".repeat(1 << 20)).execute(&mut *transaction).await;
        assert!(crate::Error::from(written.unwrap_err()).is_full());
        drop(transaction);

        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query(insert).bind("x".repeat(1 << 20)).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}
