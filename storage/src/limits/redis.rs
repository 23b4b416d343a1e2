//! Budgets that all processes share: one key in Redis for each, `PREFIX:limit:CLASS:DIGEST`, which expires when the budget is whole. A
//! script takes a request out of it in one step, by Redis's own clock, so no two processes take the same one.
//!
//! Every request is also counted in the process it came to. So a flood that one process can tell costs Redis nothing, and a Redis that
//! lost everything forgets less than it seems. While Redis is away, that count is the limit; a task looks for it meanwhile, and no
//! request waits for it.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use ::redis::{AsyncConnectionConfig, Client, RedisResult, Script, aio::MultiplexedConnection};
use domain::{
    clock::Clock,
    limits::{Class, Rate, Verdict},
};
use tokio::time::timeout;

use super::{LocalLimits, Name};
use crate::pubsub::{RedisError, RedisSettings};

/// How long a request may wait for Redis before it is judged here.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long Redis may take to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// The pauses between looks for a Redis that is away: the first, doubling to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// [`Rate::take`], told to Redis. Arguments: the present in microseconds (0 for Redis's own clock), the period and the window of the
/// rate. Answers: 1 when allowed, and in how many microseconds the budget is whole.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local now, period, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if now == 0 then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local whole_at = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
whole_at = math.min(math.max(whole_at, now), now + window)
local next_at = whole_at + period
if next_at - now > window then
    return {0, whole_at - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', next_at), 'PX', math.ceil((next_at - now) / 1000))
return {1, next_at - now}
",
    )
});

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct RedisLimits {
    local: LocalLimits,
    client: Arc<Client>,
    prefix: Arc<str>,
    link: Arc<Mutex<Link>>,
}

/// The one connection.
enum Link {
    /// Nobody has asked yet.
    Idle,
    /// It answers, or did so last; the number tells connections apart.
    Up(u64, MultiplexedConnection),
    /// A task looks for it; the number is that of the next connection.
    Away,
}

impl fmt::Debug for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLimits")
    }
}

impl RedisLimits {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        if !crate::is_plain_prefix(&settings.prefix) {
            return Err(RedisError::Prefix);
        }
        let client = Arc::new(Client::open(settings.url.as_str()).map_err(|_| RedisError::Url)?);
        let (prefix, link) = (settings.prefix.as_str().into(), Arc::new(Mutex::new(Link::Idle)));
        Ok(Self { local: LocalLimits::default(), client, prefix, link })
    }

    pub(super) async fn take(&self, class: Class, name: &Name, rate: Rate, clock: &Clock) -> Verdict {
        let here = self.local.take(name, rate, clock.now());
        if !here.is_allowed {
            return here;
        }
        let Some((number, connection)) = self.connection() else { return here };
        let asked = timeout(PATIENCE, self.ask(connection, class, name, rate, clock)).await;
        match asked {
            Ok(Ok(everywhere)) => here.and(everywhere),
            failed => {
                let why = failed.map_or_else(|_| "it did not answer in time".to_owned(), |e| why(e.err().as_ref()));
                self.lost(number, &why);
                here
            }
        }
    }

    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        class: Class,
        name: &Name,
        rate: Rate,
        clock: &Clock,
    ) -> RedisResult<Verdict> {
        let now = match clock {
            Clock::System => 0,
            Clock::Manual(_) => clock.now().0,
        };
        let key = format!("{}:limit:{}:{}", self.prefix, class.name(), hex::encode(name));
        let (allowed, behind): (i64, i64) =
            TAKE.key(key).arg(now).arg(rate.period()).arg(rate.window()).invoke_async(&mut connection).await?;
        Ok(rate.verdict(allowed == 1, behind))
    }

    /// True while requests are counted in Redis.
    pub fn is_shared(&self) -> bool {
        matches!(*self.link(), Link::Up(..))
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if there is one; the first who asks begins to look for it.
    fn connection(&self) -> Option<(u64, MultiplexedConnection)> {
        let mut link = self.link();
        match &*link {
            Link::Up(number, connection) => Some((*number, connection.clone())),
            Link::Away => None,
            Link::Idle => {
                *link = Link::Away;
                tokio::spawn(self.clone().look(0));
                None
            }
        }
    }

    /// A connection failed; whoever notices first tells, and has it looked for.
    fn lost(&self, number: u64, why: &str) {
        let mut link = self.link();
        if matches!(&*link, Link::Up(up, _) if *up == number) {
            *link = Link::Away;
            tracing::warn!(why, "Redis counts no requests; each process holds its limits by itself meanwhile");
            tokio::spawn(self.clone().look(number + 1));
        }
    }

    /// Looks for Redis until it answers.
    async fn look(self, number: u64) {
        let mut failures = 0;
        if number > 0 {
            // It may answer and yet count nothing, when its memory is full.
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        loop {
            match self.connect().await {
                Ok(connection) => {
                    *self.link() = Link::Up(number, connection);
                    if failures > 0 || number > 0 {
                        tracing::info!("Redis counts requests again");
                    }
                    return;
                }
                Err(error) => {
                    if failures == 0 && number == 0 {
                        tracing::warn!(%error, "Redis counts no requests; each process holds its limits by itself meanwhile");
                    }
                    tokio::time::sleep(FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)).await;
                    failures += 1;
                }
            }
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let patience =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&patience).await?;
        let _: String = ::redis::cmd("PING").query_async(&mut connection).await?;
        Ok(connection)
    }
}

fn why(error: Option<&::redis::RedisError>) -> String {
    error.map_or_else(String::new, ToString::to_string)
}
