//! Schemathesis, which makes requests of its own from the `OpenAPI` document: no 5xx, and answers that are what the document says.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::{process::Command, time::timeout};

use crate::{ground::Ground, verdict::Class};

/// Examples for each operation in each phase.
const EXAMPLES: &str = "12";
/// The whole run.
const TIME: Duration = Duration::from_mins(6);
/// What is looked at.
const CHECKS: &str =
    "not_a_server_error,content_type_conformance,response_schema_conformance,response_headers_conformance";
/// What ends the session that asks, or is no operation of HTTP's.
const LEFT_OUT: &str = "^/api/v1/(auth/logout|auth/change-password|ws/.*)$";

/// Takes bytes of a type that schemathesis cannot make.
const PIECE: &str = "continue_upload";

fn program() -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the harness is no part of dia and has no configuration")]
    let (cache, home) = (std::env::var("DIA_CACHE"), std::env::var("HOME"));
    let cache = cache.map(PathBuf::from).or_else(|_| home.map(|home| PathBuf::from(home).join(".cache/dia")))?;
    let program = cache.join("schemathesis/bin/schemathesis");
    ensure!(program.is_file(), "{} is not there; run `scripts/setup abuse`", program.display());
    Ok(program)
}

/// Counts requests and failures in what schemathesis prints. A run that says nothing of its requests has failed.
fn judge(printed: &str, success: bool) -> (u64, Result<(), String>) {
    let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    let tried = printed.lines().find(|line| line.contains("generated")).and_then(number).unwrap_or(0);
    if tried == 0 {
        return (0, Err("it says nothing of what it tried".to_owned()));
    }
    let begins = ["= FAILURES =", "= ERRORS ="].iter().filter_map(|head| printed.find(head)).min();
    match begins {
        _ if success => (tried, Ok(())),
        Some(begins) => (tried, Err(printed[begins..].chars().take(20_000).collect())),
        None => (tried, Err(printed.chars().rev().take(2_000).collect::<Vec<_>>().into_iter().rev().collect())),
    }
}

/// Runs the class.
pub(crate) async fn attack(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let mut command = Command::new(program()?);
    command.args(["run", &format!("{}/api/v1/openapi.json", ground.server.address)]);
    command.args(["--header", &format!("Authorization: Bearer {}", ground.ann.token)]);
    command.args(["--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing"]);
    command.args([
        "--exclude-operation-id",
        PIECE,
        "--exclude-path-regex",
        LEFT_OUT,
        "--workers",
        "2",
        "--seed",
        "1",
        "--continue-on-failure",
    ]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "20", "--warnings", "off", "--no-color"]);
    command.current_dir(ground.home.temporary.clone()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(TIME, command.output()).await.context("schemathesis took too long")??;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let (tried, verdict) = judge(&printed, output.status.success());
    class.tried = tried;
    if let Err(wrong) = verdict {
        class.failures.push(wrong);
    }
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_fails_or_says_nothing_is_counted() {
        assert_eq!(judge("Test cases:\n  120 generated, 120 passed\n", true), (120, Ok(())));
        assert!(judge("", true).1.is_err());
        let (tried, verdict) = judge("= FAILURES =\nServer error\n 7 generated", false);
        assert!(tried == 7 && verdict.is_err_and(|wrong| wrong.contains("Server error")));
    }
}
