//! `dia serve`: API and workers in one process, from the first start on an empty machine to a clean stop.

use anyhow::{Context as _, Result};
use index::BlockCache;
use metrics_exporter_prometheus::PrometheusBuilder;
use storage::known_files::KnownFiles;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use workers::{Context as WorkContext, Workers};

use crate::{
    compose,
    config::{Config, Log, LogFormat, variable},
    out,
};

/// Serves until SIGINT or SIGTERM; then takes no more requests or jobs, lets what runs end (or hands it back) and closes.
pub(crate) async fn run(config: Config) -> Result<()> {
    start_logging(&config.log)?;
    if let Some(point) = variable("DIA_FAILPOINT") {
        storage::failpoint::arm(&point);
    }
    let lock = compose::lock(&config)?;
    let metrics = PrometheusBuilder::new().install_recorder().context("cannot start measuring")?;
    let storage = compose::storage(&config).await?;
    compose::succeed(&storage, &lock).await?;
    let abandoned = storage.objects.clean_temporary().context("cannot clean the object store")?;
    tracing::info!(abandoned, "removed unfinished objects of an earlier run");

    let shutdown = stop_on_signal()?;
    let listener = TcpListener::bind(&config.api.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.api.listen))?;
    let address = listener.local_addr()?;
    let code = storage::signup::ensure_setup_code(&storage).await.context("cannot make a setup code")?;

    let cache = compose::cache();
    let running = Workers::start(storage.clone(), work(&config, cache.clone())?, &config.workers, shutdown.clone());
    let state = api::State::new(storage.clone(), config.api.clone(), cache, Some(metrics), shutdown.clone())?;
    out::line(&format!("dia listens on http://{address}"));
    out::line(&format!("the API's reference: http://{address}/api/v1/reference"));
    if let Some(code) = code {
        out::line(&format!("setup code: {code}"));
        out::line("nobody has signed up yet; the first user needs this code, which works once");
    }
    let served = api::serve(listener, api::router(state), &config.api, shutdown.clone()).await;
    // Whatever ended the door, the workers stop too and hand back what they hold.
    shutdown.cancel();
    running.await.context("the workers did not stop cleanly")?;
    storage.db.close().await;
    served.context("the API stopped")?;
    out::line("stopped; nothing was lost");
    Ok(())
}

/// What the jobs work with: documents are read by this same program in a child of its own.
fn work(config: &Config, cache: BlockCache) -> Result<WorkContext> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let reader = pipeline::Reader::new(config.pipeline.clone(), program, vec!["read-document".to_owned()]);
    let known_files = match config.workers.known_files.as_path() {
        unset if unset.as_os_str().is_empty() => None,
        path => Some(KnownFiles::open(path).with_context(|| format!("cannot open {}", path.display()))?),
    };
    Ok(WorkContext { reader, config: config.workers.clone(), known_files, llm: config.llm.clone(), cache })
}

/// Cancelled by SIGINT (Ctrl-C) or SIGTERM.
fn stop_on_signal() -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(token)
}

fn start_logging(log: &Log) -> Result<()> {
    let filter =
        EnvFilter::try_new(&log.filter).context("log.filter is not a filter such as info or info,storage=debug")?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(told_without_words));
    Ok(())
}

/// Panic messages may quote what was being worked on, so only the place is told.
fn told_without_words(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    tracing::error!(%place, "a task panicked");
}
