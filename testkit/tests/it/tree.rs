//! The project's files as the checks see them: every text file with its path from the root.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold nothing anybody wrote.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", "dist"];
/// Larger files are data.
const LARGEST: u64 = 1_000_000;

/// One text file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Content.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }

    /// True for code that exists only to test: integration tests, examples, benches and `testkit`.
    pub(crate) fn is_test(&self) -> bool {
        ["/tests/", "/examples/", "/benches/"].iter().any(|folder| self.path.contains(folder))
            || self.path.starts_with("testkit/")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every text file of the project.
pub(crate) fn files() -> Vec<File> {
    let mut found = Vec::new();
    let root = root();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            // In a worktree `.git` is a file.
            if SKIPPED.contains(&entry.file_name().to_str().unwrap()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && entry.metadata().unwrap().len() <= LARGEST {
                let Ok(text) = fs::read_to_string(&path) else { continue };
                found.push(File { path: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), text });
            }
        }
    }
    assert!(found.len() > 100, "the project was not found at {}", root.display());
    found
}

/// Fails with one line a violation.
pub(crate) fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
