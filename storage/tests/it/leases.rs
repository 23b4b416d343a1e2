//! Named leases, on SQLite and on PostgreSQL: one holder at a time, and a number that tells an old holder from a new one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use storage::{Error, leases};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(
    one_holds_it_until_it_expires,
    a_lease_given_back_is_free_at_once,
    a_renewed_lease_is_not_taken,
    eight_at_once_give_one_holder,
    a_transaction_is_fenced,
);

const SPAN: Duration = Duration::from_secs(10);
const PAST: Duration = Duration::from_secs(11);

async fn one_holds_it_until_it_expires(test: TestStorage) {
    let test = test.with_manual_clock();
    let first = leases::acquire(&test.storage, "index:1", "a", SPAN).await.unwrap().unwrap();
    assert_eq!(leases::acquire(&test.storage, "index:1", "b", SPAN).await.unwrap(), None);
    assert!(leases::acquire(&test.storage, "index:2", "b", SPAN).await.unwrap().is_some(), "names are independent");
    test.advance(PAST);
    let second = leases::acquire(&test.storage, "index:1", "b", SPAN).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
    assert!(matches!(leases::renew(&test.storage, &first, SPAN).await, Err(Error::LeaseLost)));
    leases::release(&test.storage, &first).await.unwrap();
    assert_eq!(
        leases::acquire(&test.storage, "index:1", "c", SPAN).await.unwrap(),
        None,
        "an old holder frees nothing"
    );
}

async fn a_lease_given_back_is_free_at_once(test: TestStorage) {
    let test = test.with_manual_clock();
    let first = leases::acquire(&test.storage, "x", "a", SPAN).await.unwrap().unwrap();
    leases::release(&test.storage, &first).await.unwrap();
    let second = leases::acquire(&test.storage, "x", "b", SPAN).await.unwrap().unwrap();
    assert!(second.fence > first.fence, "the number never goes back");
}

async fn a_renewed_lease_is_not_taken(test: TestStorage) {
    let test = test.with_manual_clock();
    let lease = leases::acquire(&test.storage, "x", "a", SPAN).await.unwrap().unwrap();
    for _ in 0..5 {
        test.advance(SPAN / 2);
        leases::renew(&test.storage, &lease, SPAN).await.unwrap();
        assert_eq!(leases::acquire(&test.storage, "x", "b", SPAN).await.unwrap(), None);
    }
}

async fn eight_at_once_give_one_holder(test: TestStorage) {
    let test = test.with_manual_clock();
    let mut last = 0;
    for _ in 0..5 {
        let mut askers = Vec::new();
        for n in 0..8 {
            let storage = test.storage.clone();
            askers
                .push(tokio::spawn(async move { leases::acquire(&storage, "x", &n.to_string(), SPAN).await.unwrap() }));
        }
        let mut holders = Vec::new();
        for asker in askers {
            holders.extend(asker.await.unwrap());
        }
        assert_eq!(holders.len(), 1);
        assert!(holders[0].fence > last);
        last = holders[0].fence;
        test.advance(PAST);
    }
}

async fn a_transaction_is_fenced(test: TestStorage) {
    let test = test.with_manual_clock();
    let matter = Matter::open(&test).await;
    let first = leases::acquire(&test.storage, "x", "a", SPAN).await.unwrap().unwrap();
    matter.begin().await.fence(&first).await.unwrap();
    test.advance(PAST);
    matter.begin().await.fence(&first).await.unwrap();
    leases::acquire(&test.storage, "x", "b", SPAN).await.unwrap().unwrap();
    assert!(matches!(matter.begin().await.fence(&first).await, Err(Error::LeaseLost)));
}
