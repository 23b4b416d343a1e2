//! The one place that chooses: SQLite or PostgreSQL, a directory or a bucket for objects, and in embedded mode in-process bells
//! and events; for a fleet RabbitMQ and Redis. Everything after it works with what it is given.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use domain::clock::Clock;
use index::BlockCache;
use storage::{
    Db, PostgresSettings, Storage,
    limits::Limits,
    objects::Objects,
    pubsub::{PubSub, RedisSettings},
    queue::{AmqpSettings, Bell},
    vault::Vault,
};

use crate::config::{Config, Database};

/// Bytes of decrypted index blocks that a process keeps, over all databases.
const CACHE_BYTES: usize = 48 << 20;

/// Opens (and on first use creates) everything durable that `config` names.
pub(crate) async fn storage(config: &Config) -> Result<Storage> {
    let directory = config.directory()?;
    make_private(&directory)?;
    make_private(&directory.join("keys"))?;
    let db = if config.database.url.is_empty() {
        Db::sqlite(&directory.join("dia.sqlite")).await.context("cannot open the SQLite database")?
    } else {
        postgres(&config.database).await?
    };
    let vault = Arc::new(Vault::open(&directory.join("keys")).context("cannot open the keys")?);
    let storage = Storage {
        db,
        objects: objects(config, &directory).await.context("cannot open the object store")?,
        bell: bell(config)?,
        pubsub: live(config, &vault)?,
        limits: limits(config)?,
        vault,
        clock: Clock::System,
    };
    storage::system::pin_root_key(&storage).await?;
    Ok(storage)
}

/// Brings the schema up to date; on PostgreSQL `grant_to` is then given what the processes of a fleet need.
pub(crate) async fn migrate(config: &Config, grant_to: Option<&str>) -> Result<()> {
    let url = &config.database.url;
    if !url.is_empty() {
        return Db::migrate_postgres(url, grant_to).await.context("cannot bring the schema up to date");
    }
    if grant_to.is_some() {
        bail!("SQLite has no roles to grant anything to; set database.url");
    }
    storage(config).await?.db.close().await;
    Ok(())
}

async fn postgres(database: &Database) -> Result<Db> {
    let settings = PostgresSettings {
        migrate: database.migrate,
        connections: database.connections,
        statement_timeout: Duration::from_secs(database.statement_timeout_seconds),
        idle_in_transaction_timeout: Duration::from_secs(database.idle_in_transaction_timeout_seconds),
    };
    Db::postgres(&database.url, &settings).await.context("cannot open the PostgreSQL database")
}

fn bell(config: &Config) -> Result<Bell> {
    let queue = &config.queue;
    if queue.url.is_empty() {
        return Ok(Bell::local());
    }
    let settings = AmqpSettings { url: queue.url.clone(), prefix: queue.prefix.clone() };
    Bell::amqp(&settings).context("in [queue]")
}

fn live(config: &Config, vault: &Vault) -> Result<PubSub> {
    let live = &config.live;
    if live.url.is_empty() {
        return Ok(PubSub::local());
    }
    let settings = RedisSettings { url: live.url.clone(), prefix: live.prefix.clone() };
    PubSub::redis(&settings, vault).context("in [live]")
}

/// Where live events are shared, requests are counted together.
fn limits(config: &Config) -> Result<Limits> {
    let live = &config.live;
    if live.url.is_empty() {
        return Ok(Limits::local());
    }
    let settings = RedisSettings { url: live.url.clone(), prefix: live.prefix.clone() };
    Limits::redis(&settings).context("in [live]")
}

/// A bucket if one is configured, else a directory.
async fn objects(config: &Config, directory: &Path) -> Result<Objects> {
    let settings = &config.objects;
    if !settings.is_remote() {
        return Ok(Objects::disk(&directory.join("objects"))?);
    }
    let cache = match settings.cache_directory.as_path() {
        unset if unset.as_os_str().is_empty() => directory.join("cache"),
        path => path.to_owned(),
    };
    make_private(&cache)?;
    let objects = Objects::s3(settings, &cache).await?;
    if let Objects::S3(s3) = &objects {
        tracing::info!(bucket = %settings.bucket, "objects lie in a bucket: {}", s3.capabilities());
        if s3.capabilities().versioning == Some(true) {
            tracing::warn!("the bucket keeps deleted objects as old versions; let its life-cycle rules expire them");
        }
    }
    Ok(objects)
}

/// The one cache of decrypted index blocks; everything in this process that reads indexes shares it.
pub(crate) fn cache() -> BlockCache {
    BlockCache::new(CACHE_BYTES)
}

/// Takes the data directory for one serving process; held until the file is dropped.
pub(crate) fn lock(config: &Config) -> Result<File> {
    let directory = config.directory()?;
    make_private(&directory)?;
    let path = directory.join("dia.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another dia is already serving {}", directory.display()),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Refuses what the processes of a fleet cannot work with. Without RabbitMQ they can: they find jobs by looking.
pub(crate) fn check_fleet(config: &Config) -> Result<()> {
    if config.database.url.is_empty() {
        bail!(
            "several processes cannot share SQLite: set database.url to a PostgreSQL (and let all processes have the same keys and \
             objects), or run `dia serve`, which is API and workers in one"
        );
    }
    if config.live.url.is_empty() {
        bail!("the processes of a fleet hear of each other's answers through Redis: set live.url");
    }
    Ok(())
}

/// Goes on at once with what a process that died left running, where it is certain that nobody runs anything: the rows are
/// a file in the directory that `_lock` is held on, and only who holds it works the queues. On a PostgreSQL that others may
/// share, what died is known by its silence: the leases run out.
pub(crate) async fn succeed(storage: &Storage, _lock: &File) -> Result<()> {
    if matches!(storage.db, Db::Sqlite { .. }) {
        let jobs = storage::succession::succeed(storage).await.context("cannot take over what was left running")?;
        tracing::info!(jobs, "took over what an earlier run left running");
    }
    Ok(())
}

/// Makes a directory only its owner can enter.
fn make_private(directory: &Path) -> Result<()> {
    if !directory.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let mode = fs::metadata(directory)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("{} is open to other users and cannot be closed", directory.display()))?;
    }
    Ok(())
}
