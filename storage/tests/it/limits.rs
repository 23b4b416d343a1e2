//! Budgets of requests: one suite for both variants, by a clock that the test moves; and what happens when Redis is slow to come, goes
//! away in the middle, or forgets everything.

use std::{sync::Arc, time::Duration};

use domain::{
    clock::{Clock, Timestamp},
    ids::{self, ApiKeyId, UserId},
    limits::{Class, Rate, Verdict},
};
use storage::{
    limits::{Limits, Subject},
    pubsub::{RedisError, RedisSettings},
    vault::Vault,
};
use tempfile::TempDir;
use testkit::Proxy;

const SERVER: &str = "127.0.0.1:6379";
/// A database of these tests' own, and one that is flushed.
const KEPT: u8 = 11;
const FLUSHED: u8 = 10;
const RATE: Rate = Rate { per_minute: 60, burst: 5 };

/// Processes that share keys, a clock and perhaps a Redis.
struct Fleet {
    vault: Arc<Vault>,
    clock: Clock,
    prefix: String,
    number: u8,
    _keys: TempDir,
}

impl Fleet {
    fn new(number: u8) -> Self {
        let keys = TempDir::new().unwrap();
        let vault = Arc::new(Vault::open(keys.path()).unwrap());
        let clock = Clock::manual(Timestamp::parse("2026-01-01T00:00:00Z").unwrap());
        Self { vault, clock, prefix: format!("dia-test-{}", ids::fresh().simple()), number, _keys: keys }
    }

    /// Another process, which does not wait for its Redis.
    fn process(&self, server: &str) -> Limits {
        let url = format!("redis://{server}/{}", self.number);
        Limits::redis(&RedisSettings { url, prefix: self.prefix.clone() }).unwrap()
    }

    /// Another process, once it has found its Redis.
    async fn found(&self) -> Limits {
        let limits = self.process(SERVER);
        self.find(&limits).await;
        limits
    }

    /// Asks for nothing of note until Redis counts.
    async fn find(&self, limits: &Limits) {
        let Limits::Redis(redis) = limits else { return };
        while !redis.is_shared() {
            self.take(limits, &Subject::User(UserId::new())).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn take(&self, limits: &Limits, subject: &Subject<'_>) -> Verdict {
        limits.take(&self.vault, &self.clock, Class::Read, subject, RATE).await
    }

    /// How many of `tries` are let in.
    async fn allowed(&self, limits: &Limits, subject: &Subject<'_>, tries: u32) -> u32 {
        let mut allowed = 0;
        for _ in 0..tries {
            allowed += u32::from(self.take(limits, subject).await.is_allowed);
        }
        allowed
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{SERVER}/{}", self.number)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// What every variant keeps.
async fn contract(fleet: &Fleet, limits: &Limits) {
    let (ann, bob) = (UserId::new(), UserId::new());
    let ann = Subject::User(ann);
    for remaining in [4, 3, 2, 1, 0] {
        let verdict = fleet.take(limits, &ann).await;
        assert_eq!((verdict.is_allowed, verdict.remaining), (true, remaining));
    }
    let refused = fleet.take(limits, &ann).await;
    assert_eq!((refused.is_allowed, refused.remaining), (false, 0));
    assert_eq!((refused.wait, refused.whole_in), (Duration::from_secs(1), Duration::from_secs(5)));
    // Being refused costs nothing, and one comes back each second.
    fleet.clock.advance(Duration::from_micros(999_999));
    assert!(!fleet.take(limits, &ann).await.is_allowed);
    fleet.clock.advance(Duration::from_micros(1));
    assert_eq!(fleet.allowed(limits, &ann, 3).await, 1);
    fleet.clock.advance(Duration::from_mins(1));
    assert_eq!(fleet.allowed(limits, &ann, 10).await, 5);
    // Budgets are apart by who it is and what is asked.
    let key = ApiKeyId(bob.uuid());
    let email = "ann@example.org";
    for subject in [Subject::User(bob), Subject::Key(key), Subject::Address(email), Subject::Account(email)] {
        assert_eq!(fleet.allowed(limits, &subject, 6).await, 5, "{subject:?}");
    }
    let other = limits.take(&fleet.vault, &fleet.clock, Class::Export, &ann, RATE).await;
    assert!(other.is_allowed);
    // A clock that was put back shuts nobody out for longer than a burst takes.
    let back = Clock::manual(Timestamp::parse("2025-01-01T00:00:00Z").unwrap());
    let verdict = limits.take(&fleet.vault, &back, Class::Read, &ann, RATE).await;
    assert!(verdict.whole_in <= Duration::from_secs(5));
    // Many at once take no more than there is.
    let carl = UserId::new();
    let at_once = (0..50).map(|_| async { fleet.take(limits, &Subject::User(carl)).await.is_allowed });
    let allowed = futures::future::join_all(at_once).await.into_iter().filter(|allowed| *allowed).count();
    assert_eq!(allowed, 5);
}

#[tokio::test]
async fn in_one_process() {
    contract(&Fleet::new(KEPT), &Limits::local()).await;
}

#[tokio::test]
async fn over_redis() {
    let fleet = Fleet::new(KEPT);
    contract(&fleet, &fleet.found().await).await;
}

#[tokio::test]
async fn processes_share_a_budget() {
    let fleet = Fleet::new(KEPT);
    let (one, two) = (fleet.found().await, fleet.found().await);
    let ann = Subject::User(UserId::new());
    let mut allowed = 0;
    for _ in 0..6 {
        allowed += fleet.allowed(&one, &ann, 1).await + fleet.allowed(&two, &ann, 1).await;
    }
    assert_eq!(allowed, 5);
    fleet.clock.advance(Duration::from_secs(2));
    assert_eq!(fleet.allowed(&one, &ann, 1).await + fleet.allowed(&two, &ann, 9).await, 2);
}

#[tokio::test]
async fn redis_sees_digests_that_expire() {
    let fleet = Fleet::new(KEPT);
    let limits = fleet.found().await;
    let user = UserId::new();
    for subject in [Subject::User(user), Subject::Address("203.0.113.7"), Subject::Account("ann@example.org")] {
        // By the machine's clock, which is Redis's own.
        limits.take(&fleet.vault, &Clock::System, Class::Login, &subject, RATE).await;
    }
    let mut redis = fleet.redis().await;
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{}:limit:login:*", fleet.prefix)).query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let value: String = redis::cmd("GET").arg(&key).query_async(&mut redis).await.unwrap();
        let milliseconds: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!((1..=1_000).contains(&milliseconds), "{milliseconds}");
        let digest = key.rsplit(':').next().unwrap();
        assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        assert!(value.bytes().all(|byte| byte.is_ascii_digit()), "{value}");
    }
}

#[tokio::test]
async fn without_redis_each_process_holds_its_limits() {
    let fleet = Fleet::new(KEPT);
    // Nobody listens there.
    let limits = fleet.process("127.0.0.1:1");
    let ann = Subject::User(UserId::new());
    let begun = std::time::Instant::now();
    assert_eq!(fleet.allowed(&limits, &ann, 20).await, 5);
    assert!(begun.elapsed() < Duration::from_millis(200), "requests waited for a Redis that is away");
    for (url, prefix, error) in
        [("http://nowhere", "dia", RedisError::Url), ("redis://127.0.0.1", "a*b", RedisError::Prefix)]
    {
        let settings = RedisSettings { url: url.to_owned(), prefix: prefix.to_owned() };
        assert_eq!(Limits::redis(&settings).err(), Some(error));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_cut_loosens_nothing_and_is_found_again() {
    let fleet = Fleet::new(KEPT);
    let proxy = Proxy::before(SERVER).await.unwrap();
    let limits = fleet.process(&proxy.address.to_string());
    fleet.find(&limits).await;
    let (ann, bob) = (Subject::User(UserId::new()), Subject::User(UserId::new()));
    assert_eq!(fleet.allowed(&limits, &ann, 3).await, 3);
    proxy.cut();
    // What was used up before still counts, and so does what is used now.
    assert_eq!(fleet.allowed(&limits, &ann, 20).await, 2);
    assert_eq!(fleet.allowed(&limits, &bob, 20).await, 5);
    let Limits::Redis(redis) = &limits else { panic!("these are budgets in Redis") };
    assert!(!redis.is_shared());
    proxy.restore();
    fleet.find(&limits).await;
    assert_eq!(fleet.allowed(&limits, &ann, 20).await + fleet.allowed(&limits, &bob, 20).await, 0);
    fleet.clock.advance(Duration::from_mins(1));
    let other = fleet.found().await;
    assert_eq!(fleet.allowed(&limits, &ann, 2).await + fleet.allowed(&other, &ann, 20).await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_loosens_nothing_here() {
    let fleet = Fleet::new(FLUSHED);
    let limits = fleet.found().await;
    let ann = Subject::User(UserId::new());
    assert_eq!(fleet.allowed(&limits, &ann, 4).await, 4);
    let mut redis = fleet.redis().await;
    let _: () = redis::cmd("FLUSHDB").query_async(&mut redis).await.unwrap();
    let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut redis).await.unwrap();
    assert_eq!(fleet.allowed(&limits, &ann, 20).await, 1);
    let Limits::Redis(counted) = &limits else { panic!("these are budgets in Redis") };
    assert!(counted.is_shared(), "a flush is no outage");
}
