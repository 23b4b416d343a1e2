//! What is asked all day long is answered by indexes: PostgreSQL itself counts how often it read a table from end to end.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    access::Action,
    actor::Actor,
    ids::{self, CaseId, DocumentId, JobId},
    jobs::{ExtractText, IndexDatabase, IngestDocument, Queue},
    page::PageQuery,
};
use sqlx::{Connection as _, PgConnection, PgPool};
use storage::{
    Db,
    audit::{self, Audit},
    batches::{self, Batch},
    cases::Case,
    databases::Database,
    documents::{self, Document, DocumentFilter},
    jobs::{self, Claimer, JobFilter},
    leases, schedules, workers,
};
use testkit::{Matter, TestStorage};

/// Tables that grow with the work done.
const LARGE: [&str; 4] = ["jobs", "documents", "audit_events", "blobs"];

/// A year's rows: 20,000 jobs, nearly all of them done, and 10,000 documents in ten databases of another case.
async fn fill(pool: &PgPool, document: DocumentId, others: CaseId) {
    let statements = [
        "insert into jobs select r.* from jobs j, generate_series(1, 20000) n, lateral jsonb_populate_record(j, jsonb_build_object(
            'id', gen_random_uuid(), 'lane', gen_random_uuid(), 'document_id', gen_random_uuid(), 'started_at', 1, 'finished_at', n,
            'queue', (array['ingest','extract','ocr','index'])[1 + n % 4],
            'state', case when n % 200 = 0 then 'ready' when n % 1000 = 1 then 'dead' else 'done' end)) r
         where j.kind = 'ingest_document'",
        "insert into documents select r.* from documents d, generate_series(1, 10000) n, lateral jsonb_populate_record(d,
            jsonb_build_object('id', gen_random_uuid(), 'case_id', $2::uuid, 'item_key', '\\x' || md5(n::text), 'state', 'indexed',
            'database_id', (select array_agg(id) from databases where case_id = $2)[1 + n % 10],
            'batch_id', (select id from batches where id <> d.batch_id))) r
         where d.id = $1",
        "insert into audit_events select r.* from (select * from audit_events limit 1) a, generate_series(1, 10000) n,
            lateral jsonb_populate_record(null::audit_events, to_jsonb(a) || jsonb_build_object('id', md5(n::text)::uuid,
            'case_id', gen_random_uuid(), 'resource_id', gen_random_uuid())) r",
        "insert into blobs select r.* from (select * from blobs limit 1) b, generate_series(1, 10000) n,
            lateral jsonb_populate_record(null::blobs, to_jsonb(b) || jsonb_build_object('id', md5(n::text)::uuid)) r",
        "update batches set state = 'sealed'",
        "analyze",
    ];
    for sql in statements {
        let query = sqlx::query(sql);
        let query = if sql.contains("$1") { query.bind(document.uuid()).bind(others.uuid()) } else { query };
        query.execute(pool).await.unwrap();
    }
}

/// How often each large table was read from end to end so far. Connections tell what they did when they close.
async fn scans(test: &TestStorage) -> BTreeMap<String, i64> {
    let url = test.postgres_url().unwrap();
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let sql = "select relname::text, seq_scan from pg_stat_user_tables where relname = any($1)";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(LARGE.as_slice()).fetch_all(&mut watcher).await.unwrap();
    rows.into_iter().collect()
}

/// Closes every connection and opens the storage anew.
async fn reopen(test: &mut TestStorage) {
    test.storage.db.close().await;
    test.storage.db = Db::postgres(&test.postgres_url().unwrap(), &storage::PostgresSettings::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_asked_all_day_reads_no_large_table_from_end_to_end() {
    let mut test = TestStorage::postgres().await;
    let (matter, others) = (Matter::open(&test).await, Matter::open(&test).await);
    let mut tx = others.begin().await;
    let case = Case::find(&mut tx, others.case, Action::ManageDatabase).await.unwrap();
    for n in 2..=10 {
        let name = format!("Production {n}");
        Database::create(&mut tx, &case, &name, "", storage::databases::Deduplication::default()).await.unwrap();
    }
    tx.commit().await.unwrap();
    others.batch().await;
    let batch = matter.batch().await;
    let document = matter.document(batch, "a.txt", b"a").await;
    let Db::Postgres(pool) = &test.storage.db else { panic!("this is PostgreSQL") };
    fill(pool, document, others.case).await;
    reopen(&mut test).await;
    let before = scans(&test).await;
    assert_eq!(before.len(), LARGE.len());

    let (storage, administrator) = (test.storage.clone(), test.administrator().await);
    let system = Actor::system(ids::fresh());
    // A worker's day.
    for queue in Queue::ALL {
        let mut claimer = Claimer::new(storage.clone(), queue, "w", Duration::from_secs(30));
        let held = claimer.claim(4).await.unwrap();
        let kept: Vec<(JobId, i64)> = held.iter().map(|job| (job.id, job.fence)).collect();
        jobs::extend(&storage, &kept, Duration::from_secs(30)).await.unwrap();
        for (n, job) in held.iter().enumerate() {
            match n % 3 {
                0 => jobs::done(&storage, job).await.unwrap(),
                1 => jobs::again(&storage, job, Duration::from_secs(9), "no").await.unwrap(),
                _ => jobs::release(&storage, std::slice::from_ref(job)).await.unwrap(),
            }
        }
    }
    let mut tx = storage.begin(&system).await.unwrap();
    let index = IndexDatabase { case: matter.case, database: matter.database };
    tx.enqueue(&IngestDocument { case: matter.case, document }).await.unwrap();
    tx.enqueue(&ExtractText { case: matter.case, document }).await.unwrap();
    tx.enqueue(&index).await.unwrap();
    tx.enqueue(&index).await.unwrap();
    assert!(tx.is_live(&index).await.unwrap());
    tx.audit(Audit::JobsSwept { enqueued: 3 }).await.unwrap();
    tx.commit().await.unwrap();
    schedules::fire(&storage, &domain::jobs::SweepJobs {}, Duration::from_mins(1)).await.unwrap();
    leases::acquire(&storage, "index:1", "w", Duration::from_secs(9)).await.unwrap();
    // A reader's day.
    let mut tx = storage.read(&matter.owner).await.unwrap();
    let page = PageQuery::default();
    let database = Database::find(&mut tx, matter.database, Action::ReadDocuments).await.unwrap();
    let case = Case::find(&mut tx, matter.case, Action::ReadDocuments).await.unwrap();
    Document::find(&mut tx, document, Action::ReadDocuments).await.unwrap();
    Document::list(&mut tx, &database, &DocumentFilter::default(), &page).await.unwrap();
    Document::list_case(&mut tx, &case, &DocumentFilter::default(), &page).await.unwrap();
    Document::present(&mut tx, matter.case, &[document]).await.unwrap();
    database.status(&mut tx).await.unwrap();
    batches::at_rest(&mut tx).await.unwrap();
    Batch::find(&mut tx, &database, batch).await.unwrap().counts(&mut tx).await.unwrap();
    documents::extracted(&mut tx, matter.case, matter.database, 100).await.unwrap();
    documents::deleted(&mut tx, matter.database, 100).await.unwrap();
    audit::list(&mut tx, matter.case, &audit::Filter::default(), &page).await.unwrap();
    assert!(Case::find(&mut tx, CaseId::new(), Action::ReadDocuments).await.is_err());
    drop(tx);
    // An operator's day; the depths are read with every scrape.
    let mut tx = storage.read(&administrator).await.unwrap();
    jobs::counts(&mut tx).await.unwrap();
    jobs::service_times(&mut tx, Duration::from_mins(1)).await.unwrap();
    let dead = JobFilter { state: Some("dead".to_owned()), kind: None };
    for filter in [JobFilter::default(), dead] {
        jobs::list(&mut tx, &filter, &page).await.unwrap();
    }
    workers::list(&mut tx).await.unwrap();
    drop(tx);
    drop(storage);

    reopen(&mut test).await;
    let after = scans(&test).await;
    assert_eq!(after, before, "read from end to end: {after:?}, before {before:?}");
    // The counter counts: this is what it would show.
    test.number("select count(*) from jobs where error like '%x%'").await;
    let begun = std::time::Instant::now();
    while scans(&test).await["jobs"] == before["jobs"] {
        assert!(begun.elapsed() < Duration::from_secs(20), "PostgreSQL does not count");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
