//! Messages to webhooks: what is told, to whom, how often it is tried, and what a receiver can verify. The verifier is not ours.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use domain::{
    access::Action,
    ids::{DeliveryId, WebhookId},
    outcome::DocumentState,
    page::PageQuery,
};
use serde_json::{Value, json};
use storage::{
    batches::Batch,
    cases::{Case, NewCase},
    databases::Database,
    documents::{Selection, retry_exceptions},
    webhooks::{Delivery, Webhook, WebhookChange},
};
use testkit::TestStorage;
use workers::{Context, Webhooks, WebhooksConfig, WorkersConfig};

use crate::{
    both,
    host::{Answer, Asked, Authority, Host},
    intake::{announce, seal},
    matter::{LONG, Matter, context, new_case},
    until,
};

both!(
    a_delivery_is_told_from_seal_to_settle,
    a_batch_settles_once_and_again_after_a_retry,
    load_files_and_cancellations_are_told,
    a_message_that_fails_is_sent_again,
    a_message_is_given_up_and_its_webhook_disabled,
    a_receiver_that_is_gone_is_told_nothing_more,
    after_a_rotation_both_secrets_verify,
    nothing_goes_where_it_may_not,
    what_nobody_wants_is_dropped,
    a_message_is_sent_again_by_hand,
    the_log_is_forgotten_and_goes_with_the_case,
);

/// A webhook and its secret.
struct Hook {
    id: WebhookId,
    secret: String,
}

async fn hook(matter: &Matter, url: &str, events: &[&str]) -> Hook {
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ManageWebhooks).await.unwrap();
    let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
    let (webhook, secret) = case.create_webhook(&mut tx, url, &events).await.unwrap();
    tx.commit().await.unwrap();
    Hook { id: webhook.id, secret: secret.to_string() }
}

async fn found(matter: &Matter, hook: &Hook) -> Webhook {
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::ManageWebhooks).await.unwrap();
    case.webhook(&mut tx, hook.id).await.unwrap()
}

/// Changes a webhook in a transaction of its own.
async fn with<T>(
    matter: &Matter,
    hook: &Hook,
    act: impl AsyncFnOnce(&Webhook, &mut storage::Tx) -> storage::Result<T>,
) -> storage::Result<T> {
    let webhook = found(matter, hook).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let done = act(&webhook, &mut tx).await?;
    tx.commit().await.unwrap();
    Ok(done)
}

async fn test(matter: &Matter, hook: &Hook) -> DeliveryId {
    with(matter, hook, async |webhook, tx| webhook.test(tx).await).await.unwrap()
}

async fn log(matter: &Matter, hook: &Hook) -> Vec<Delivery> {
    let webhook = found(matter, hook).await;
    let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
    webhook.deliveries(&mut tx, &PageQuery::default()).await.unwrap().items
}

/// `plain` hosts on this machine may be told.
fn telling(config: WebhooksConfig, host: &Host) -> Context {
    let networks = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    let config = WebhooksConfig { plain_hosts: vec![host.name()], networks, ..config };
    Context { webhooks: Webhooks::new(&config).unwrap(), ..context() }
}

fn url(host: &Host) -> String {
    format!("http://{}/hook?token=canary", host.name())
}

/// A host that answers with these statuses in turn, the last for ever.
async fn answering(statuses: &'static [u16]) -> Host {
    Host::start(None, |_, before| Answer::Whole(statuses[before.min(statuses.len() - 1)], b"thank you".to_vec())).await
}

/// What the reference library of Standard Webhooks makes of a message; `None` when it refuses it.
#[expect(clippy::disallowed_methods, reason = "tests look for the verifier in the cache of the machine")]
fn verified(secret: &str, asked: &Asked) -> Option<Value> {
    let cache = std::env::var("DIA_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/dia"));
    let python = cache.join("webhooks/bin/python");
    assert!(python.is_file(), "`scripts/setup test` installs the verifier of webhooks");
    let script = "import json, sys\nfrom standardwebhooks import Webhook, WebhookVerificationError\n\
                  asked = json.load(sys.stdin)\n\
                  try: print(json.dumps(Webhook(asked['secret']).verify(asked['body'], asked['headers'])))\n\
                  except WebhookVerificationError: sys.exit(3)";
    let mut verifier = Command::new(python);
    verifier.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut verifier = verifier.spawn().unwrap();
    let body = String::from_utf8(asked.body.clone()).unwrap();
    let said = json!({ "secret": secret, "headers": asked.headers, "body": body }).to_string();
    verifier.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
    let output = verifier.wait_with_output().unwrap();
    match output.status.code() {
        Some(0) => Some(serde_json::from_slice(&output.stdout).unwrap()),
        Some(3) => None,
        other => panic!("the verifier ended with {other:?}"),
    }
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

/// The events that came, in the order of their ids.
fn told(host: &Host) -> Vec<String> {
    let mut all: Vec<(String, String)> = host
        .asked()
        .iter()
        .map(|asked| (asked.headers["webhook-id"].clone(), body(asked)["type"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    all.into_iter().map(|(_, event)| event).collect()
}

/// Lets time go on until `condition` holds: attempts lie hours apart. While a job runs it stands, or leases would run out.
async fn in_time(matter: &Matter, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until(what, async || {
        if matter.test.number("select count(*) from jobs where state = 'running'").await == 0 {
            matter.test.advance(Duration::from_secs(20));
        }
        condition().await
    })
    .await;
}

/// Waits until nothing of the batch is on its way and the webhooks were told so.
async fn settled(matter: &Matter) -> Batch {
    let load = async || {
        let mut tx = matter.test.storage.read(&matter.actor).await.unwrap();
        Batch::load(&mut tx, matter.case.id, matter.batch.id).await.unwrap()
    };
    until("the batch is settled", async || load().await.settled_at.is_some()).await;
    matter.settled().await;
    load().await
}

async fn a_delivery_is_told_from_seal_to_settle(test: TestStorage) {
    let matter = Matter::open(test).await;
    let authority = Authority::new();
    let host = Host::start(Some(&authority), |_, _| Answer::Whole(204, Vec::new())).await;
    let networks = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    let config = WebhooksConfig { networks, certificates: authority.certificate(), ..WebhooksConfig::default() };
    let office = matter.work(Context { webhooks: Webhooks::new(&config).unwrap(), ..context() });
    let url = format!("https://{}/hook?token=canary", host.name());
    let all = hook(&matter, &url, &["*"]).await;
    let other = hook(&matter, &url, &["load_file.failed"]).await;
    matter.deliver(&[("quintembre.txt", b"quintembre".to_vec()), ("empty.txt", Vec::new())]).await;
    seal(&matter).await;
    seal(&matter).await;
    settled(&matter).await;

    assert_eq!(told(&host), ["batch.sealed", "batch.settled"]);
    let asked = host.asked();
    for asked in &asked {
        assert_eq!(asked.line, "POST /hook?token=canary HTTP/1.1");
        assert_eq!(asked.headers["content-type"], "application/json");
        assert_eq!(verified(&all.secret, asked), Some(body(asked)));
        assert_eq!(verified(&other.secret, asked), None);
        let mut forged = asked.clone();
        forged.body.push(b' ');
        assert_eq!(verified(&all.secret, &forged), None);
        assert!(!String::from_utf8_lossy(&asked.body).contains("quintembre"), "ids and counts only");
    }
    let said = asked.iter().map(body).find(|body| body["type"] == "batch.settled").unwrap();
    let (counts, data) = (&said["data"]["counts"], &said["data"]);
    assert_eq!((&counts["received"], &counts["indexed"], &counts["in_flight"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!(counts["exceptions"], json!({ "empty": 1 }));
    assert_eq!((&data["batch_id"], &data["case_id"]), (&json!(matter.batch.id), &json!(matter.case.id)));
    assert_eq!(data["items"]["awaited"], 0);
    domain::clock::Timestamp::parse(said["timestamp"].as_str().unwrap()).unwrap();

    let log = log(&matter, &all).await;
    assert!(log.iter().all(|one| one.state == "delivered" && one.attempts.len() == 1 && one.next_at.is_none()));
    assert_eq!((log[0].attempts[0].status, log[0].attempts[0].number), (Some(204), 1));
    assert!(self::log(&matter, &other).await.is_empty());
    // Neither the URL nor the secret stands anywhere in the clear.
    for column in
        ["select count(*) from jobs where cast(payload as text)", "select count(*) from webhook_deliveries where body"]
    {
        assert_eq!(matter.test.number(&format!("{column} like '%canary%'")).await, 0, "{column}");
    }
    assert!(!matter.test.trail(matter.case.id).await.iter().any(|entry| entry.details.to_string().contains("canary")));
    office.close().await;
}

async fn a_batch_settles_once_and_again_after_a_retry(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    hook(&matter, &url(&host), &["batch.settled"]).await;
    matter.deliver(&[("a.txt", b"alpha".to_vec()), ("empty.txt", Vec::new())]).await;
    seal(&matter).await;
    let first = settled(&matter).await;
    let settle = async || {
        let system = domain::actor::Actor::system(domain::ids::fresh());
        storage::batches::settle(&matter.test.storage, &system, matter.case.id, matter.batch.id).await.unwrap()
    };
    assert!(!settle().await, "it is noted once");
    assert_eq!(told(&host).len(), 1);

    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let database = Database::find(&mut tx, matter.database.id, Action::Upload).await.unwrap();
    assert_eq!(retry_exceptions(&mut tx, &database, &Selection::default()).await.unwrap(), 1);
    tx.commit().await.unwrap();
    until("it ended again", async || matter.document("empty.txt").await.state == DocumentState::Exception).await;
    let again = settled(&matter).await;
    assert!(again.settled_at > first.settled_at);
    assert_eq!(told(&host).len(), 2);
    let ids: std::collections::BTreeSet<String> =
        host.asked().iter().map(|asked| asked.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 2, "two events");
    assert_eq!(matter.test.number("select count(*) from audit_events where action = 'batch.settled'").await, 2);
    // Reading nothing again stirs nothing.
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let none = Selection { category: Some(domain::outcome::Category::Virus), ..Selection::default() };
    assert_eq!(retry_exceptions(&mut tx, &database, &none).await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert!(!settle().await);
    office.close().await;
}

async fn load_files_and_cancellations_are_told(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    hook(&matter, &url(&host), &["load_file.read", "load_file.failed", "batch.cancelled"]).await;
    announce(&matter, b"path\none.txt\ntwo.txt\n").await;
    matter.settled().await;
    announce(&matter, b"<nothing>").await;
    matter.settled().await;
    for _ in 0..2 {
        let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
        let batch = Batch::load(&mut tx, matter.case.id, matter.batch.id).await.unwrap();
        batch.cancel(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    matter.settled().await;
    assert_eq!(told(&host), ["load_file.read", "load_file.failed", "batch.cancelled"]);
    let said: Vec<Value> = host.asked().iter().map(body).collect();
    let data = |event: &str| said.iter().find(|said| said["type"] == event).unwrap()["data"].clone();
    assert_eq!(data("load_file.read")["items"], 2);
    assert_eq!(data("batch.cancelled")["excluded"], 0);
    office.close().await;
}

async fn a_message_that_fails_is_sent_again(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = Host::start(None, |_, before| match before {
        0 => Answer::Whole(500, b"a secret of the receiver".to_vec()),
        1 => Answer::Silence,
        2 => Answer::Elsewhere("/elsewhere".to_owned()),
        3 => Answer::Whole(404, Vec::new()),
        _ => Answer::Whole(200, Vec::new()),
    })
    .await;
    let config = WebhooksConfig { timeout_seconds: 1, ..WebhooksConfig::default() };
    let office = matter.work(telling(config, &host));
    let hook = hook(&matter, &url(&host), &["*"]).await;
    let id = self::test(&matter, &hook).await;
    in_time(&matter, "it arrived", async || log(&matter, &hook).await[0].state == "delivered").await;

    let asked = host.asked();
    assert_eq!(asked.len(), 5);
    assert!(
        asked.iter().all(|asked| asked.line.starts_with("POST /hook") && asked.headers["webhook-id"] == id.to_string())
    );
    assert!(asked.iter().all(|one| one.body == asked[0].body), "the same message");
    let delivery = log(&matter, &hook).await.remove(0);
    let statuses: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), None, Some(307), Some(404), Some(200)]);
    assert_eq!(delivery.attempts[1].error.as_deref(), Some("the host did not answer in time"));
    let waits: Vec<u64> = delivery.attempts.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect();
    for (waited, least) in waits.iter().zip([10, 40, 160, 640]) {
        assert!((least..least * 5 / 4 + 120).contains(waited), "{waits:?}");
    }
    assert_eq!(found(&matter, &hook).await.failures, 0);
    let kept = "select count(*) from webhook_deliveries where cast(attempts as text) like '%secret of the receiver%'";
    assert_eq!(matter.test.number(kept).await, 0);
    office.close().await;
}

async fn a_message_is_given_up_and_its_webhook_disabled(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = answering(&[503]).await;
    let config = WebhooksConfig { attempts: 2, disable_after: 2, ..WebhooksConfig::default() };
    let office = matter.work(telling(config, &host));
    let hook = hook(&matter, &url(&host), &["*"]).await;
    self::test(&matter, &hook).await;
    in_time(&matter, "it is given up", async || log(&matter, &hook).await[0].state == "failed").await;
    assert_eq!((host.asked().len(), found(&matter, &hook).await.failures), (2, 1));
    assert_eq!(found(&matter, &hook).await.disabled, None);
    self::test(&matter, &hook).await;
    in_time(&matter, "it is disabled", async || found(&matter, &hook).await.disabled.is_some()).await;
    assert_eq!(found(&matter, &hook).await.disabled.as_deref(), Some("failing"));
    let refused = with(&matter, &hook, async |webhook, tx| webhook.test(tx).await).await;
    assert!(matches!(refused, Err(storage::Error::Conflict(_))));
    seal(&matter).await;
    assert_eq!(log(&matter, &hook).await.len(), 2, "who is disabled is told nothing");
    let enable = WebhookChange { is_enabled: Some(true), ..WebhookChange::default() };
    with(&matter, &hook, async |webhook, tx| webhook.update(tx, &enable).await).await.unwrap();
    let enabled = found(&matter, &hook).await;
    assert_eq!((enabled.disabled, enabled.failures), (None, 0));
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
    assert_eq!(matter.test.number("select count(*) from audit_events where action = 'webhook.attempted'").await, 4);
    office.close().await;
}

async fn a_receiver_that_is_gone_is_told_nothing_more(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[410]).await;
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    let hook = hook(&matter, &url(&host), &["*"]).await;
    self::test(&matter, &hook).await;
    matter.settled().await;
    seal(&matter).await;
    matter.settled().await;
    assert_eq!(found(&matter, &hook).await.disabled.as_deref(), Some("gone"));
    let log = log(&matter, &hook).await;
    assert_eq!((log.len(), log[0].state.as_str(), host.asked().len()), (1, "failed", 1));
    assert_eq!(matter.test.number("select count(*) from audit_events where action = 'webhook.disabled'").await, 1);
    office.close().await;
}

async fn after_a_rotation_both_secrets_verify(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    let hook = hook(&matter, &url(&host), &["*"]).await;
    let second = with(&matter, &hook, async |webhook, tx| webhook.rotate(tx).await).await.unwrap().to_string();
    self::test(&matter, &hook).await;
    matter.settled().await;
    let asked = host.asked().remove(0);
    assert_eq!(asked.headers["webhook-signature"].split(' ').count(), 2);
    for secret in [&hook.secret, &second] {
        assert_eq!(verified(secret, &asked), Some(body(&asked)));
    }
    // Only the last one before goes on, and not for ever.
    let third = with(&matter, &hook, async |webhook, tx| webhook.rotate(tx).await).await.unwrap().to_string();
    self::test(&matter, &hook).await;
    matter.settled().await;
    let asked = host.asked().remove(1);
    let verifies = |secret: &str| verified(secret, &asked).is_some();
    assert_eq!((verifies(&hook.secret), verifies(&second), verifies(&third)), (false, true, true));
    matter.test.statement("update webhooks set former_until = 0").await;
    self::test(&matter, &hook).await;
    matter.settled().await;
    let asked = host.asked().remove(2);
    let verifies = |secret: &str| verified(secret, &asked).is_some();
    assert_eq!((verifies(&second), verifies(&third)), (false, true));
    office.close().await;
}

async fn nothing_goes_where_it_may_not(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let config = WebhooksConfig { plain_hosts: vec![host.name()], attempts: 1, ..WebhooksConfig::default() };
    let office = matter.work(Context { webhooks: Webhooks::new(&config).unwrap(), ..context() });
    for (url, error) in [
        (url(&host), "the host stands for an address in a network that the operator does not allow"),
        (
            format!("https://127.0.0.1:{}/", host.port),
            "the host stands for an address in a network that the operator does not allow",
        ),
        ("http://169.254.169.254/latest/meta-data".to_owned(), "only https is allowed for this host"),
    ] {
        let hook = hook(&matter, &url, &["*"]).await;
        self::test(&matter, &hook).await;
        matter.settled().await;
        let delivery = log(&matter, &hook).await.remove(0);
        assert_eq!((delivery.state.as_str(), delivery.attempts[0].error.as_deref()), ("failed", Some(error)));
    }
    assert!(host.asked().is_empty());
    office.close().await;
}

async fn what_nobody_wants_is_dropped(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let [removed, disabled, closed] = [
        hook(&matter, &url(&host), &["*"]).await,
        hook(&matter, &url(&host), &["*"]).await,
        hook(&matter, &url(&host), &["*"]).await,
    ];
    for hook in [&removed, &disabled, &closed] {
        self::test(&matter, hook).await;
    }
    with(&matter, &removed, async |webhook, tx| webhook.remove(tx).await).await.unwrap();
    let disable = WebhookChange { is_enabled: Some(false), ..WebhookChange::default() };
    with(&matter, &disabled, async |webhook, tx| webhook.update(tx, &disable).await).await.unwrap();
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::EditCase).await.unwrap();
    case.update(&mut tx, &NewCase { status: "closed".into(), ..new_case("Smith v. Jones") }).await.unwrap();
    tx.commit().await.unwrap();
    seal(&matter).await;
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    matter.settled().await;
    assert!(host.asked().is_empty());
    for hook in [&disabled, &closed] {
        let log = log(&matter, hook).await;
        assert_eq!((log.len(), log[0].state.as_str()), (1, "dropped"));
    }
    assert_eq!(matter.test.number("select count(*) from webhook_deliveries").await, 2);
    assert_eq!(matter.test.number("select count(*) from jobs where state = 'dead'").await, 0);
    office.close().await;
}

async fn a_message_is_sent_again_by_hand(test: TestStorage) {
    let matter = Matter::open(test).await;
    let host = answering(&[200]).await;
    let hook = hook(&matter, &url(&host), &["*"]).await;
    let id = self::test(&matter, &hook).await;
    let again = async || with(&matter, &hook, async |webhook, tx| webhook.redeliver(tx, id).await).await;
    assert!(matches!(again().await, Err(storage::Error::Conflict(_))), "it is still to be sent");
    let office = matter.work(telling(WebhooksConfig::default(), &host));
    matter.settled().await;
    again().await.unwrap();
    matter.settled().await;
    let asked = host.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((&asked[0].body, &asked[0].headers["webhook-id"]), (&asked[1].body, &asked[1].headers["webhook-id"]));
    let numbers: Vec<u32> = log(&matter, &hook).await[0].attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2]);
    office.close().await;
}

async fn the_log_is_forgotten_and_goes_with_the_case(test: TestStorage) {
    let matter = Matter::open(test.with_manual_clock()).await;
    let host = answering(&[200]).await;
    let context = telling(WebhooksConfig::default(), &host);
    let config = WorkersConfig { collect_seconds: 1, ..context.config.clone() };
    let office = matter.work(Context { config, ..context });
    let hook = hook(&matter, &url(&host), &["*"]).await;
    self::test(&matter, &hook).await;
    in_time(&matter, "it arrived", async || log(&matter, &hook).await[0].state == "delivered").await;
    matter.test.advance(LONG);
    in_time(&matter, "it is forgotten", async || log(&matter, &hook).await.is_empty()).await;
    self::test(&matter, &hook).await;
    let mut tx = matter.test.storage.begin(&matter.actor).await.unwrap();
    let case = Case::find(&mut tx, matter.case.id, Action::DeleteCase).await.unwrap();
    case.delete(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let left = "select (select count(*) from webhooks) + (select count(*) from webhook_deliveries)";
    in_time(&matter, "it is purged", async || matter.test.number(left).await == 0).await;
    office.close().await;
}
