//! The processes: `dia serve` is the API and the workers in one, `dia api` and `dia work` are those of a fleet; from the first start on an
//! empty machine to a clean stop.

use std::{fs::File, io, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use domain::jobs::Queue;
use index::BlockCache;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use storage::{Storage, known_files::KnownFiles};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use workers::{Context as WorkContext, References, Webhooks, Workers};

use crate::{
    compose,
    config::{Config, Log, LogFormat, variable},
    out,
};

/// `dia serve`: the door and the workers in one process, until SIGINT or SIGTERM; then takes no more requests or jobs, lets what
/// runs end (or hands it back) and closes.
pub(crate) async fn run(config: Config) -> Result<()> {
    start_logging(&config.log)?;
    let lock = compose::lock(&config)?;
    let process = Process::begin(config, Some(&lock)).await?;
    let cache = compose::cache();
    let running = process.work(cache.clone())?;
    let served = process.serve(cache).await;
    // Whatever ended the door, the workers stop too and hand back what they hold.
    process.shutdown.cancel();
    running.await.context("the workers did not stop cleanly")?;
    process.end(served).await
}

/// `dia api`: the door alone, one process of a fleet.
pub(crate) async fn door(config: Config) -> Result<()> {
    start_logging(&config.log)?;
    compose::check_fleet(&config)?;
    let process = Process::begin(config, None).await?;
    let served = process.serve(compose::cache()).await;
    process.shutdown.cancel();
    process.end(served).await
}

/// `dia work`: workers alone, one process of a fleet. While it drains it is alive and no longer ready.
pub(crate) async fn work(config: Config) -> Result<()> {
    start_logging(&config.log)?;
    compose::check_fleet(&config)?;
    let process = Process::begin(config, None).await?;
    let cache = compose::cache();
    let ended = CancellationToken::new();
    let answering = process.answer(cache.clone(), ended.clone()).await?;
    let running = process.work(cache)?;
    let queues: Vec<&str> = process.config.workers.queues.iter().map(|queue| queue.name()).collect();
    out::line(&format!("dia works on {}", queues.join(", ")));
    let worked = running.await.context("the workers did not stop cleanly");
    ended.cancel();
    if let Some(answering) = answering {
        answering.await.context("the answers on workers.listen did not stop cleanly")??;
    }
    process.end(worked).await
}

/// The configuration with what the command line says about queues.
pub(crate) fn chosen(mut config: Config, queues: &[String], concurrency: &[String]) -> Result<Config> {
    if !queues.is_empty() {
        config.workers.queues = queues.iter().map(|name| queue_named(name)).collect::<Result<_>>()?;
    }
    for said in concurrency {
        let (name, slots) = said.split_once('=').context("--concurrency looks like extract=4,ocr=2")?;
        let slots = slots.parse().ok().filter(|slots| *slots > 0);
        let slots = slots.with_context(|| format!("`{said}` does not say how many jobs at once"))?;
        config.workers.set_concurrency(queue_named(name)?, slots);
    }
    Ok(config)
}

fn queue_named(name: &str) -> Result<Queue> {
    let known = || Queue::ALL.map(Queue::name).join(", ");
    Queue::parse(name.trim()).with_context(|| format!("`{name}` is not a queue; there are {}", known()))
}

/// What every kind of process has.
struct Process {
    config: Config,
    storage: Storage,
    metrics: PrometheusHandle,
    /// Cancelled by SIGINT or SIGTERM.
    shutdown: CancellationToken,
}

impl Process {
    /// Opens what is durable. Who holds the `lock` of the data directory goes on with what a process that died left.
    async fn begin(config: Config, lock: Option<&File>) -> Result<Self> {
        if let Some(point) = variable("DIA_FAILPOINT") {
            storage::failpoint::arm(&point);
        }
        let metrics = PrometheusBuilder::new().install_recorder().context("cannot start measuring")?;
        let storage = compose::storage(&config).await?;
        if let Some(lock) = lock {
            compose::succeed(&storage, lock).await?;
        }
        let grace = Duration::from_secs(config.workers.orphan_seconds.max(1));
        let (objects, before) = (storage.objects.clone(), storage.clock.now().minus(grace));
        let abandoned = tokio::task::spawn_blocking(move || objects.clean_temporary(before)).await?;
        let abandoned = abandoned.context("cannot clean the object store")?;
        tracing::info!(abandoned, "removed unfinished objects of an earlier run");
        Ok(Self { config, storage, metrics, shutdown: stop_on_signal()? })
    }

    /// Works the queues until the shutdown.
    fn work(&self, cache: BlockCache) -> Result<JoinHandle<()>> {
        let context = work_context(&self.config, cache)?;
        Ok(Workers::start(self.storage.clone(), context, &self.config.workers, self.shutdown.clone()))
    }

    fn state(&self, cache: BlockCache) -> Result<api::State> {
        let (api, metrics) = (self.config.api.clone(), Some(self.metrics.clone()));
        let state = api::State::new(self.storage.clone(), api, cache, metrics, self.shutdown.clone())?;
        let webhook_reach = self.config.webhooks.reach().map_err(anyhow::Error::msg).context("in [webhooks]")?;
        Ok(api::State {
            auth: Arc::new(self.config.auth.clone()),
            limits: self.config.limits,
            access: self.config.access,
            webhook_reach: Arc::new(webhook_reach),
            sends_mail: self.config.mail.is_on(),
            ..state
        })
    }

    /// Serves the API until the shutdown.
    async fn serve(&self, cache: BlockCache) -> Result<()> {
        let listener = listen(&self.config.api.listen).await?;
        let address = listener.local_addr()?;
        let code = storage::signup::ensure_setup_code(&self.storage).await.context("cannot make a setup code")?;
        let router = api::router(self.state(cache)?);
        out::line(&format!("dia listens on http://{address}"));
        out::line(&format!("the API's reference: http://{address}/api/v1/reference"));
        if let Some(code) = code {
            out::line(&format!("setup code: {code}"));
            out::line("nobody has signed up yet; the first user needs this code, which works once");
        }
        api::serve(listener, router, &self.config.api, self.shutdown.clone()).await.context("the API stopped")
    }

    /// Answers on `workers.listen`, if it is set, until `ended`.
    async fn answer(&self, cache: BlockCache, ended: CancellationToken) -> Result<Option<JoinHandle<io::Result<()>>>> {
        if self.config.workers.listen.is_empty() {
            return Ok(None);
        }
        let listener = listen(&self.config.workers.listen).await?;
        out::line(&format!("dia answers on http://{}", listener.local_addr()?));
        let (router, config) = (api::process_router(self.state(cache)?), self.config.api.clone());
        Ok(Some(tokio::spawn(async move { api::serve(listener, router, &config, ended).await })))
    }

    async fn end(self, outcome: Result<()>) -> Result<()> {
        self.storage.db.close().await;
        outcome?;
        out::line("stopped; nothing was lost");
        Ok(())
    }
}

async fn listen(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// What the jobs work with: documents are read by this same program in a child of its own.
fn work_context(config: &Config, cache: BlockCache) -> Result<WorkContext> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let reader = pipeline::Reader::new(config.pipeline.clone(), program, vec!["read-document".to_owned()]);
    let known_files = match config.workers.known_files.as_path() {
        unset if unset.as_os_str().is_empty() => None,
        path => Some(KnownFiles::open(path).with_context(|| format!("cannot open {}", path.display()))?),
    };
    let references = References::new(&config.references).context("in [references]")?;
    let webhooks = Webhooks::new(&config.webhooks).context("in [webhooks]")?;
    Ok(WorkContext {
        reader,
        config: config.workers.clone(),
        known_files,
        llm: config.llm.clone(),
        audit: config.audit.clone().located(&config.directory()?),
        alerts: config.alerts.clone(),
        mail: config.mail.clone(),
        references,
        webhooks,
        cache,
    })
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
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr);
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
