//! The walk of the README, with the command line.

use std::{fs, path::Path, process::Stdio, time::Duration};

use crate::server::Server;

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn production(folder: &Path) {
    write(
        folder,
        "lease.txt",
        "The tenant pays a rent of 1,250 dollars each month.\n\nThe lease ends on 31 March 2031.\n",
    );
    write(folder, "letters/answer.html", "<h1>Answer</h1><p>We dispute the claim of Penrose Freight in full.</p>");
    write(
        folder,
        "mail/one.eml",
        "From: Ada <ada@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: Inspection\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\
         Content-Type: text/plain\r\n\r\nThe inspection found asbestos in the boiler room.\r\n",
    );
    write(
        folder,
        "copy of lease.txt",
        "The tenant pays a rent of 1,250 dollars each month.\n\nThe lease ends on 31 March 2031.\n",
    );
    write(folder, "empty.txt", "");
}

fn ready(server: &Server) -> (String, String) {
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "First production"]);
    (case, database)
}

#[test]
fn import_search_and_ask() {
    let server = Server::start();
    let (case, database) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    production(folder.path());
    let folder = folder.path().to_str().unwrap().to_owned();
    let imported = server.ok(&["import", &folder, "--database", &database, "--custodian", "A. Archer"]);
    assert!(
        imported.ends_with("received 5 + unpacked 0 = indexed 3 + duplicate 1 + excluded 0 + exception 1 (empty 1)"),
        "{imported}"
    );
    assert!(server.ok(&["exceptions", &database]).contains("empty.txt"));
    assert!(server.ok(&["status", &database]).starts_with("ready"));
    let found = server.ok(&["search", "--database", &database, "asbestos AND subject:inspection"]);
    assert!(found.starts_with("1 documents") && found.contains("mail/one.eml"), "{found}");
    let wrong = server.run(&["search", "--database", &database, "\"unclosed"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("bad_query"));
    let answer = server.ok(&["ask", "--case", &case, "When does the lease end?"]);
    assert!(answer.contains("31 March 2031") && answer.contains("lease.txt, page 1"), "{answer}");
    let jobs = server.ok(&["jobs", "list", "--state", "done"]);
    assert!(jobs.contains("index_database") && !jobs.contains("asbestos"), "{jobs}");
    let home = server.stop();
    // What was indexed is there after a restart.
    let server = Server::start_in(home);
    assert!(server.ok(&["search", "--database", &database, "asbestos"]).starts_with("1 documents"));
}

#[test]
fn an_interrupted_import_resumes_and_a_killed_server_loses_nothing() {
    let server = Server::start();
    let (_, database) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    for n in 0..300 {
        write(
            folder.path(),
            &format!("{:02}/note {n}.txt", n % 7),
            &format!("Note number{n} about the harbour crane.\n"),
        );
    }
    let path = folder.path().to_str().unwrap().to_owned();
    let mut import =
        server.command().args(["import", &path, "--database", &database]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    import.kill().unwrap();
    import.wait().unwrap();
    let home = server.kill();
    let server = Server::start_in(home);
    let output = server.ok(&["import", &path, "--database", &database]);
    assert!(output.contains("received 300 + unpacked 0 = indexed 300 + duplicate 0"), "{output}");
    let found = server.ok(&["search", "--database", &database, "harbour crane number299"]);
    assert!(found.starts_with("1 documents"), "{found}");
}

#[test]
fn one_directory_has_one_server_and_a_wrong_key_is_noticed() {
    let server = Server::start();
    let output = server.run(&["serve"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another dia is already serving"));
    let home = server.stop();
    let key = home.path().join(".local/share/dia/keys/root.key");
    fs::remove_file(&key).unwrap();
    let migrate =
        std::process::Command::new(env!("CARGO_BIN_EXE_dia")).arg("migrate").env("HOME", home.path()).output().unwrap();
    assert!(!migrate.status.success());
    assert!(String::from_utf8_lossy(&migrate.stderr).contains("root.key"), "{migrate:?}");
}

#[test]
fn configuration_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dia.toml");
    for (text, named) in [
        ("[api]\nlisten_on = \"x\"\n", "listen_on"),
        ("[workers]\nextract = \"many\"\n", "extract"),
        ("[api]\nmax_body_bytes = 0\n", "max_body_bytes"),
        ("[web]\n", "web"),
    ] {
        fs::write(&file, text).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_dia"))
            .args(["config", "check", "--config", file.to_str().unwrap()])
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(named), "{text}: {message}");
    }
}
