//! What operators see: jobs, queues, health, figures.

use api::{ApiConfig, State};
use axum::http::StatusCode;
use domain::{
    actor::Actor,
    jobs::{Queue, SweepJobs},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use storage::{Storage, workers::Worker};
use testkit::TestStorage;
use tokio_util::sync::CancellationToken;

use crate::door::{Door, HOME};

testkit::in_each_mode!(
    jobs_are_for_administrators,
    queues_pause,
    health_tells_the_truth,
    figures_are_not_for_everybody
);

async fn enqueue(storage: &Storage) {
    let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    tx.enqueue(&SweepJobs {}).await.unwrap();
    tx.audit(storage::audit::Audit::JobsSwept { enqueued: 1 }).await.unwrap();
    tx.commit().await.unwrap();
}

async fn jobs_are_for_administrators(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann) = (door.administrator().await, door.member().await);
    enqueue(&door.test.storage).await;
    let listed = door.get("/api/v1/jobs").by(&root).send().await.expect(200).json();
    assert_eq!(listed["items"][0]["kind"], "sweep_jobs");
    let job = format!("/api/v1/jobs/{}", listed["items"][0]["id"].as_str().unwrap());
    for (method, path) in [
        ("GET", "/api/v1/jobs"),
        ("GET", job.as_str()),
        ("POST", &format!("{job}/retry")),
        ("POST", &format!("{job}/cancel")),
        ("GET", "/api/v1/queues"),
        ("GET", "/api/v1/workers"),
    ] {
        door.knock(method, path).by(&ann).send().await.refused(403, "forbidden");
        door.knock(method, path).send().await.refused(401, "unauthenticated");
    }
    assert_eq!(door.get("/api/v1/workers").by(&root).send().await.expect(200).json(), json!({ "items": [] }));
    let queues = vec![storage::workers::QueueLoad::new(Queue::Ocr, 2, 1)];
    let worker = Worker {
        name: "w1".to_owned(),
        host: "h".to_owned(),
        version: "9".to_owned(),
        queues,
        is_stopping: false,
        started_at: door.test.storage.clock.now(),
        seen_at: door.test.storage.clock.now(),
    };
    storage::workers::beat(&door.test.storage, &worker).await.unwrap();
    let told = door.get("/api/v1/workers").by(&root).send().await.expect(200).json()["items"][0].clone();
    assert_eq!(
        (&told["name"], &told["queues"][0]),
        (&json!("w1"), &json!({ "queue": "ocr", "slots": 2, "running": 1 }))
    );
    assert_eq!(door.get(&job).by(&root).send().await.expect(200).text("/state"), "ready");
    door.knock("POST", &format!("{job}/retry")).by(&root).send().await.refused(409, "conflict");
    assert_eq!(
        door.knock("POST", &format!("{job}/cancel")).by(&root).send().await.expect(200).text("/state"),
        "cancelled"
    );
    door.knock("POST", &format!("{job}/cancel")).by(&root).send().await.refused(409, "conflict");
    assert_eq!(door.get("/api/v1/jobs?state=ready").by(&root).send().await.expect(200).json()["items"], json!([]));
    assert_eq!(door.knock("POST", &format!("{job}/retry")).by(&root).send().await.expect(200).text("/state"), "ready");
    let missing = format!("/api/v1/jobs/{}", domain::ids::fresh());
    door.get(&missing).by(&root).send().await.refused(404, "not_found");
}

async fn queues_pause(test: TestStorage) {
    let door = Door::new(test);
    let (root, ann) = (door.administrator().await, door.member().await);
    let pause = |queue: &str, who, paused: bool| {
        door.put(&format!("/api/v1/queues/{queue}"), &json!({ "paused": paused })).by(who).send()
    };
    pause("extract", &ann, true).await.refused(403, "forbidden");
    pause("nothing", &root, true).await.refused(404, "not_found");
    for paused in [true, false] {
        pause("extract", &root, paused).await.expect(204);
        let queues = door.get("/api/v1/queues").by(&root).send().await.expect(200).json();
        let extract = queues["items"].as_array().unwrap().iter().find(|q| q["name"] == "extract").unwrap();
        assert_eq!(extract["paused"], paused);
    }
}

async fn health_tells_the_truth(test: TestStorage) {
    let door = Door::new(test);
    assert_eq!(door.get("/health/live").send().await.expect(200).text("/status"), "live");
    assert_eq!(door.get("/health/ready").send().await.expect(200).text("/status"), "ready");
    // Asking leaves nothing in the object store.
    assert_eq!(door.test.objects().await, (0, 0));
    door.test.storage.db.close().await;
    door.get("/health/ready").send().await.refused(503, "unavailable");
    door.get("/health/live").send().await.expect(200);
}

async fn figures_are_not_for_everybody(test: TestStorage) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // One recorder per process: whichever test comes second reads its own, empty one.
    let ours = metrics::set_global_recorder(recorder).is_ok();
    let config = ApiConfig {
        metrics_token: "a token of some length".into(),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..ApiConfig::default()
    };
    let mut door = Door::with(test, config);
    door.reopen(|state| State { metrics: Some(handle), ..state });
    door.get("/metrics").from(HOME).send().await.refused(404, "not_found");
    door.get("/metrics").from(HOME).token("a token of some other").send().await.refused(404, "not_found");
    door.get("/metrics").from("127.0.0.1").header("x-forwarded-for", HOME).send().await.refused(404, "not_found");
    door.get("/metrics").from("10.0.0.1").header("x-forwarded-for", HOME).send().await.refused(404, "not_found");
    door.get("/metrics").from("10.0.0.1").header("x-forwarded-for", "127.0.0.1").send().await.expect(200);
    enqueue(&door.test.storage).await;
    for knock in
        [door.get("/metrics").from("127.0.0.1"), door.get("/metrics").from(HOME).token("a token of some length")]
    {
        let figures = knock.send().await.expect(200);
        let text = String::from_utf8(figures.raw).unwrap();
        assert!(!ours || text.contains("dia_queue_jobs{queue=\"maintenance\",state=\"ready\"} 1"), "{text}");
        assert!(
            !ours || text.contains("dia_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"404\"}"),
            "{text}"
        );
    }
    door.reopen(|state| State { shutdown: CancellationToken::new(), ..state });
    door.state.shutdown.cancel();
    assert_eq!(door.get("/health/ready").send().await.status, StatusCode::SERVICE_UNAVAILABLE);
}
