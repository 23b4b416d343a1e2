//! The schema in PostgreSQL: who makes it, who checks it, and what the processes of a fleet may do with each of its tables.

use std::collections::HashSet;

use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::ACQUIRE;
use crate::{Error, Result};

/// The statements that storage sends to each table; what is not here no process of a fleet can do, whatever it is made to do.
/// The audit trail can only grow.
const PRIVILEGES: [(&str, &[&str]); 5] = [
    ("select", &["_sqlx_migrations"]),
    ("select, insert", &["audit_checkpoints", "audit_events", "audit_leaves", "audit_nodes", "readers"]),
    ("select, insert, update", &["alerts", "cases", "queues", "schedules", "system", "users"]),
    (
        "select, insert, delete",
        &["api_key_cases", "audit_pending", "blobs", "case_keys", "context_items", "readings", "versions"],
    ),
    (
        "select, insert, update, delete",
        &[
            "api_keys",
            "batches",
            "break_glass",
            "case_members",
            "case_walls",
            "contents",
            "conversations",
            "databases",
            "documents",
            "generations",
            "idempotency",
            "items",
            "jobs",
            "leases",
            "load_files",
            "messages",
            "password_resets",
            "passwords",
            "recovery_codes",
            "relations",
            "second_factors",
            "sessions",
            "sign_in_attempts",
            "sign_in_steps",
            "signup_codes",
            "threads",
            "upload_parts",
            "uploads",
            "webhook_deliveries",
            "webhooks",
            "workers",
        ],
    ),
];

/// Those of this version. Ones that only a newer version knows are no error.
fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("../migrations/postgres");
    migrations.set_ignore_missing(true);
    migrations
}

/// Applies what is missing. sqlx holds an advisory lock meanwhile, so many processes may start at once. Building an index over
/// millions of rows takes as long as it takes.
pub(super) async fn bring_up_to_date(options: &PgConnectOptions, role: Option<&str>) -> Result<()> {
    let patient =
        PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options.clone()).await?;
    migrations().run(&patient).await?;
    if let Some(role) = role {
        grant(&mut *patient.acquire().await?, role).await?;
    }
    patient.close().await;
    Ok(())
}

/// Fails unless every migration of this version was applied.
pub(super) async fn expect(options: &PgConnectOptions) -> Result<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    let made: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut connection).await?;
    let applied: Vec<i64> = if made {
        sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(&mut connection).await?
    } else {
        Vec::new()
    };
    connection.close().await?;
    let applied: HashSet<i64> = applied.into_iter().collect();
    if migrations().iter().all(|migration| applied.contains(&migration.version)) {
        return Ok(());
    }
    Err(Error::Invalid("the schema is older than this version of dia; run `dia migrate` as its owner first"))
}

/// In one transaction, so that a process that works meanwhile never misses what it may do.
async fn grant(connection: &mut PgConnection, role: &str) -> Result<()> {
    if role.is_empty() || role.len() > 63 || !role.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(Error::Invalid("the name of a role is made of ASCII letters, digits and underscores here"));
    }
    let schema: String = sqlx::query_scalar("select quote_ident(current_schema())").fetch_one(&mut *connection).await?;
    let mut statements = vec![
        format!("revoke all on all tables in schema {schema} from \"{role}\""),
        format!("revoke create on schema {schema} from \"{role}\""),
        format!("grant usage on schema {schema} to \"{role}\""),
    ];
    for (statement, tables) in PRIVILEGES {
        statements.push(format!("grant {statement} on {} to \"{role}\"", tables.join(", ")));
    }
    let mut transaction = connection.begin().await?;
    for statement in statements {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
