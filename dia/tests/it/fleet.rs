//! A fleet of real processes, over PostgreSQL, RabbitMQ and Redis: one door and several workers that share keys and objects.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{Broker, Database};

use crate::server::{Server, dia};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// A running `dia work`; killed when dropped.
struct Worker {
    child: Child,
    /// Where it answers.
    url: String,
}

impl Worker {
    /// Starts one and waits until it works.
    fn start(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut work = dia(home);
        work.arg("work").args(arguments).envs(variables.iter().copied()).env("DIA_WORKERS__LISTEN", "127.0.0.1:0");
        let mut child = work.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Self { child, url: String::new() };
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(url) = line.strip_prefix("dia answers on ") {
                url.clone_into(&mut worker.url);
            }
            if line.starts_with("dia works on ") {
                // Keeps the pipe open, so that its last line finds a reader.
                std::thread::spawn(move || lines.for_each(drop));
                return worker;
            }
        }
        panic!("the worker did not start");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// SIGTERM; it must end cleanly.
    fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success(), "unclean stop");
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LONG, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_fleet_needs_rows_and_events_that_processes_share() {
    let home = tempfile::tempdir().unwrap();
    for kind in ["api", "work"] {
        let refused = |variables: &[(&str, &str)], reason: &str| {
            let ended = dia(home.path()).arg(kind).envs(variables.iter().copied()).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(!ended.status.success() && said.contains(reason), "dia {kind}: {said}");
            assert!(!said.contains("secret"), "dia {kind} tells a password: {said}");
        };
        refused(&[], "PostgreSQL");
        let rows = ("DIA_DATABASE__URL", "postgres://dia:secret@127.0.0.1:1/dia");
        refused(&[rows], "live.url");
    }
    let wrong = |arguments: &[&str], reason: &str| {
        let ended = dia(home.path()).arg("work").args(arguments).output().unwrap();
        assert!(String::from_utf8_lossy(&ended.stderr).contains(reason), "{arguments:?}: {ended:?}");
    };
    wrong(&["--queues", "ingest,letters"], "`letters` is not a queue");
    wrong(&["--concurrency", "ingest"], "extract=4");
    wrong(&["--concurrency", "ingest=none"], "does not say how many");
    assert!(!home.path().join(".local/share/dia").exists(), "something was made before it was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_door_and_workers_share_the_work() {
    let (database, broker) = (Database::new().await, Broker::new().await);
    let url = database.url();
    let variables = [
        ("DIA_DATABASE__URL", url.as_str()),
        ("DIA_DATABASE__CONNECTIONS", "6"),
        ("DIA_QUEUE__URL", Broker::URL),
        ("DIA_QUEUE__PREFIX", broker.prefix.as_str()),
        ("DIA_LIVE__URL", "redis://127.0.0.1:6379/13"),
        ("DIA_LIVE__PREFIX", broker.prefix.as_str()),
        ("DIA_WORKERS__LEASE_SECONDS", "3"),
    ];
    let server = Server::start_as("api", tempfile::tempdir().unwrap(), &variables, Stdio::inherit());
    let home = server.home.path().to_owned();
    let first =
        Worker::start(&home, &variables, &["--queues", "ingest,extract,index", "--concurrency", "extract=1,ingest=3"]);
    let second = Worker::start(&home, &variables, &["--queues", "ocr,relate,chat,network,maintenance"]);

    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let documents = server.ok(&["databases", "--case", &case, "--create", "First production"]);
    let import = |name: &str, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        server.ok(&["import", folder.path().to_str().unwrap(), "--database", &documents])
    };
    let imported = import("lease.txt", "The lease ends on 31 March 2031. The rent is 1,250 dollars each month.\n");
    assert!(
        imported.ends_with("received 1 + unpacked 0 = indexed 1 + duplicate 0 + excluded 0 + exception 0"),
        "{imported}"
    );
    // The answer is written by a worker and heard on a socket of the door.
    let answer = server.ok(&["ask", "--case", &case, "When does the lease end?"]);
    assert!(answer.contains("31 March 2031") && answer.contains("lease.txt, page 1"), "{answer}");

    let operate = |arguments: &[&str]| {
        let done = dia(&home).args(arguments).envs(variables).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let listed = operate(&["workers"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("ingest 0/3, extract 0/1, index 0/1"), "{listed}");
    let wishes: Value = serde_json::from_str(&operate(&["autoscale", "--json"])).unwrap();
    let extract = wishes["queues"].as_array().unwrap().iter().find(|wish| wish["queue"] == "extract").unwrap();
    assert_eq!((&extract["workers"], &extract["wished"]), (&1.into(), &1.into()), "{extract}");
    assert!(extract["service_seconds"].as_f64().unwrap() > 0.0, "{extract}");
    assert!(operate(&["autoscale"]).lines().any(|line| line.starts_with("extract") && line.contains("wished 1")));

    for path in ["/health/live", "/health/ready"] {
        assert_eq!(first.get(path).await.0, 200, "{path}");
    }
    let (status, figures) = first.get("/metrics").await;
    assert_eq!(status, 200);
    for figure in [
        "dia_jobs_in_flight{queue=\"extract\"} 0",
        "dia_worker_slots{queue=\"ingest\"} 3",
        "dia_queue_jobs{queue=\"extract\",state=\"ready\"} 0",
        "dia_queue_oldest_seconds{queue=\"extract\"}",
        "dia_job_duration_seconds_count{queue=\"extract\"",
        "dia_bell_rings_total{queue=\"extract\",outcome=\"sent\"}",
    ] {
        assert!(figures.contains(figure), "{figure} is not in\n{figures}");
    }
    assert_eq!(first.get("/api/v1/cases").await.0, 404, "a worker has no door");

    // One is told to stop and one dies; another takes over everything, what the dead one was doing included.
    first.stop();
    until("one is left", || operate(&["workers"]).lines().count() == 1);
    second.signal("-KILL");
    drop(second);
    let third = Worker::start(&home, &variables, &[]);
    import("letter.txt", "The inspection found asbestos in the boiler room.\n");
    let found = server.ok(&["search", "--database", &documents, "asbestos"]);
    assert!(found.contains("letter.txt"), "{found}");
    let answer = server.ok(&["ask", "--case", &case, "What did the inspection find?"]);
    assert!(answer.contains("asbestos"), "{answer}");
    third.stop();
    drop(server.stop());
    broker.end().await;
}
