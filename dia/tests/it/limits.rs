//! Limits with the real binary: two doors share budgets over Redis, and a client that is told to wait waits.

use std::{fs, process::Stdio};

use testkit::{Broker, Database};

use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_doors_share_a_budget() {
    let (database, broker) = (Database::new().await, Broker::new().await);
    let url = database.url();
    let variables = [
        ("DIA_DATABASE__URL", url.as_str()),
        ("DIA_DATABASE__CONNECTIONS", "6"),
        ("DIA_LIVE__URL", "redis://127.0.0.1:6379/13"),
        ("DIA_LIVE__PREFIX", broker.prefix.as_str()),
        // Nothing to speak of comes back while the test runs.
        ("DIA_LIMITS__WRITE__PER_MINUTE", "1"),
        ("DIA_LIMITS__WRITE__BURST", "10"),
    ];
    let one = Server::start_as("api", tempfile::tempdir().unwrap(), &variables, Stdio::inherit());
    // The other shares the first one's keys.
    let home = tempfile::tempdir().unwrap();
    let keys = ".local/share/dia/keys";
    fs::create_dir_all(home.path().join(keys)).unwrap();
    fs::copy(one.home.path().join(keys).join("root.key"), home.path().join(keys).join("root.key")).unwrap();
    let two = Server::start_as("api", home, &variables, Stdio::inherit());
    let http = reqwest::Client::builder().build().unwrap();
    let refresh = async |server: &Server| {
        let request = http.post(format!("{}/api/v1/auth/refresh", server.url));
        let answer = request.json(&serde_json::json!({ "refresh_token": "x" })).send().await.unwrap();
        let limit = answer.headers().get("ratelimit").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), limit.unwrap_or_default())
    };
    // Each finds Redis beside its first requests; then what one takes the other is short of.
    for server in [&one, &two] {
        http.get(format!("{}/api/v1/auth/me", server.url)).send().await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut told = Vec::new();
    for server in [&one, &two, &one, &two, &one, &two, &one, &two, &one, &two, &one, &two] {
        told.push(refresh(server).await);
    }
    let allowed = told.iter().filter(|(status, _)| *status == 401).count();
    assert_eq!(allowed, 10, "{told:?}");
    assert!(told[10..].iter().all(|(status, _)| *status == 429), "{told:?}");
    assert!(told[1].1.starts_with("\"write\";r=8;"), "{told:?}");
    drop((one.stop(), two.stop()));
    broker.end().await;
}

#[test]
fn an_import_waits_when_it_is_told_to() {
    let home = tempfile::tempdir().unwrap();
    // Deliveries come back at one a second after the first two; so do looks at the progress.
    let few = [("DIA_LIMITS__UPLOAD__PER_MINUTE", "60"), ("DIA_LIMITS__UPLOAD__BURST", "2")];
    let server = Server::start_with(home, &few);
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "First production"]);
    let folder = tempfile::tempdir().unwrap();
    for n in 0..300 {
        fs::write(folder.path().join(format!("{n}.txt")), format!("Paper {n} of the lighthouse.\n")).unwrap();
    }
    let imported = server.ok(&["import", folder.path().to_str().unwrap(), "--database", &database]);
    assert!(
        imported.ends_with("received 300 + unpacked 0 = indexed 300 + duplicate 0 + excluded 0 + exception 0"),
        "{imported}"
    );
}
