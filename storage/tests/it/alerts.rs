//! Alerts on both databases: whatever the rules should find in the trail, each once, until somebody looked and it goes on.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    actor::{Actor, Origin, Who},
    ids::{UserId, WebhookId},
    page::PageQuery,
};
use storage::{
    Error,
    alerts::{self, Alert},
    audit::Audit,
};
use testkit::{Matter, TestStorage, on_each_database};

on_each_database!(nobody_hides_behind_many, what_goes_on_is_another_alert, a_look_reaches_back_to_the_last);

async fn happen(test: &TestStorage, actor: &Actor, event: Audit) {
    let mut tx = test.storage.begin(actor).await.unwrap();
    tx.audit(event).await.unwrap();
    tx.commit().await.unwrap();
}

fn stranger(address: &str) -> Actor {
    let origin = Origin { address: Some(address.to_owned()), ..Origin::default() };
    Actor { who: Who::Anonymous, origin }
}

/// The rules of what was raised now, in their order.
async fn raised(test: &TestStorage, thresholds: &[(&str, u64)]) -> Vec<(String, String)> {
    let thresholds: BTreeMap<String, u64> = thresholds.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    let alerts = alerts::raise(&test.storage, &thresholds, &[]).await.unwrap();
    alerts.into_iter().map(|alert| (alert.rule, alert.subject)).collect()
}

async fn nobody_hides_behind_many(test: TestStorage) {
    let matter = Matter::open(&test).await;
    for _ in 0..150 {
        let event = Audit::WebhookCreated { case: matter.case, webhook: WebhookId::new(), events: Vec::new() };
        happen(&test, &matter.owner, event).await;
    }
    // Members are no administrators, and accounts that are there are told from those that are not.
    let administrator = UserId::new();
    happen(&test, &matter.owner, Audit::UserSignedUp { user: UserId::new(), role: "member" }).await;
    happen(&test, &matter.owner, Audit::UserSignedUp { user: administrator, role: "administrator" }).await;
    let near = stranger("192.0.2.1");
    for user in [None, None, None, Some(UserId::new()), Some(UserId::new())] {
        happen(&test, &near, Audit::LoginFailed { user }).await;
    }
    let few = [("account_probing", 3), ("password_spray", 3), ("brute_force", 2)];
    let found = raised(&test, &few).await;
    let of = |rule: &str| {
        found.iter().filter(|(name, _)| name == rule).map(|(_, subject)| subject.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("webhook_added").len(), 150);
    assert_eq!(of("administrator_made"), [administrator.to_string()]);
    assert_eq!((of("account_probing"), of("password_spray"), of("brute_force")), (vec!["192.0.2.1"], vec![], vec![]));
    assert_eq!(raised(&test, &few).await, []);
    // Off is off.
    happen(&test, &near, Audit::LoginFailed { user: Some(UserId::new()) }).await;
    assert_eq!(raised(&test, &[("password_spray", 0)]).await, []);
    assert_eq!(raised(&test, &few).await, [("password_spray".to_owned(), "192.0.2.1".to_owned())]);
}

async fn what_goes_on_is_another_alert(test: TestStorage) {
    let test = test.with_manual_clock();
    let (matter, root) = (Matter::open(&test).await, test.administrator().await);
    let victim = UserId::new();
    let guess = async || happen(&test, &stranger("192.0.2.9"), Audit::LoginFailed { user: Some(victim) }).await;
    let one = [("brute_force".to_owned(), victim.to_string())];
    let only = [("brute_force", 2), ("administrator_made", 0)];
    guess().await;
    assert_eq!(raised(&test, &only).await, []);
    guess().await;
    assert_eq!(raised(&test, &only).await, one);
    test.advance(Duration::from_secs(30));
    guess().await;
    assert_eq!(raised(&test, &only).await, [], "it stands");

    let list = async |actor: &Actor| {
        let mut tx = test.storage.read(actor).await.unwrap();
        Alert::list(&mut tx, true, &PageQuery::default()).await
    };
    assert!(matches!(list(&matter.owner).await, Err(Error::Forbidden)));
    let alert = list(&root).await.unwrap().items.remove(0);
    assert_eq!((alert.events, alert.last_at.since(alert.first_at)), (3, Duration::from_secs(30)));
    for again in [false, true] {
        let mut tx = test.storage.begin(&root).await.unwrap();
        let done = alert.acknowledge(&mut tx).await;
        assert_eq!(done.is_err(), again);
        if !again {
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(list(&root).await.unwrap().items, []);
    assert_eq!(raised(&test, &only).await, [], "somebody looked");
    test.advance(Duration::from_secs(1));
    guess().await;
    assert_eq!(raised(&test, &only).await, one, "it goes on");
}

async fn a_look_reaches_back_to_the_last(test: TestStorage) {
    let test = test.with_manual_clock();
    let victim = UserId::new();
    assert_eq!(raised(&test, &[]).await, []);
    // No worker runs for two hours; what happened at their beginning is found.
    test.advance(Duration::from_secs(1));
    happen(&test, &stranger("192.0.2.9"), Audit::PasswordChanged { user: victim }).await;
    test.advance(Duration::from_hours(2));
    assert_eq!(raised(&test, &[]).await, [("password_changed".to_owned(), victim.to_string())]);
}
