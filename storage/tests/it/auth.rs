//! People, sessions and counted attempts against both databases, below the door.

use std::time::Duration;

use domain::{access::SystemRole, actor::Actor};
use storage::{attempts, sessions, users};
use testkit::TestStorage;

testkit::on_each_database!(
    a_hundred_failures_from_everywhere_leave_the_known_door_open,
    guesses_at_once_are_counted_one_by_one,
    housekeeping_forgets_what_is_over,
    one_address_is_one_person,
);

const EMAIL: &str = "ann@example.org";

async fn a_hundred_failures_from_everywhere_leave_the_known_door_open(test: TestStorage) {
    let test = test.with_manual_clock();
    for email in [EMAIL, "nobody@example.org"] {
        for n in 0..100 {
            let network = format!("198.51.100.{n}");
            assert!(attempts::begin(&test.storage, email, &network, false).await.unwrap().is_ok(), "{n}");
        }
        let wait = attempts::begin(&test.storage, email, "192.0.2.1", false).await.unwrap().unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        // Whoever signed in from there before still comes in, and clears the count for all.
        let attempt = attempts::begin(&test.storage, email, "203.0.113.7", true).await.unwrap().unwrap();
        let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        attempt.succeeded(&mut tx).await.unwrap();
        tx.audit(storage::audit::Audit::LoginFailed { user: None }).await.unwrap();
        tx.commit().await.unwrap();
        assert!(attempts::begin(&test.storage, email, "192.0.2.1", false).await.unwrap().is_ok());
    }
}

async fn guesses_at_once_are_counted_one_by_one(test: TestStorage) {
    let test = test.with_manual_clock();
    let guesses = (0..40).map(|_| attempts::begin(&test.storage, EMAIL, "192.0.2.1", false));
    let begun = futures::future::join_all(guesses).await.into_iter().filter(|b| b.as_ref().unwrap().is_ok()).count();
    assert_eq!(begun, 5, "five are free, however many come at once");
    test.advance(Duration::from_secs(1));
    assert!(attempts::begin(&test.storage, EMAIL, "192.0.2.1", false).await.unwrap().is_ok());
    let wait = attempts::begin(&test.storage, EMAIL, "192.0.2.1", false).await.unwrap().unwrap_err();
    assert_eq!(wait, Duration::from_secs(2));
}

async fn housekeeping_forgets_what_is_over(test: TestStorage) {
    let test = test.with_manual_clock();
    let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
    let user = users::create(&mut tx, EMAIL, "Ann", "hash", SystemRole::Member).await.unwrap();
    let day = Duration::from_hours(24);
    let lives = sessions::Lifetimes { idle: day, absolute: day };
    sessions::open(&mut tx, user.id, &lives, sessions::Proof::Password).await.unwrap();
    tx.commit().await.unwrap();
    attempts::begin(&test.storage, EMAIL, "192.0.2.1", false).await.unwrap().unwrap();
    let forget = async || {
        let mut tx = test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        let forgotten = (attempts::forget_old(&mut tx).await.unwrap(), sessions::forget_old(&mut tx).await.unwrap());
        tx.audit(storage::audit::Audit::GarbageCollected { objects: 0, rows: 0 }).await.unwrap();
        tx.commit().await.unwrap();
        forgotten
    };
    assert_eq!(forget().await, (0, 0));
    test.advance(day * 2);
    assert_eq!(forget().await, (2, 0));
    test.advance(day * 90);
    assert_eq!(forget().await, (0, 1));
}

async fn one_address_is_one_person(test: TestStorage) {
    let create = |n: usize| {
        let storage = test.storage.clone();
        async move {
            let mut tx = storage.begin(&Actor::system(domain::ids::fresh())).await?;
            let user = users::create(&mut tx, EMAIL, &format!("Ann {n}"), "hash", SystemRole::Member).await?;
            tx.commit().await?;
            Ok::<_, storage::Error>(user)
        }
    };
    let made = futures::future::join_all((0..8).map(create)).await;
    assert_eq!(made.iter().filter(|user| user.is_ok()).count(), 1);
    assert!(made.iter().all(|user| matches!(user, Ok(_) | Err(storage::Error::Conflict(_)))));
    assert_eq!(test.number("select count(*) from users").await, 1);
}
