//! The receiver that docs/deliveries.md shows, with a verifier that is not ours, hears of a delivery.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::server::{PASSWORD, Server};

fn python() -> PathBuf {
    let cache = std::env::var("DIA_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/dia"));
    let python = cache.join("webhooks/bin/python");
    assert!(python.is_file(), "`scripts/setup test` installs the verifier of webhooks");
    python
}

/// Killed when the test ends.
struct Receiver(Child);

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_receiver_of_the_documentation_hears_of_a_delivery() {
    let page = include_str!("../../../docs/deliveries.md");
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let allowed = [
        ("DIA_WEBHOOKS__PLAIN_HOSTS", format!("[\"{host}\"]")),
        ("DIA_WEBHOOKS__NETWORKS", "[\"127.0.0.0/8\"]".to_owned()),
    ];
    let allowed: Vec<(&str, &str)> = allowed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start_with(tempfile::tempdir().unwrap(), &allowed);
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "Production"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/webhooks.py");
    let receiver = format!("http://{host}/hook");
    let made = Command::new(python()).arg(script).args([&server.url, PASSWORD, &case, &receiver]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let secret = String::from_utf8(made.stdout).unwrap();

    let mut receiver = Command::new(python());
    receiver.args(["-c", program]).env("WEBHOOK_SECRET", secret.trim()).env("PORT", port.to_string());
    let mut receiver = Receiver(receiver.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let heard = BufReader::new(receiver.0.stdout.take().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "The inspection found asbestos.\n").unwrap();
    server.ok(&["import", "--database", &database, folder.path().to_str().unwrap()]);
    let mut told = Vec::new();
    // They come in no order.
    for line in heard.lines().map(Result::unwrap).take(2) {
        let (event, data) = line.split_once(' ').unwrap();
        told.push(event.to_owned());
        if event == "batch.settled" {
            assert!(data.contains("'indexed': 1") && data.contains("'in_flight': 0"), "{data}");
        }
    }
    told.sort();
    assert_eq!(told, ["batch.sealed", "batch.settled"]);
}
