//! The walk of the README, with the command line.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::server::{Server, dia};

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
fn exceptions_are_worked_through() {
    let server = Server::start();
    let (_, database) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "empty.txt", "");
    write(folder.path(), "also empty.txt", "");
    write(folder.path(), "note.txt", "A note about the lighthouse.\n");
    let path = folder.path().to_str().unwrap().to_owned();
    server.ok(&["import", &path, "--database", &database]);
    let listed = server.ok(&["exceptions", &database]);
    let ids: Vec<&str> = listed.lines().step_by(2).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(ids.len(), 2, "{listed}");
    let ignored =
        server.ok(&["exceptions", "ignore", &database, "--document", ids[0], "--note", "empty at the source"]);
    assert!(ignored.starts_with("1 exceptions are set aside"), "{ignored}");
    assert!(server.ok(&["status", &database]).contains("excluded 1 + exception 1"));
    let refused = server.run(&["exceptions", "ignore", &database, "--note", " "]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("invalid"));

    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), "whole.txt", "The whole text mentions a foghorn.\n");
    let file = whole.path().join("whole.txt");
    let replaced = server.ok(&["exceptions", "replace", ids[1], file.to_str().unwrap(), "--note", "a fresh copy"]);
    assert!(replaced.contains("is version 2 now, 35 bytes"), "{replaced}");
    while !server.ok(&["status", &database]).contains("indexed 2 ") {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.ok(&["search", "--database", &database, "foghorn"]).starts_with("1 documents"));
    let retried = server.ok(&["exceptions", "retry", &database, "--document", ids[0]]);
    assert!(retried.starts_with("1 documents are tried again"), "{retried}");
    while !server.ok(&["status", &database]).contains("excluded 0 + exception 1 (") {
        std::thread::sleep(Duration::from_millis(50));
    }
    let nobody = "01890000-0000-7000-8000-000000000000";
    let missing = server.run(&["reprocess", &database, nobody]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("not_found"));
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
fn an_import_interrupted_while_it_waits_is_not_delivered_twice() {
    let server = Server::start();
    let (_, database) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    for n in 0..40 {
        write(folder.path(), &format!("note {n}.txt"), &format!("Note number{n} about the quay.\n"));
    }
    let path = folder.path().to_str().unwrap().to_owned();
    let mut import =
        server.command().args(["import", &path, "--database", &database]).stderr(Stdio::null()).spawn().unwrap();
    // Everything is delivered once the batch is closed; from then on the import only waits.
    while !server.ok(&["status", &database]).contains("received 40 ") {
        std::thread::sleep(Duration::from_millis(20));
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let output = server.ok(&["import", &path, "--database", &database]);
    assert!(output.contains("received 40 + unpacked 0 = indexed 40 + duplicate 0"), "{output}");
    // What came into the folder later is a delivery of its own.
    write(folder.path(), "later.txt", "A later note about the lighthouse.\n");
    let output = server.ok(&["import", &path, "--database", &database]);
    assert!(output.contains("received 41 + unpacked 0 = indexed 1 + duplicate 40"), "{output}");
}

#[test]
fn what_a_dead_server_was_doing_goes_on_at_once() {
    let patient = ("DIA_WORKERS__LEASE_SECONDS", "86400");
    let server = Server::start();
    let (_, database) = ready(&server);
    let mut home = server.stop();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "lease.txt", "The tenant pays a rent of 1,250 dollars each month.\n");
    let path = folder.path().to_str().unwrap().to_owned();
    // It dies with the document in its hands, then with the lease of the index.
    let server = Server::start_with(home, &[patient, ("DIA_FAILPOINT", "extract.after_read")]);
    server.run(&["import", &path, "--database", &database]);
    home = server.die();
    home = Server::start_with(home, &[patient, ("DIA_FAILPOINT", "index.after_write")]).die();
    let server = Server::start_with(home, &[patient]);
    let output = server.ok(&["import", &path, "--database", &database]);
    assert!(output.contains("received 1 + unpacked 0 = indexed 1"), "{output}");
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
    let migrate = Command::new(env!("CARGO_BIN_EXE_dia")).arg("migrate").env("HOME", home.path()).output().unwrap();
    assert!(!migrate.status.success());
    assert!(String::from_utf8_lossy(&migrate.stderr).contains("root.key"), "{migrate:?}");
}

#[test]
fn known_files_are_left_out_from_the_next_start_on() {
    let server = Server::start();
    let (_, database) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "part.bin", "abc");
    write(folder.path(), "lease.txt", "The lease ends on 31 March 2031.");
    let lists = tempfile::tempdir().unwrap();
    let at = |name: &str| lists.path().join(name).to_str().unwrap().to_owned();
    // Of "abc" (FIPS 180-2).
    write(lists.path(), "list.txt", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
    let made = server.ok(&["known-files", "import", &at("list.txt"), "--into", &at("known")]);
    assert!(made.contains("1 SHA-256, 0 SHA-1, 0 MD5") && made.contains("workers.known_files"), "{made}");
    let refused = server.run(&["known-files", "import", &at("known"), "--into", &at("other")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds no MD5, SHA-1 or SHA-256"), "{refused:?}");
    let server = Server::start_with(server.stop(), &[("DIA_WORKERS__KNOWN_FILES", &at("known"))]);
    let path = folder.path().to_str().unwrap().to_owned();
    let output = server.ok(&["import", &path, "--database", &database]);
    assert!(output.contains("received 2 + unpacked 0 = indexed 1 + duplicate 0 + excluded 1"), "{output}");
}

#[test]
fn configuration_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dia.toml");
    for (text, named) in [
        ("[api]\nlisten_on = \"x\"\n", "listen_on"),
        ("[workers]\nextract = \"many\"\n", "extract"),
        ("[api]\nmax_body_bytes = 0\n", "max_body_bytes"),
        ("[workers]\nnear_duplicate_percent = 59\n", "near_duplicate_percent"),
        ("[web]\n", "web"),
    ] {
        fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dia"))
            .args(["config", "check", "--config", file.to_str().unwrap()])
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(named), "{text}: {message}");
    }
}

#[test]
fn what_was_done_is_verified_without_the_server() {
    let variables = [("DIA_AUDIT__CHECKPOINT_SECONDS", "1")];
    let server = Server::start_with(tempfile::tempdir().unwrap(), &variables);
    let (case, _) = ready(&server);
    let folder = tempfile::tempdir().unwrap();
    let (trail, log) = (folder.path().join("trail.ndjson"), folder.path().join("log.ndjson"));
    let deadline = Instant::now() + Duration::from_mins(1);
    // The case is in the log within seconds.
    while fs::read_to_string(&trail).map_or(0, |text| text.lines().count()) < 3 {
        assert!(Instant::now() < deadline, "nothing was signed");
        server.run(&["trail", "--case", &case, "--out", trail.to_str().unwrap()]);
        std::thread::sleep(Duration::from_millis(500));
    }
    server.ok(&["trail", "--out", log.to_str().unwrap()]);
    let key = server.ok(&["audit", "key"]);
    assert!(server.ok(&["audit", "check"]).contains("\"problems\": 0"));
    let home = server.stop();
    let checkpoints = home.path().join(".local/share/dia/checkpoints");
    let verify = |file: &Path, key: &str| {
        let arguments =
            ["verify", file.to_str().unwrap(), "--key", key, "--checkpoints", checkpoints.to_str().unwrap()];
        dia(home.path()).args(arguments).output().unwrap()
    };
    assert!(fs::read_dir(&checkpoints).unwrap().count() > 0);
    for file in [&trail, &log] {
        // Checkpoints that came after the file was taken say that it is old, and are not given.
        let bare = dia(home.path()).args(["verify", file.to_str().unwrap(), "--key", &key]).output().unwrap();
        assert!(bare.status.success(), "{}", String::from_utf8_lossy(&bare.stderr));
        let text = fs::read_to_string(file).unwrap();
        fs::write(file, text.replacen("case.created", "case.creates", 1)).unwrap();
        let refused = verify(file, &key);
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("not as they were signed"));
        let refused = verify(file, "dia/0+00000000+AA==");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--key"));
    }
    // Rows changed while the server is down are found, and not signed over when it is up again.
    let changed = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.execute(\"update audit_events set at = at - 1 where action = 'case.created'\"); c.commit()";
    let rows = home.path().join(".local/share/dia/dia.sqlite");
    assert!(Command::new("python3").args(["-c", changed]).arg(&rows).status().unwrap().success());
    let found = dia(home.path()).args(["audit", "check"]).output().unwrap();
    assert!(
        !found.status.success() && String::from_utf8_lossy(&found.stdout).contains("is not the one that was logged")
    );
}
