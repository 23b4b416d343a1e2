//! Protected documents with the command line: passwords typed into a pipe or read from a file open them, and stand nowhere on
//! the disk or in what the server says.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::server::Server;

/// Opens nothing.
const WRONG: &str = "pangolin-trombone-7741";
/// Opens `locked_aes256.pdf` of the pipeline's tests.
const RIGHT: &str = "us\u{e9}r-2024";

/// Runs a command with something on its stdin.
fn piped(server: &Server, args: &[&str], input: &str) -> Output {
    let mut command = server.command();
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Files at or below `place` that hold one of the passwords, as UTF-8 or UTF-16; and how many files there are.
fn search(place: &Path) -> (Vec<String>, usize) {
    let (mut found, mut files) = (Vec::new(), 0);
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let (more, below) = search(&path);
            found.extend(more);
            files += below;
        } else if let Ok(bytes) = fs::read(&path) {
            files += 1;
            if holds(&bytes) {
                found.push(path.display().to_string());
            }
        }
    }
    (found, files)
}

fn holds(bytes: &[u8]) -> bool {
    [WRONG, RIGHT].iter().any(|word| {
        let little: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = word.encode_utf16().flat_map(u16::to_be_bytes).collect();
        [word.as_bytes(), &little, &big].iter().any(|form| bytes.windows(form.len()).any(|window| window == *form))
    })
}

fn wait(server: &Server, database: &str, said: &str) {
    for _ in 0..1_200 {
        if server.ok(&["status", database]).contains(said) {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("waited too long for {said}: {}", server.ok(&["status", database]));
}

#[test]
fn passwords_open_documents_and_stand_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let log = outside.path().join("server.log");
    let loud = [("DIA_LOG__FILTER", "debug,hyper=info,mio=info")];
    let server = Server::start_saying(tempfile::tempdir().unwrap(), &loud, File::create(&log).unwrap());
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Penrose v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "First production"]);
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline/tests/data");
    let folder = outside.path().join("production");
    fs::create_dir(&folder).unwrap();
    fs::copy(samples.join("locked_aes256.pdf"), folder.join("locked.pdf")).unwrap();
    fs::write(folder.join("note.txt"), "A note about the lighthouse.\n").unwrap();
    let imported = server.ok(&["import", folder.to_str().unwrap(), "--database", &database]);
    assert!(imported.contains("indexed 1 + duplicate 0 + excluded 0 + exception 1 (encrypted 1)"), "{imported}");
    assert!(server.ok(&["exceptions", &database]).contains("add its password to the case"));

    // A wrong one changes nothing but the list.
    let added = piped(&server, &["passwords", "add", "--case", &case, "--note", "a guess"], &format!("{WRONG}\r\n\n"));
    let added = String::from_utf8(added.stdout).unwrap();
    assert!(added.starts_with("1 passwords are kept, 0 were known"), "{added}");
    while !server.ok(&["jobs", "list", "--kind", "retry_protected", "--state", "done"]).contains("retry_protected") {
        sleep(Duration::from_millis(50));
    }
    wait(&server, &database, "exception 1 (encrypted 1)");
    let list = outside.path().join("list.txt");
    fs::write(&list, format!("{WRONG}\n{RIGHT}\n")).unwrap();
    let added = server.ok(&["passwords", "add", "--case", &case, "--file", list.to_str().unwrap()]);
    assert!(added.starts_with("1 passwords are kept, 1 were known"), "{added}");
    wait(&server, &database, "indexed 2 + duplicate 0 + excluded 0 + exception 0");
    assert!(server.ok(&["search", "--database", &database, "confidential"]).starts_with("1 documents"));
    let listed = server.ok(&["passwords", "list", "--case", &case]);
    let rows: Vec<&str> = listed.lines().collect();
    assert!(rows.len() == 2 && rows[0].ends_with("0 uses  a guess") && !rows[1].contains(" 0 uses"), "{listed}");

    refusals(&server, &case, &database);
    let id = rows[0].split_whitespace().next().unwrap();
    server.ok(&["passwords", "remove", "--case", &case, id]);
    assert_eq!(server.ok(&["passwords", "list", "--case", &case]).lines().count(), 1);
    assert!(!holds(server.ok(&["jobs", "list", "--limit", "500"]).as_bytes()));

    // The search finds what is there; and there is nothing, not in the write-ahead log, not after the end.
    assert_eq!(search(outside.path()).0, [list.display().to_string()]);
    let (found, files) = search(server.home.path());
    assert!(found.is_empty() && files > 5, "{files} files, {found:?}");
    let home = server.stop();
    assert_eq!(search(home.path()).0, Vec::<String>::new());
    let said = fs::read(&log).unwrap();
    assert!(said.len() > 1_000 && !holds(&said), "{} bytes", said.len());
}

/// What is refused, without a word of what was sent.
fn refusals(server: &Server, case: &str, database: &str) {
    let nobody = "01890000-0000-7000-8000-000000000000";
    let note = server.ok(&["search", "--database", database, "lighthouse"]);
    let note = note.lines().find(|line| line.contains("note.txt")).unwrap().split_whitespace().next().unwrap();
    for (args, input, code) in [
        (vec!["passwords", "add", "--case", nobody], WRONG, "not_found"),
        (vec!["passwords", "add", "--document", nobody], WRONG, "not_found"),
        (vec!["passwords", "add", "--document", note], WRONG, "conflict"),
        (vec!["passwords", "remove", "--case", case, nobody], "", "not_found"),
        (vec!["passwords", "list", "--case", nobody], "", "not_found"),
        (vec!["passwords", "add", "--case", case], "", "there is no password"),
        (vec!["passwords", "add"], WRONG, "--case"),
        // Never as an argument.
        (vec!["passwords", "add", "--case", case, "sesame"], "", "unexpected argument"),
    ] {
        let refused = piped(server, &args, input);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains(code), "{args:?}: {message}");
        assert!(!holds(message.as_bytes()), "{message}");
    }
}
