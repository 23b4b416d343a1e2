//! The workers through their public face, on both databases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answer;
mod bucket;
mod copies;
mod deliveries;
mod documents;
mod endpoint;
mod host;
mod intake;
mod known_files;
mod matter;
mod passwords;
mod probe;
mod references;
mod relations;
mod reprocess;
mod runner;
mod virus;
mod webhooks;

/// Runs one test on both databases.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(testkit::TestStorage::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(testkit::TestStorage::postgres().await).await;
            })+
        }
    };
}
use both;

/// Waits until `condition` holds; a test that waits two minutes has failed.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..12_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited too long: {what}");
}
