//! What everything that is linked in allows, and where it comes from.

use std::collections::BTreeSet;

use cargo_metadata::MetadataCommand;

use crate::tree::{self, assert_none};

/// Licences that ask for no more than that they are named (SPDX).
const PERMISSIVE: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];
/// The one place packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// True when one of the ways an SPDX expression offers is permissive throughout. `/` is how `OR` was once written.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut allowed = all(words);
    while let Some(("OR", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        allowed |= all(words);
    }
    allowed
}

fn all(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while let Some(("AND", rest)) = words.split_first().map(|(word, rest)| (*word, rest)) {
        *words = rest;
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    let Some((word, rest)) = words.split_first() else { return false };
    *words = rest;
    if *word == "(" {
        let inner = any(words);
        let closed = words.first() == Some(&")");
        *words = words.get(1..).unwrap_or_default();
        return inner && closed;
    }
    // An exception only allows more.
    if words.first() == Some(&"WITH") {
        *words = words.get(2..).unwrap_or_default();
    }
    PERMISSIVE.contains(word)
}

#[test]
fn everything_linked_in_is_permissive_and_from_the_registry() {
    let metadata = MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .other_options(
            ["--offline", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(ToOwned::to_owned).to_vec(),
        )
        .exec()
        .unwrap();
    let own: BTreeSet<_> = metadata.workspace_members.iter().collect();
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|package| !own.contains(&package.id)) {
        let licence = package.license.as_deref().unwrap_or("none");
        if !is_permissive(licence) {
            wrong.push(format!("{} {}: {licence}", package.name, package.version));
        }
        let source = package.source.as_ref().map_or_else(|| "a folder".to_owned(), ToString::to_string);
        if source != REGISTRY {
            wrong.push(format!("{} {} comes from {source}", package.name, package.version));
        }
    }
    assert_none(&wrong);
    assert!(metadata.packages.len() > 400, "not all were looked at");
}

#[test]
fn expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT / MPL-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "zlib-acknowledgement OR MIT",
    ] {
        assert!(is_permissive(good), "{good}");
    }
    for bad in [
        "",
        "none",
        "GPL-3.0-only",
        "AGPL-3.0-or-later",
        "MIT AND GPL-2.0",
        "(MIT OR Apache-2.0) AND LGPL-3.0-only",
        "MIT Apache-2.0",
        "(MIT",
        "SSPL-1.0",
    ] {
        assert!(!is_permissive(bad), "{bad}");
    }
}
