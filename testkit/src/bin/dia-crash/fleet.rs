//! A fleet under faults: doors and workers that share PostgreSQL, RabbitMQ, Redis and a bucket of objects. In every life a door is
//! killed, and something else happens: a worker dies at a fail point or at a random moment, a service is cut off, Redis forgets, the
//! bucket's server is away. All the while one request to that server in five is refused, answered 503, slow, or done and its answer
//! lost or cut.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use storage::objects::S3Settings;
use testkit::{
    Broker, Database, Fault as HttpFault, FaultyHttp, Home, Proxy, Server, delivery::Dice, fleet::start_worker,
    machine, s3,
};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    Options, Report,
    lives::{self, FAIL_POINTS, Run},
    objects::Store,
    rows::Place,
};

/// Processes that work all queues.
const WORKERS: usize = 2;
/// How long the last door of a run lives.
const LAST_LIFE: Duration = Duration::from_secs(30);
/// The signal SIGABRT.
const ABORTED: i32 = 6;
/// Redis's database of this harness, which may be flushed.
const REDIS: &str = "11";

/// Which request to the bucket's server meets a fault, and which fault, one after another.
const STORM: usize = 5;
const FAULTS: [HttpFault; 7] = [
    HttpFault::Busy,
    HttpFault::LoseAnswer,
    HttpFault::Slow(Duration::from_millis(700)),
    HttpFault::Refuse,
    HttpFault::LoseAnswer,
    HttpFault::CutAnswer(40),
    HttpFault::LoseAnswer,
];
/// The server is away: every request meets one of these.
const AWAY: [HttpFault; 2] = [HttpFault::Refuse, HttpFault::Busy];

/// The services behind a fleet, each behind a proxy that can be cut.
pub(crate) struct Services {
    database: Database,
    broker: Broker,
    postgres: Proxy,
    rabbitmq: Proxy,
    redis: Proxy,
    /// Before the bucket's server.
    s3: FaultyHttp,
    bucket: S3Settings,
}

impl Services {
    async fn start() -> Result<Self> {
        Ok(Self {
            bucket: s3::settings(),
            s3: FaultyHttp::before(s3::ADDRESS),
            database: Database::new().await,
            broker: Broker::new().await,
            postgres: Proxy::before("127.0.0.1:5432").await?,
            rabbitmq: Proxy::before(Broker::SERVER).await?,
            redis: Proxy::before("127.0.0.1:6379").await?,
        })
    }

    /// The settings of every process.
    fn settle_in(&self, home: Home) -> Home {
        let (postgres, rabbitmq, redis) = (self.postgres.address, self.rabbitmq.address, self.redis.address);
        home.with("DIA_DATABASE__URL", &self.database.url().replace("127.0.0.1:5432", &postgres.to_string()))
            .with("DIA_DATABASE__CONNECTIONS", "6")
            .with("DIA_QUEUE__URL", &Broker::URL.replace(Broker::SERVER, &rabbitmq.to_string()))
            .with("DIA_QUEUE__PREFIX", &self.broker.prefix)
            .with("DIA_LIVE__URL", &format!("redis://{redis}/{REDIS}"))
            .with("DIA_LIVE__PREFIX", &self.broker.prefix)
            .with("DIA_OBJECTS__BUCKET", &self.bucket.bucket)
            .with("DIA_OBJECTS__PREFIX", &self.bucket.prefix)
            .with("DIA_OBJECTS__ENDPOINT", &self.s3.url())
            .with("DIA_OBJECTS__PATH_STYLE", "true")
            .with("DIA_OBJECTS__ACCESS_KEY_ID", &self.bucket.access_key_id)
            .with("DIA_OBJECTS__SECRET_ACCESS_KEY", &self.bucket.secret_access_key)
            .with("DIA_WORKERS__LEASE_SECONDS", "3")
    }
}

/// What happens beside a door's death.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Worker,
    Postgres,
    Rabbitmq,
    Redis,
    Flush,
    S3,
}

impl Fault {
    const ALL: [Self; 8] =
        [Self::Worker, Self::Postgres, Self::Worker, Self::Rabbitmq, Self::Worker, Self::Redis, Self::Flush, Self::S3];

    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker_killed",
            Self::Postgres => "postgres_cut",
            Self::Rabbitmq => "rabbitmq_cut",
            Self::Redis => "redis_cut",
            Self::Flush => "redis_flushed",
            Self::S3 => "s3_away",
        }
    }
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let services = Services::start().await?;
    let directory = tempfile::tempdir()?;
    let home = services.settle_in(lives::home(directory.path())?);
    let (place, store) = (Place::Postgres(services.database.url()), Store::Bucket(services.bucket.clone()));
    let mut run = Run::begin(options, home, place, store, "api").await?;
    let mut dice = Dice::new(options.seed.rotate_left(13));
    let mut workers = Vec::new();
    for number in 0..options.kills {
        while workers.len() < WORKERS {
            let armed = workers.is_empty() && dice.below(3) > 0;
            let point = FAIL_POINTS[usize::try_from(number).unwrap_or(0) % FAIL_POINTS.len()];
            workers.push(work(&run.home, armed.then(|| format!("{point}:{}", 1 + dice.below(20))))?);
        }
        let fault = Fault::ALL[usize::try_from(dice.below(Fault::ALL.len() as u64)).unwrap_or(0)];
        let began = Instant::now();
        let server = run.home.start_as("api").await?;
        let plan = run.plan(number, options.kills - number);
        let address = server.address.clone();
        let half = Duration::from_millis(250 + dice.below(1_250));
        // The last door lives long enough for most that is left to be delivered and worked through the storm.
        let calm = if number + 1 == options.kills { LAST_LIFE } else { half };
        let (ended, ()) =
            tokio::join!(strike(&services, fault, server, (calm, half), &mut workers), run.matter.live(&address, plan));
        run.weigh(ended?);
        run.count(fault.name());
        run.count("door_killed");
        reap(&mut workers, &mut run);
        run.report.kills += 1;
        println!(
            "life {number}: {} and a door killed after {:.1} s; {} deliveries wait",
            fault.name(),
            began.elapsed().as_secs_f64(),
            run.matter.deliveries.left()
        );
        run.check(number).await?;
    }
    run.report.faults.extend(services.s3.hits().into_iter().map(|(fault, times)| (format!("s3_{fault}"), times)));
    // None of those that are left when the faults stop may carry a fail point.
    for worker in &mut workers {
        worker.kill().await?;
        run.count(Fault::Worker.name());
    }
    let workers = (0..WORKERS).map(|_| start_worker(&run.home)).collect::<Result<_>>()?;
    run.last_of_fleet(workers).await?;
    services.broker.end().await;
    if !run.report.violations.is_empty() {
        // What went wrong can be looked at.
        println!("kept {}", directory.keep().display());
    }
    Ok(run.report)
}

/// Lets the fault happen in a door's life, so long after its start and before its death. Returns the most memory that anything
/// killed had.
async fn strike(
    services: &Services,
    fault: Fault,
    server: Server,
    (after, before): (Duration, Duration),
    workers: &mut [Child],
) -> Result<u64> {
    services.s3.storm(STORM, &FAULTS);
    sleep(after).await;
    let mut bytes = 0;
    let cut = match fault {
        Fault::Worker => {
            if let Some(worker) = workers.last_mut() {
                bytes = worker.id().map_or(0, machine::most_resident);
                worker.kill().await?;
            }
            None
        }
        Fault::Postgres => Some(&services.postgres),
        Fault::Rabbitmq => Some(&services.rabbitmq),
        Fault::Redis => Some(&services.redis),
        Fault::Flush => {
            let flushed = Command::new("redis-cli").args(["-n", REDIS, "flushdb"]).stdout(Stdio::null()).status();
            ensure!(flushed.await?.success(), "Redis was not flushed");
            None
        }
        Fault::S3 => {
            services.s3.storm(1, &AWAY);
            None
        }
    };
    if let Some(cut) = cut {
        cut.cut();
    }
    sleep(before).await;
    bytes = bytes.max(server.process().map_or(0, machine::most_resident));
    server.kill().await?;
    if let Some(cut) = cut {
        cut.restore();
    }
    services.s3.heal();
    Ok(bytes)
}

fn work(home: &Home, point: Option<String>) -> Result<Child> {
    match point {
        Some(point) => start_worker(&home.clone().with("DIA_FAILPOINT", &point)),
        None => start_worker(home),
    }
}

/// Forgets workers that have died, by the harness's hand or at their fail point.
fn reap(workers: &mut Vec<Child>, run: &mut Run) {
    workers.retain_mut(|worker| {
        let Ok(Some(status)) = worker.try_wait() else { return true };
        // A fail point aborts; the harness kills.
        if status.signal() == Some(ABORTED) {
            run.count("worker_died_at_fail_point");
        }
        false
    });
}
