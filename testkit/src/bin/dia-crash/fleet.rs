//! A fleet under faults: doors and workers that share PostgreSQL, RabbitMQ, Redis and a directory of objects. In every life a door is
//! killed, and something else happens: a worker dies at a fail point or at a random moment, a service is cut off, Redis forgets.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use testkit::{Broker, Database, Home, Proxy, Server, delivery::Dice, fleet::start_worker};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    Options, Report,
    lives::{self, FAIL_POINTS, Run},
    rows::Place,
};

/// Processes that work all queues.
const WORKERS: usize = 2;
/// Redis's database of this harness, which may be flushed.
const REDIS: &str = "11";

/// The services behind a fleet, each behind a proxy that can be cut.
pub(crate) struct Services {
    database: Database,
    broker: Broker,
    postgres: Proxy,
    rabbitmq: Proxy,
    redis: Proxy,
}

impl Services {
    async fn start() -> Result<Self> {
        Ok(Self {
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
}

impl Fault {
    const ALL: [Self; 7] =
        [Self::Worker, Self::Postgres, Self::Worker, Self::Rabbitmq, Self::Worker, Self::Redis, Self::Flush];

    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker_killed",
            Self::Postgres => "postgres_cut",
            Self::Rabbitmq => "rabbitmq_cut",
            Self::Redis => "redis_cut",
            Self::Flush => "redis_flushed",
        }
    }
}

/// The run, with every kind of fault counted.
pub(crate) async fn run(options: &Options) -> Result<(Report, BTreeMap<&'static str, u64>)> {
    let services = Services::start().await?;
    let directory = tempfile::tempdir()?;
    let home = services.settle_in(lives::home(directory.path())?);
    let place = Place::Postgres(services.database.url());
    let mut run = Run::begin(options, home, place, "api").await?;
    let mut dice = Dice::new(options.seed.rotate_left(13));
    let mut faults = BTreeMap::new();
    let mut workers = Vec::new();
    for number in 0..options.kills {
        while workers.len() < WORKERS {
            let armed = workers.is_empty() && dice.below(3) > 0;
            let point = FAIL_POINTS[usize::try_from(number).unwrap_or(0) % FAIL_POINTS.len()];
            workers.push(work(&run.home, armed.then(|| format!("{point}:{}", 1 + dice.below(20))))?);
        }
        let fault = Fault::ALL[usize::try_from(dice.below(Fault::ALL.len() as u64)).unwrap_or(0)];
        *faults.entry(fault.name()).or_default() += 1;
        *faults.entry("door_killed").or_default() += 1;
        let began = Instant::now();
        let server = run.home.start_as("api").await?;
        let plan = run.plan(number, options.kills - number);
        let address = server.address.clone();
        let dies = 500 + dice.below(2_500);
        let (ended, ()) =
            tokio::join!(strike(&services, fault, server, dies, &mut workers), run.matter.live(&address, plan),);
        ended?;
        reap(&mut workers, &mut faults);
        run.report.kills += 1;
        println!(
            "life {number}: {} and a door killed after {:.1} s; {} deliveries wait",
            fault.name(),
            began.elapsed().as_secs_f64(),
            run.matter.deliveries.left()
        );
        run.check(number).await?;
    }
    while workers.len() < WORKERS {
        workers.push(work(&run.home, None)?);
    }
    run.last_of_fleet(workers).await?;
    services.broker.end().await;
    Ok((run.report, faults))
}

/// Lets the fault happen in the middle of the door's life, then kills the door.
async fn strike(services: &Services, fault: Fault, server: Server, dies: u64, workers: &mut [Child]) -> Result<()> {
    let half = Duration::from_millis(dies / 2);
    sleep(half).await;
    let cut = match fault {
        Fault::Worker => {
            if let Some(worker) = workers.last_mut() {
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
    };
    if let Some(cut) = cut {
        cut.cut();
    }
    sleep(half).await;
    server.kill().await?;
    if let Some(cut) = cut {
        cut.restore();
    }
    Ok(())
}

fn work(home: &Home, point: Option<String>) -> Result<Child> {
    match point {
        Some(point) => start_worker(&home.clone().with("DIA_FAILPOINT", &point)),
        None => start_worker(home),
    }
}

/// Forgets workers that have died, by the harness's hand or at their fail point.
fn reap(workers: &mut Vec<Child>, faults: &mut BTreeMap<&'static str, u64>) {
    workers.retain_mut(|worker| {
        let Ok(Some(status)) = worker.try_wait() else { return true };
        // A fail point aborts (SIGABRT); the harness kills (SIGKILL).
        if status.signal() != Some(9) {
            *faults.entry("worker_died_at_fail_point").or_default() += 1;
        }
        false
    });
}
