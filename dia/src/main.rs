//! dia: one binary. It serves the API and works the queues (`serve`), reads documents in its own sandboxed children, looks
//! after its queue for the operator (`jobs`, `queues`), and speaks to a server as a client (`login`, `import`, `ask`, …).

mod cli;
mod client;
mod compose;
mod config;
mod operator;
mod out;
mod serve;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

/// glibc keeps what an index writer freed in the arenas of its threads: 2.5 times the memory after indexing 40,000 passages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The reader child is a parser in a sandbox: no runtime, no configuration, no keys.
    if matches!(cli.command, Command::ReadDocument) {
        return pipeline::child_main();
    }
    // Sockets, connections and files of indexes are descriptors; the soft limit is often 1,024. What the system refuses stays as it is.
    let _limit = rlimit::increase_nofile_limit(u64::MAX);
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::error(&format!("dia: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Serve => serve::run(config::Config::load(config)?).await,
        Command::Api => serve::door(config::Config::load(config)?).await,
        Command::Work { queues, concurrency } => {
            serve::work(serve::chosen(config::Config::load(config)?, &queues, &concurrency)?).await
        }
        Command::Workers => operator::workers(config::Config::load(config)?).await,
        Command::Autoscale { json } => operator::autoscale(config::Config::load(config)?, json).await,
        Command::Migrate { grant_to } => operator::migrate(&config::Config::load(config)?, grant_to.as_deref()).await,
        Command::Config(command) => operator::config(&command, config),
        Command::Jobs(command) => operator::jobs(command, config::Config::load(config)?).await,
        Command::Queues(command) => operator::queues(command, config::Config::load(config)?).await,
        Command::Users(command) => operator::users(command, config::Config::load(config)?).await,
        Command::Audit(command) => operator::audit(command, config::Config::load(config)?).await,
        Command::Verify { bundle, key, kept } => operator::verify(&bundle, &key, &kept),
        Command::KnownFiles(command) => operator::known_files(command, &config::Config::load(config)?),
        Command::Client(command) => client::run(command, cli.server).await,
        Command::ReadDocument => anyhow::bail!("read-document is run by dia itself"),
    }
}
