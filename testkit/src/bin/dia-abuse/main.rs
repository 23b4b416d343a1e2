//! `dia-abuse [--bounded] [--only CLASS,…]`: starts the real binary, attacks it over real sockets as an outsider, as somebody without
//! rights and as somebody with stolen or forged ones, and counts every answer that is not the one it should be. A class is a file;
//! each has a judge, and a test that the judge counts what is wrong. `--bounded` tries fewer payloads, and leaves out what waits or
//! needs another program. The last line is one JSON object; failures end the program with 1.

#![allow(clippy::print_stdout, reason = "a program that reports to the terminal")]

mod caller;
mod conformance;
mod document;
mod ground;
mod guessing;
mod idor;
mod injection;
mod oversized;
mod payloads;
mod refreshes;
mod smuggling;
mod sockets;
mod ssrf;
mod tokens;
mod verdict;
mod wire;

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::{Database, Home};

use crate::{caller::Caller, ground::Ground, verdict::Class};

/// The classes, in the order they are run: what fills the ground comes last.
const CLASSES: [&str; 11] = [
    "forged_tokens",
    "idor",
    "refresh_races",
    "ssrf",
    "smuggling",
    "oversized_and_slow",
    "websockets",
    "brute_force",
    "injection_sqlite",
    "injection_postgres",
    "schemathesis",
];
/// Access tokens last 15 minutes.
const FRESH: Duration = Duration::from_mins(8);
/// Payloads for each place of the document in a bounded run.
const FEW: usize = 6;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    bounded: bool,
    only: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--bounded" => options.bounded = true,
                "--only" => {
                    let classes = arguments.next().context("--only takes classes")?;
                    options.only = classes.split(',').map(ToOwned::to_owned).collect();
                }
                _ => bail!("usage: dia-abuse [--bounded] [--only CLASS,…]"),
            }
        }
        let unknown = options.only.iter().find(|class| !CLASSES.contains(&class.as_str()));
        ensure!(unknown.is_none(), "there is no class {unknown:?}; there are {CLASSES:?}");
        Ok(options)
    }

    fn wants(&self, class: &str) -> bool {
        let bounded = self.bounded && class == "schemathesis";
        if self.only.is_empty() { !bounded } else { self.only.iter().any(|only| only == class) }
    }
}

/// Somebody who signed in to another deployment.
async fn elsewhere(directory: &Path) -> Result<(testkit::Server, Caller)> {
    let server = Ground::home(&directory.join("another"))?.start().await?;
    let code = server.setup_code.clone().context("the server printed no setup code")?;
    let caller = Caller::sign_up(&server.address, &code, "ann@example.org").await?;
    Ok((server, caller))
}

/// A server over PostgreSQL, with the rights it is given there.
async fn over_postgres(directory: &Path, database: &Database) -> Result<Home> {
    let home = Ground::home(&directory.join("postgres"))?;
    Ok(home.with("DIA_DATABASE__URL", &database.restricted().await).with("DIA_DATABASE__MIGRATE", "false"))
}

async fn run(class: &str, options: &Options, ground: &Ground, directory: &Path) -> Result<Class> {
    let each = if options.bounded { FEW } else { 0 };
    match class {
        "forged_tokens" => {
            let (server, stranger) = elsewhere(directory).await?;
            let attacked = tokens::attack(ground, &stranger).await;
            server.stop().await?;
            attacked
        }
        "idor" => idor::attack(ground).await,
        "refresh_races" => refreshes::attack(ground, !options.bounded).await,
        "ssrf" => ssrf::attack(ground, directory).await,
        "smuggling" => smuggling::attack(ground).await,
        "oversized_and_slow" => oversized::attack(ground).await,
        "websockets" => sockets::attack(ground).await,
        "brute_force" => guessing::attack(directory).await,
        "injection_sqlite" => injection::attack(ground, each).await,
        "injection_postgres" => {
            let database = Database::new().await;
            let ground = Ground::open(over_postgres(directory, &database).await?).await?;
            let attacked = injection::attack(&ground, each).await;
            ground.server.stop().await?;
            attacked
        }
        _ => conformance::attack(ground).await,
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::read(std::env::args().skip(1))?;
    let began = Instant::now();
    let directory = tempfile::tempdir()?;
    let mut ground = Ground::open(Ground::home(&directory.path().join("main"))?).await?;
    println!("attacking {}, {} operations", ground.server.address, ground.document.operations.len());
    let (mut classes, mut signed_in) = (BTreeMap::new(), Instant::now());
    for name in CLASSES.into_iter().filter(|name| options.wants(name)) {
        let started = Instant::now();
        if signed_in.elapsed() > FRESH {
            ground.ann.sign_in().await?;
            ground.bob.sign_in().await?;
            signed_in = Instant::now();
        }
        let class = run(name, &options, &ground, directory.path()).await.with_context(|| format!("in {name}"))?;
        println!(
            "{name}: {} tried, {} failed, {:.1} s",
            class.tried,
            class.failures.len(),
            started.elapsed().as_secs_f64()
        );
        class.notes.iter().for_each(|note| println!("  {note}"));
        class.failures.iter().for_each(|failure| println!("  failure: {failure}"));
        ensure!(!ground.server.has_ended(), "the server ended in {name}");
        classes.insert(name, class);
    }
    ground.server.stop().await?;
    let failed = classes.values().any(|class| !class.failures.is_empty());
    if failed {
        println!("kept {}", directory.keep().display());
    }
    println!("{}", verdict::report(&classes, began.elapsed().as_secs_f64()));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
