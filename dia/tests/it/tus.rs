//! A delivery by a real tus client (tuspy), over a server that is killed in the middle of it.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::server::{PASSWORD, Server};

fn python() -> PathBuf {
    let cache = std::env::var("DIA_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/dia"));
    let python = cache.join("tus/bin/python");
    assert!(python.is_file(), "`scripts/setup test` installs the tus client");
    python
}

fn client(server: &Server, database: &str, folder: &str, step: &str) -> Value {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tus.py");
    let output =
        Command::new(python()).arg(script).args([&server.url, PASSWORD, database, folder, step]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_platform_delivers_with_tus() {
    let server = Server::start();
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "Production"]);
    let folder = tempfile::tempdir().unwrap();
    let natives = folder.path().join("NATIVES");
    std::fs::create_dir(&natives).unwrap();
    std::fs::write(natives.join("0001.txt"), "The inspection found asbestos.\n").unwrap();
    let mail = "From: a@example.org\r\nTo: b@example.org\r\nSubject: Rent\r\n\r\nIt is due on the first.\r\n";
    std::fs::write(natives.join("0002.eml"), mail).unwrap();
    std::fs::write(natives.join("empty.txt"), "").unwrap();
    let large: String = (0..250_000).map(|n| format!("line {n} of it\n")).collect();
    std::fs::write(natives.join("large.txt"), large + "The last word is quintessence.\n").unwrap();
    let lines = [
        ("BEGBATES", "CUSTODIAN", "NATIVEPATH", "PRIVILEGE"),
        ("P001", "Doe, Jane", r".\NATIVES\0001.txt", "zonkopalm"),
        ("P002", "Doe, Jane", r".\NATIVES\0002.eml", ""),
        ("P003", "", r".\NATIVES\large.txt", ""),
        ("P004", "", r".\NATIVES\EMPTY.TXT", ""),
        ("P005", "", r".\NATIVES\lost.txt", ""),
    ];
    let line = |(a, b, c, d)| format!("þ{a}þ\u{14}þ{b}þ\u{14}þ{c}þ\u{14}þ{d}þ\r\n");
    std::fs::write(folder.path().join("VOL001.dat"), lines.map(line).concat()).unwrap();

    let path = folder.path().to_str().unwrap();
    let begun = client(&server, &database, path, "begin");
    assert_eq!(begun["offset"], 2 << 20);
    let server = Server::start_in(server.kill());
    let told = client(&server, &database, path, &begun.to_string());
    let items = &told["report"]["items"];
    assert_eq!((&items["delivered"], &items["awaited"], &items["failed"]), (&4.into(), &1.into(), &0.into()));
    let counts = &told["report"]["counts"];
    assert_eq!((&counts["received"], &counts["indexed"], &counts["exception"]), (&4.into(), &3.into(), &1.into()));
    let mut errors: Vec<(String, String)> = serde_json::from_value(told["errors"].clone()).unwrap();
    errors.sort();
    let expected = [(r".\NATIVES\lost.txt", "missing"), ("VOL001/NATIVES/empty.txt", "empty")];
    assert_eq!(errors, expected.map(|(path, error)| (path.to_owned(), error.to_owned())));
    for query in ["quintessence", "zonkopalm AND asbestos", "name:P002", "custodian:doe AND rent"] {
        let found = server.ok(&["search", "--database", &database, query]);
        assert!(found.starts_with("1 documents"), "{query}: {found}");
    }
}
