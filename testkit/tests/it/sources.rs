//! How sources look: what every file opens with, how long it may be, what it may be called, what it may not say; and that
//! every statement which changes rows owes an audit event.

use crate::tree::{self, File, assert_none};

/// Split a file before it grows longer.
const LONGEST: usize = 500;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "helpers", "helper", "common", "manager", "service", "misc", "impl", "impls"];
/// What a stranger reads first.
const FRONT_MATTER: [&str; 4] = ["LICENSE", "README.md", "CHANGELOG.md", "ARCHITECTURE.md"];
/// Paths of the machines this was written on (put together here so that this file does not hold them).
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("../sha", "red"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
/// How many of them tests may not name either; the others they may need as the names in a hostile archive.
const NEVER: usize = 2;
/// The constructors of backends, called where embedded or fleet is chosen and nowhere else.
const BACKENDS: [&str; 10] = [
    "Db::sqlite(",
    "Db::postgres(",
    "Objects::disk(",
    "Objects::s3(",
    "Bell::local(",
    "Bell::amqp(",
    "PubSub::local(",
    "PubSub::redis(",
    "Limits::local(",
    "Limits::redis(",
];
const CHOOSER: &str = "dia/src/compose.rs";
/// Who may make an HTTP client: the one room for what goes out, and the commands that speak to a dia the person names.
const CLIENT_MAKERS: [&str; 2] = ["workers/src/outbound/", "dia/src/client/"];
/// Where the crash harness lists the fail points at which it kills.
const KILLER: &str = "testkit/src/bin/dia-crash/lives.rs";

fn without_purpose(files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|f| f.is_rust() && !f.text.starts_with("//! "));
    rust.map(|f| format!("{} does not open with `//!` and what it is for", f.path)).collect()
}

fn too_long(files: &[File]) -> Vec<String> {
    let long = files.iter().filter(|f| f.is_rust() && !f.path.contains("/tests/") && f.text.lines().count() > LONGEST);
    long.map(|f| format!("{} has {} lines; split it at {LONGEST}", f.path, f.text.lines().count())).collect()
}

fn empty_names(files: &[File]) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files {
        let mut parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or(""));
        if let Some(name) = parts.find(|part| EMPTY_NAMES.contains(part)) {
            bad.push(format!("{}: `{name}` says nothing", file.path));
        }
        for name in EMPTY_NAMES {
            if file.is_rust() && file.text.contains(&format!("mod {name} {{")) {
                bad.push(format!("{}: `mod {name}` says nothing", file.path));
            }
        }
    }
    bad
}

fn machine_paths(files: &[File]) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files {
        let paths = if file.is_test() { &MACHINE_PATHS[..NEVER] } else { &MACHINE_PATHS[..] };
        for (number, line) in file.text.lines().enumerate() {
            if let Some(path) = paths.iter().find(|path| line.contains(**path)) {
                bad.push(format!("{}:{}: names {path}", file.path, number + 1));
            }
        }
    }
    bad
}

fn backends_chosen_elsewhere(files: &[File]) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test() && f.path != CHOOSER) {
        // What follows the marker tests the room itself.
        let code = file.text.split("#[cfg(test)]").next().unwrap_or("");
        for backend in BACKENDS.iter().filter(|backend| code.contains(**backend)) {
            bad.push(format!("{} says {backend}…); only {CHOOSER} chooses", file.path));
        }
    }
    bad
}

/// A client made elsewhere would follow redirects, believe in proxies and connect to anything.
fn clients_made_elsewhere(files: &[File]) -> Vec<String> {
    let makes = |text: &str| text.contains("Client::builder(") || text.contains("ClientBuilder::new(");
    let rust = files.iter().filter(|f| f.is_rust() && !f.is_test() && !f.path.starts_with("testkit/"));
    let made = rust.filter(|f| makes(&f.text) && !CLIENT_MAKERS.iter().any(|maker| f.path.starts_with(maker)));
    made.map(|f| format!("{} makes an HTTP client; only {} may", f.path, CLIENT_MAKERS.join(" and "))).collect()
}

/// The text between the parentheses of every `name!(…)` in `code`.
fn invocations<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("{name}!(");
    let mut found = Vec::new();
    for (start, _) in code.match_indices(&opening) {
        let body = &code[start + opening.len()..];
        let mut depth = 1_usize;
        let end = body.char_indices().find_map(|(at, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at)
        });
        found.push(&body[..end.unwrap_or(body.len())]);
    }
    found
}

/// True when SQL in `code` changes rows (`select … for update` does not).
fn changes_rows(code: &str) -> bool {
    let words: Vec<&str> = code.split(|c: char| c.is_whitespace() || c == '"').filter(|w| !w.is_empty()).collect();
    words.windows(3).any(|w| {
        matches!((w[0], w[1], w[2]), ("insert", "into", _) | ("delete", "from", _) | ("update", _, "set"))
            || w == ["do", "update", "set"]
    })
}

/// A change that runs as a query would commit without an audit event.
fn unaudited(files: &[File]) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path.starts_with("storage/src/")) {
        for body in invocations(&file.text, "query") {
            if changes_rows(body) || body.contains(".execute(") {
                let line = body.lines().next().unwrap_or("");
                bad.push(format!("{}: `query!({line} …` changes rows; use change!", file.path));
            }
        }
    }
    bad
}

/// A fail point that the crash harness does not know is never tried.
fn untried_fail_points(files: &[File], tried: &str) -> Vec<String> {
    let mut untried = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && f.path != KILLER) {
        for (start, call) in file.text.match_indices("failpoint::hit(\"") {
            let name = file.text[start + call.len()..].split('"').next().unwrap_or("");
            if !tried.contains(&format!("\"{name}\"")) {
                untried.push(format!("{}: the crash harness does not kill at {name}", file.path));
            }
        }
    }
    untried
}

/// Unsafe code lives in one module that calls the kernel.
fn unsafe_elsewhere(files: &[File]) -> Vec<String> {
    let allowing = concat!("allow(unsafe", "_code");
    let bad = files
        .iter()
        .filter(|f| f.is_rust() && f.text.contains(allowing) && !f.path.starts_with("pipeline/src/sandbox/"));
    bad.map(|f| format!("{} allows unsafe code; only pipeline/src/sandbox may", f.path)).collect()
}

/// Hostile bytes are parsed in a sandboxed child, but for the fuzzer, which wants to see them break something.
fn parsing_outside_the_sandbox(files: &[File]) -> Vec<String> {
    let door = concat!("pipeline::", "fuzz");
    let open = files.iter().filter(|f| f.is_rust() && !f.path.starts_with("fuzz/") && f.text.contains(door));
    open.map(|f| format!("{} parses outside the sandbox; only fuzz/ may", f.path)).collect()
}

#[test]
fn parsers_run_in_the_sandbox() {
    assert_none(&parsing_outside_the_sandbox(&tree::files()));
    let bad = File::new("api/src/x.rs", concat!("use pipeline::", "fuzz;"));
    assert_eq!(parsing_outside_the_sandbox(&[bad]).len(), 1);
}

#[test]
fn every_source_says_what_it_is_for() {
    assert_none(&without_purpose(&tree::files()));
    assert_eq!(without_purpose(&[File::new("a.rs", "use b;\n"), File::new("b.rs", "")]).len(), 2);
}

#[test]
fn no_source_is_too_long() {
    assert_none(&too_long(&tree::files()));
    assert_eq!(too_long(&[File::new("a/src/b.rs", &"x\n".repeat(LONGEST + 1))]).len(), 1);
    assert!(too_long(&[File::new("a/src/b.rs", &"x\n".repeat(LONGEST))]).is_empty());
}

#[test]
fn names_mean_something() {
    assert_none(&empty_names(&tree::files()));
    for bad in [
        File::new("api/src/utils.rs", ""),
        File::new("api/src/common/x.rs", ""),
        File::new("a.rs", concat!("mod help", "ers {")),
    ] {
        assert_eq!(empty_names(std::slice::from_ref(&bad)).len(), 1, "{bad:?}");
    }
}

#[test]
fn nothing_names_a_machine() {
    assert_none(&machine_paths(&tree::files()));
    assert_eq!(machine_paths(&[File::new("README.md", &format!("see {}x", MACHINE_PATHS[0]))]).len(), 1);
}

#[test]
fn backends_are_chosen_in_one_place() {
    assert_none(&backends_chosen_elsewhere(&tree::files()));
    assert_eq!(backends_chosen_elsewhere(&[File::new("api/src/x.rs", "let db = Db::sqlite(path);")]).len(), 1);
    let chooser = tree::files().into_iter().find(|f| f.path == CHOOSER).unwrap();
    assert!(BACKENDS.iter().all(|backend| chooser.text.contains(backend)), "the check looks for the wrong words");
}

#[test]
fn what_goes_out_goes_out_in_one_place() {
    let files = tree::files();
    assert_none(&clients_made_elsewhere(&files));
    assert!(files.iter().any(|f| f.path.starts_with(CLIENT_MAKERS[0]) && f.text.contains("Client::builder(")));
    let bad = File::new("api/src/x.rs", "let client = reqwest::Client::builder().build();");
    assert_eq!(clients_made_elsewhere(&[bad]).len(), 1);
}

#[test]
fn what_changes_rows_owes_an_audit_event() {
    let files = tree::files();
    assert_none(&unaudited(&files));
    let changes: usize =
        files.iter().map(|f| invocations(&f.text, "change").iter().filter(|b| changes_rows(b)).count()).sum();
    assert!(changes > 20, "the check does not recognise changes");
    for bad in [
        "query!(tx, c => sqlx::query(\"insert into a (b) values ($1)\").fetch_one(c).await)",
        "query!(tx, c => sqlx::query(\n\"update a\n set b = 1 where (c)\").fetch_one(c).await)",
        "query!(tx, c => sqlx::query(\"delete from a\").fetch_one(c).await)",
        "query!(tx, c => sqlx::query(sql).execute(c).await)",
    ] {
        assert_eq!(unaudited(&[File::new("storage/src/x.rs", bad)]).len(), 1, "{bad}");
    }
    let fine = "query!(tx, c => sqlx::query(\"select a from b for update\").fetch_one(c).await)";
    assert!(unaudited(&[File::new("storage/src/x.rs", fine)]).is_empty());
}

#[test]
fn the_crash_harness_tries_every_fail_point() {
    let files = tree::files();
    let killer = files.iter().find(|f| f.path == KILLER).unwrap();
    assert_none(&untried_fail_points(&files, &killer.text));
    let points = |text: &str| text.matches(concat!("failpoint::", "hit(\"")).count();
    assert!(files.iter().map(|f| points(&f.text)).sum::<usize>() > 15, "the check does not recognise fail points");
    let bad = File::new("api/src/x.rs", concat!("failpoint::", "hit(\"a.new_one\");"));
    assert_eq!(untried_fail_points(&[bad], &killer.text).len(), 1);
}

#[test]
fn unsafe_code_has_one_home() {
    assert_none(&unsafe_elsewhere(&tree::files()));
    let bad = File::new("api/src/x.rs", concat!("#[allow(unsafe", "_code)]"));
    assert_eq!(unsafe_elsewhere(&[bad]).len(), 1);
}

#[test]
fn a_stranger_finds_what_they_read_first() {
    let missing: Vec<&str> = FRONT_MATTER.into_iter().filter(|name| !tree::root().join(name).is_file()).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let licence = tree::files().into_iter().find(|f| f.path == "LICENSE").unwrap();
    assert!(licence.text.contains("Apache License") && licence.text.contains("Version 2.0"));
}
