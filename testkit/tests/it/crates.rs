//! Who may depend on whom, and on what: the arrows between the rooms and the walls around dependencies.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::tree::{self, File, assert_none};

/// Room → rooms it may use.
const ARROWS: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("pipeline", &["domain"]),
    ("index", &["domain"]),
    ("storage", &["domain"]),
    ("workers", &["storage", "pipeline", "index", "domain"]),
    ("api", &["storage", "index", "domain"]),
    ("dia", &["domain", "storage", "pipeline", "index", "workers", "api"]),
    ("testkit", &["domain", "storage"]),
];

/// What tests may use beyond that; everybody may use `testkit`.
const TEST_ARROWS: [(&str, &str); 1] = [("index", "pipeline")];

/// Dependency → rooms whose own code may use it (tests and examples may use what they measure or make files with).
/// `testkit` looks at rows and queues from outside, and forges tokens, to prove what the rooms claim.
const WALLS: [(&str, &[&str]); 46] = [
    ("sqlx", &["storage", "testkit"]),
    ("lapin", &["storage", "testkit"]),
    ("redis", &["storage"]),
    ("aws-sdk-s3", &["storage"]),
    ("aws-config", &["storage"]),
    ("object_store", &["storage"]),
    ("aes-gcm", &["storage"]),
    ("aws-lc-rs", &["storage"]),
    ("hkdf", &["storage"]),
    ("tantivy", &["index"]),
    ("lettre", &["workers"]),
    ("blowfish", &["pipeline"]),
    ("pdf_oxide", &["pipeline"]),
    ("pdfium-render", &["pipeline"]),
    ("office_oxide", &["pipeline"]),
    ("zip", &["pipeline"]),
    ("tar", &["pipeline", "api"]),
    ("sevenz-rust2", &["pipeline"]),
    ("bzip2", &["pipeline"]),
    ("lzma-rust2", &["pipeline"]),
    ("ruzstd", &["pipeline"]),
    ("quick-xml", &["pipeline"]),
    ("calamine", &["pipeline"]),
    ("mail-parser", &["pipeline"]),
    ("cfb", &["pipeline"]),
    ("outlook-pst", &["pipeline"]),
    ("html5ever", &["pipeline"]),
    ("html2text", &["pipeline"]),
    ("encoding_rs", &["pipeline"]),
    ("chardetng", &["pipeline"]),
    ("infer", &["pipeline"]),
    ("image", &["pipeline"]),
    ("tiff", &["pipeline"]),
    ("csv", &["pipeline"]),
    ("landlock", &["pipeline"]),
    ("seccompiler", &["pipeline"]),
    ("libc", &["pipeline"]),
    ("axum", &["api"]),
    ("hyper", &["api"]),
    ("utoipa", &["api"]),
    ("jsonwebtoken", &["api", "testkit"]),
    ("argon2", &["api"]),
    ("zxcvbn", &["api"]),
    ("apalis", &["workers"]),
    ("apalis-core", &["workers"]),
    ("clap", &["dia"]),
];

/// Dependency, as code names it → the only folders of its room that may name it.
const INNER_WALLS: [(&str, &[&str]); 9] = [
    ("apalis", &["workers/src/runner/"]),
    ("aws_lc_rs", &["storage/src/vault/"]),
    ("lapin", &["storage/src/queue/"]),
    ("redis", &["storage/src/pubsub/", "storage/src/limits/"]),
    ("aws_sdk_s3", &["storage/src/objects/s3/"]),
    ("aws_config", &["storage/src/objects/s3/"]),
    ("lettre", &["workers/src/mail.rs"]),
    ("landlock", &["pipeline/src/sandbox/"]),
    ("seccompiler", &["pipeline/src/sandbox/"]),
];

/// One declared dependency.
#[derive(Debug, Clone)]
struct Arrow {
    from: String,
    to: String,
    test_only: bool,
}

fn arrow(from: &str, to: &str, test_only: bool) -> Arrow {
    Arrow { from: from.to_owned(), to: to.to_owned(), test_only }
}

fn declared() -> Vec<Arrow> {
    let metadata = MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap();
    let mut arrows = Vec::new();
    for package in metadata.packages {
        for dependency in package.dependencies {
            let test_only = dependency.kind == DependencyKind::Development;
            arrows.push(arrow(package.name.as_str(), &dependency.name, test_only));
        }
    }
    arrows
}

fn wrong_arrows(arrows: &[Arrow]) -> Vec<String> {
    let rooms: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for arrow in arrows {
        let Some(allowed) = rooms.get(arrow.from.as_str()) else {
            wrong.push(format!("{} is not a room of the house", arrow.from));
            continue;
        };
        let (from, to) = (arrow.from.as_str(), arrow.to.as_str());
        let tests = arrow.test_only && (to == "testkit" || TEST_ARROWS.contains(&(from, to)));
        if rooms.contains_key(to) && !allowed.contains(&to) && !tests {
            wrong.push(format!("{from} may not use {to}"));
        }
    }
    wrong
}

fn breached_walls(arrows: &[Arrow]) -> Vec<String> {
    let mut breached = Vec::new();
    for arrow in arrows.iter().filter(|arrow| !arrow.test_only) {
        let wall = WALLS.into_iter().find(|(dependency, _)| *dependency == arrow.to);
        if let Some((dependency, allowed)) = wall.filter(|(_, allowed)| !allowed.contains(&arrow.from.as_str())) {
            breached.push(format!("{} uses {dependency}, which only {} may", arrow.from, allowed.join(", ")));
        }
    }
    breached
}

fn breached_inner_walls(files: &[File]) -> Vec<String> {
    let mut breached = Vec::new();
    for file in files.iter().filter(|f| f.is_rust() && !f.is_test()) {
        for (dependency, folders) in INNER_WALLS {
            let named = |line: &str| {
                let code = line.split("//").next().unwrap_or("");
                code.contains(&format!("{dependency}::")) || code.contains(&format!("{dependency}_core::"))
            };
            let is_home = folders.iter().any(|folder| file.path.starts_with(folder));
            if !is_home && file.text.lines().any(named) {
                breached.push(format!("{} names {dependency}, which only {} may", file.path, folders.join(", ")));
            }
        }
    }
    breached
}

/// Manifests take versions and lints from the workspace and nowhere else.
fn own_ways(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    // A workspace of its own, as the fuzzer is, has its own.
    let member = |f: &&File| f.path.ends_with("/Cargo.toml") && !f.text.contains("\n[workspace]\n");
    for file in files.iter().filter(member) {
        if !file.text.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{} does not take the lints of the workspace", file.path));
        }
        let mut section = "";
        for line in file.text.lines() {
            if line.starts_with('[') {
                section = line;
            } else if section.contains("dependencies") && line.contains('=') && !line.starts_with('#') {
                let shared = line.contains(".workspace = true") || line.contains("{ workspace = true");
                if !shared {
                    wrong.push(format!("{}: `{line}` has a version of its own", file.path));
                }
            }
        }
    }
    wrong
}

#[test]
fn arrows_point_where_the_house_says() {
    assert_none(&wrong_arrows(&declared()));
    for bad in [
        arrow("pipeline", "storage", false),
        arrow("index", "storage", true),
        arrow("api", "workers", false),
        arrow("api", "pipeline", false),
        arrow("api", "testkit", false),
        arrow("domain", "storage", false),
        arrow("shared", "domain", false),
    ] {
        assert_eq!(wrong_arrows(std::slice::from_ref(&bad)).len(), 1, "{bad:?}");
    }
    assert!(wrong_arrows(&[arrow("api", "testkit", true), arrow("index", "pipeline", true)]).is_empty());
}

#[test]
fn dependencies_stay_behind_their_walls() {
    let declared = declared();
    assert!(declared.iter().any(|a| a.to == "sqlx"), "the metadata shows no dependencies");
    assert_none(&breached_walls(&declared));
    for (dependency, allowed) in WALLS {
        let outsider = if allowed.contains(&"domain") { "api" } else { "domain" };
        assert_eq!(breached_walls(&[arrow(outsider, dependency, false)]).len(), 1, "{dependency}");
    }
    assert_none(&breached_inner_walls(&tree::files()));
    assert_eq!(breached_inner_walls(&[File::new("workers/src/jobs/x.rs", "use apalis::prelude::*;")]).len(), 1);
    assert_eq!(breached_inner_walls(&[File::new("storage/src/tx.rs", "aws_lc_rs::aead::seal()")]).len(), 1);
}

#[test]
fn versions_and_lints_are_the_workspace_s() {
    assert_none(&own_ways(&tree::files()));
    let lints = "[lints]\nworkspace = true\n";
    for bad in ["[dependencies]\nserde = \"1\"\n", "[dev-dependencies]\ntime = { version = \"1\" }\n"] {
        assert_eq!(own_ways(&[File::new("x/Cargo.toml", &format!("{lints}{bad}"))]).len(), 1, "{bad}");
    }
    assert_eq!(own_ways(&[File::new("x/Cargo.toml", "[dependencies]\nserde.workspace = true\n")]).len(), 1);
}
