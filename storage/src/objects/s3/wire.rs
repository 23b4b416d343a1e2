//! The connection to a bucket: the client, the threads its requests run on, and how often and how long one is tried.
//!
//! Objects are written and read on threads that may block (workers, tantivy's writers and mergers) and none of them owns an
//! async runtime, so the store has a small one of its own.

use std::{
    fmt,
    future::Future,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use tokio::{runtime::Runtime, task::JoinHandle, time::Instant};

use super::{
    Settings,
    failure::{Failure, Kind},
};

/// The first pause between two tries; each further one is twice as long at most, and the truth lies anywhere below.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Wire {
    pub(super) client: Client,
    /// `None` once it is being taken down.
    runtime: Option<Runtime>,
    requests: AtomicU64,
    retries: u32,
    each: Duration,
    all: Duration,
}

impl Wire {
    pub(super) async fn new(settings: &Settings) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("objects-s3")
            .enable_all()
            .build()?;
        Ok(Self {
            client: client(settings).await,
            runtime: Some(runtime),
            requests: AtomicU64::new(0),
            retries: settings.retries,
            each: settings.request_timeout(),
            all: settings.total_timeout(),
        })
    }

    /// Requests sent so far, repetitions included.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Starts work; `None` when the process is stopping.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(work))
    }

    /// Runs work to its end. Blocks; called from any thread.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, result) = mpsc::sync_channel(1);
        self.start(async move {
            // Whoever waited may have given up.
            let _ = done.send(work.await);
        });
        result.recv().unwrap_or_else(|_| Err(Failure::stopping()))
    }

    /// Tries a request until it succeeds, fails for good, or there was enough of trying.
    pub(super) async fn tried<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let end = Instant::now() + self.all;
        let mut most = FIRST_PAUSE;
        for repetition in 0.. {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let each = self.each.min(end.saturating_duration_since(Instant::now()));
            let failure = match tokio::time::timeout(each, request()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(Kind::Passing, "S3 did not answer in time"),
            };
            let pause = most.mul_f64(rand::random_range(0.0..1.0));
            if failure.kind != Kind::Passing || repetition >= self.retries || Instant::now() + pause >= end {
                return Err(failure);
            }
            tracing::debug!(%failure, repetition, "a request to S3 is tried again");
            tokio::time::sleep(pause).await;
            most = (most * 2).min(LONGEST_PAUSE);
        }
        Err(Failure::new(Kind::Passing, "S3 was not asked"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last owner may be an async task, which must not wait for threads.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// The SDK's client. It repeats nothing and adds no checksums: both are done here, over whole transfers.
pub(super) async fn client(settings: &Settings) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(settings.connect_timeout()).build());
    if !settings.access_key_id.is_empty() {
        let (id, secret) = (&settings.access_key_id, &settings.secret_access_key);
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "dia"));
    }
    if !settings.region.is_empty() {
        loader = loader.region(Region::new(settings.region.clone()));
    } else if !settings.endpoint.is_empty() {
        loader = loader.region(Region::new("us-east-1"));
    }
    if !settings.endpoint.is_empty() {
        loader = loader.endpoint_url(&settings.endpoint);
    }
    let config = aws_sdk_s3::config::Builder::from(&loader.load().await)
        .force_path_style(settings.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}
