//! A case is taken away, and whoever has nothing but what was taken and the public key can tell whether anything in it was changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use crate::server::Server;

fn cache() -> PathBuf {
    let cache = std::env::var("DIA_CACHE").map(PathBuf::from);
    cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/dia"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder with everything in it, so that one copy can be spoilt and the next is whole again.
fn copied(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

fn unpacked(archive: &Path, folder: &Path) -> PathBuf {
    assert!(Command::new("tar").arg("xf").arg(archive).arg("-C").arg(folder).status().unwrap().success());
    let mut inner = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    inner.next().unwrap()
}

fn verify(server: &Server, bag: &Path, key: &str) -> Output {
    server.run(&["verify", bag.to_str().unwrap(), "--key", key])
}

/// Digests of all files, as manifests hold them.
fn rewritten(bag: &Path) {
    let sums = "cd \"$0\" && find data -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum > manifest-sha256.txt && \
                sha256sum bagit.txt bag-info.txt certificate.txt manifest-sha256.txt > tagmanifest-sha256.txt";
    assert!(Command::new("bash").args(["-c", sums]).arg(bag).status().unwrap().success());
}

#[test]
fn a_case_taken_away_proves_itself() {
    let server = Server::start_with(tempfile::tempdir().unwrap(), &[("DIA_AUDIT__CHECKPOINT_SECONDS", "1")]);
    server.sign_up();
    let case = server.ok(&["cases", "--create", "Ancel v. Example"]);
    let database = server.ok(&["databases", "--case", &case, "--create", "Production"]);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/sample");
    server.ok(&["import", "--database", &database, sample.join("mail").to_str().unwrap()]);
    server.ok(&["import", "--database", &database, sample.join("archives").to_str().unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("case.tar");
    let archive_name = archive.to_str().unwrap();
    // What was just done gets its place in the signed log within some seconds.
    let trail = folder.path().join("trail");
    let is_logged = || {
        let taken = server.run(&["trail", "--case", &case, "--out", trail.to_str().unwrap()]);
        taken.status.success() && fs::read_to_string(&trail).unwrap().matches("batch.sealed").count() == 2
    };
    let logged = (0..240).any(|_| {
        std::thread::sleep(Duration::from_millis(250));
        is_logged()
    });
    assert!(logged, "the log takes too long");
    server.ok(&["export", &case, "--out", archive_name]);
    let whole = unpacked(&archive, folder.path());
    let key = server.ok(&["audit", "key"]);

    let verified = verify(&server, &whole, &key);
    assert!(verified.status.success(), "{}", said(&verified));
    let custody = fs::read_to_string(whole.join("data/custody-00001.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = custody.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(said(&verified).contains(&format!("{} documents, ", lines.len())), "{}", said(&verified));
    let member = lines.iter().find(|line| line["depth"] == 1).unwrap();
    let container = lines.iter().find(|line| line["id"] == member["parent_id"]).unwrap();
    assert_eq!(member["containers"][0]["sha256"], container["sha256"]);
    let read = lines.iter().find(|line| line["state"] == "indexed").unwrap();
    let reading = &read["versions"][0]["readings"][0];
    assert_eq!((&reading["input_sha256"], &reading["tool"]), (&read["sha256"], &serde_json::json!("dia")));

    // Two programs that are not ours agree: one of the standard, and one that checks signature and proofs.
    let peer = Command::new(cache().join("bag/bin/bagit.py")).arg("--validate").arg(&whole).output().unwrap();
    assert!(peer.status.success(), "{}", said(&peer));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verify_bag.py");
    let second = |bag: &Path| Command::new("python3").arg(&script).arg(bag).arg(&key).output().unwrap();
    assert!(second(&whole).status.success(), "{}", said(&second(&whole)));

    let spoilt = folder.path().join("spoilt");
    let original = lines.iter().find_map(|line| line["file"].as_str()).unwrap().to_owned();
    let change = |name: &str, from: &str, to: &str| {
        let path = spoilt.join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} lacks {from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    let append =
        |name: &str| fs::write(spoilt.join(name), [fs::read(spoilt.join(name)).unwrap(), vec![b'x']].concat()).unwrap();
    let attacks: [(&str, &dyn Fn(), bool); 10] = [
        ("a file is changed", &|| append(&original), false),
        ("and the manifests with it", &|| append(&original), true),
        ("custody is rewritten", &|| change("data/custody-00001.jsonl", "\"depth\":1", "\"depth\":2"), true),
        ("an event is rewritten", &|| change("data/audit-00001.ndjson", "case.created", "case.crested"), true),
        ("a file is added", &|| fs::write(spoilt.join("data/originals/more.txt"), "x").unwrap(), false),
        ("a file is taken out", &|| fs::remove_file(spoilt.join(&original)).unwrap(), false),
        ("and out of the manifests", &|| fs::remove_file(spoilt.join(&original)).unwrap(), true),
        ("the note is taken out", &|| fs::remove_file(spoilt.join("tagmanifest-sha256.txt.note")).unwrap(), false),
        ("the note is of another case", &|| change("tagmanifest-sha256.txt.note", &case, &database), false),
        (
            "a manifest leads out of the bag",
            &|| {
                fs::write(folder.path().join("outside"), "x").unwrap();
                change("manifest-sha256.txt", &original, "data/../../outside");
            },
            false,
        ),
    ];
    for (name, attack, is_covered) in attacks {
        copied(&whole, &spoilt);
        attack();
        if is_covered {
            rewritten(&spoilt);
        }
        let verified = verify(&server, &spoilt, &key);
        assert!(!verified.status.success(), "{name}: {}", said(&verified));
        assert!(!second(&spoilt).status.success(), "{name}: {}", said(&second(&spoilt)));
    }
    let other = Server::start();
    let verified = verify(&server, &whole, &other.ok(&["audit", "key"]));
    assert!(
        !verified.status.success() && said(&verified).contains("not signed with the pinned key"),
        "{}",
        said(&verified)
    );
}
