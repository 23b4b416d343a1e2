//! The schema in PostgreSQL: who may make it, what a process may do to it, and processes of two versions over one.

use std::time::Duration;

use domain::{access::Action, ids::BatchId, jobs::Queue, page::PageQuery};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use storage::{Db, Error, PostgresSettings, api_keys, batches::Batch, jobs::Claimer, users};
use testkit::{Database, Matter, TestStorage};

const CHECKED: PostgresSettings = PostgresSettings {
    migrate: false,
    connections: 2,
    statement_timeout: Duration::ZERO,
    idle_in_transaction_timeout: Duration::ZERO,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_cannot_do_what_it_never_does() {
    let database = Database::new().await;
    let url = database.restricted().await;
    // Twice is once.
    assert_eq!(database.restricted().await, url);
    let mut process = PgConnection::connect(&url).await.unwrap();
    for refused in [
        "update audit_events set action = 'nothing'",
        "delete from audit_events",
        "truncate audit_events",
        "delete from users",
        "delete from cases",
        "update blobs set size = 0",
        "delete from _sqlx_migrations",
        "drop table jobs",
        "alter table jobs add column mine text",
        "create table mine (id bigint)",
        "create role mine superuser",
    ] {
        let answer = sqlx::query(refused).execute(&mut process).await;
        let code = answer.unwrap_err().into_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "insufficient_privilege: {refused}");
    }
    let events: i64 = sqlx::query_scalar("select count(*) from audit_events").fetch_one(&mut process).await.unwrap();
    assert_eq!(events, 0);
    for name in ["", "a\"b", "a b", &"a".repeat(64)] {
        assert!(matches!(Db::migrate_postgres(&database.url(), Some(name)).await, Err(Error::Invalid(_))), "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schema_that_is_older_is_refused() {
    let database = Database::new().await;
    let refused = Db::postgres(&database.url(), &CHECKED).await;
    assert!(refused.unwrap_err().to_string().contains("dia migrate"));
    let url = database.restricted().await;
    Db::postgres(&url, &CHECKED).await.unwrap().close().await;
    let mut owner = PgConnection::connect(&database.url()).await.unwrap();
    let newest = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
    sqlx::query(newest).execute(&mut owner).await.unwrap();
    assert!(matches!(Db::postgres(&url, &CHECKED).await, Err(Error::Invalid(_))));
}

/// Statements that read whole rows: what a connection has prepared must not break when a table gets a column.
async fn use_it(matter: &Matter, batch: BatchId, name: &str) {
    let document = matter.document(batch, name, name.as_bytes()).await;
    assert!(!matter.load(document).await.state.is_terminal());
    let mut tx = matter.begin().await;
    let database = matter.database(&mut tx, Action::Upload).await;
    assert_eq!(Batch::list(&mut tx, &database, &PageQuery::default()).await.unwrap().items.len(), 1);
    assert!(api_keys::list(&mut tx, false, &PageQuery::default()).await.unwrap().items.is_empty());
    users::find(&mut tx, matter.owner.user().unwrap()).await.unwrap();
}

/// While a fleet is upgraded, the newest process has brought the schema up to date: one of the version before goes on, another starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schema_that_is_newer_is_worked_with() {
    let mut test = TestStorage::postgres().await;
    // One connection, so that its prepared statements are used again.
    let one = PostgresSettings { connections: 1, ..PostgresSettings::default() };
    test.storage.db = Db::postgres(&test.postgres_url().unwrap(), &one).await.unwrap();
    let mut matter = Matter::open(&test).await;
    let batch = matter.batch().await;
    use_it(&matter, batch, "before.txt").await;
    let mut owner = PgConnection::connect(&test.postgres_url().unwrap()).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations'",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(tables.len() > 20);
    for table in tables {
        let adds =
            format!("alter table {table} add column tomorrow text, add column counted bigint not null default 0");
        sqlx::query(AssertSqlSafe(adds)).execute(&mut owner).await.unwrap();
    }
    sqlx::query(
        "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         values (9999, 'tomorrow', now(), true, '\\x00', 0)",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    use_it(&matter, batch, "during.txt").await;
    test.storage.db = Db::postgres(&test.postgres_url().unwrap(), &one).await.unwrap();
    matter.storage = test.storage.clone();
    use_it(&matter, batch, "after.txt").await;
    let mut claimer = Claimer::new(test.storage.clone(), Queue::Ingest, "worker", Duration::from_mins(1));
    assert_eq!(claimer.claim(3).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_is_spoken_to_over_tls_and_must_be_the_right_one() {
    let database = Database::new().await;
    let mut owner = PgConnection::connect(&database.url()).await.unwrap();
    let certificate: String = sqlx::query_scalar("show ssl_cert_file").fetch_one(&mut owner).await.unwrap();
    let settings = PostgresSettings::default();
    let right = format!("{}?sslmode=verify-ca&sslrootcert={certificate}", database.url());
    let db = Db::postgres(&right, &settings).await.unwrap();
    let Db::Postgres(pool) = &db else { panic!("this is PostgreSQL") };
    let sealed: bool =
        sqlx::query_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetch_one(pool).await.unwrap();
    assert!(sealed);
    db.close().await;
    // Signed by nobody we know; and not the name of this address.
    for wrong in ["sslmode=verify-full".to_owned(), format!("sslmode=verify-full&sslrootcert={certificate}")] {
        let refused = Db::postgres(&format!("{}?{wrong}", database.url()), &settings).await;
        assert!(refused.is_err(), "{wrong}");
    }
}
