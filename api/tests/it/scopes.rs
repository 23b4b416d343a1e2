//! Every operation with every scope. The table is held against the document, so that a route without a row fails.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    actor::Actor,
    ids::{CaseId, DatabaseId},
    jobs::SweepJobs,
    scope::Scope,
};
use serde_json::{Value, json};
use testkit::TestStorage;

use crate::{
    door::{Answer, Door, Person},
    keys,
    papers::{Form, Papers, multipart},
};

testkit::in_each_mode!(every_operation_asks_for_its_scopes);

/// Which keys an operation is for.
pub(crate) enum For {
    /// Anybody, without a key or with one.
    All,
    /// Any key that counts.
    AnyKey,
    /// People who signed in.
    Person,
    /// Keys with a scope of cases.
    AnyOfCases,
    /// Keys with all of these.
    Holders(&'static [Scope]),
}
use For::{All, AnyKey, AnyOfCases, Holders, Person as SignedIn};
use Scope::{
    AuditRead, CasesWrite, Chat, DatabasesWrite, DocumentsDelete, DocumentsRead, DocumentsWrite, JobsWrite,
    PasswordsWrite, WebhooksWrite,
};

/// What the operations work on: a matter with one of everything.
#[derive(Clone)]
pub(crate) struct Matter {
    pub(crate) case: CaseId,
    pub(crate) database: DatabaseId,
    pub(crate) ids: BTreeMap<&'static str, String>,
}

/// Operation id, for whom, and the body where one is wanted. What takes things away stands last.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn table(matter: &Matter) -> Vec<(&'static str, For, Value)> {
    let id = |name: &str| matter.ids[name].clone();
    let none = Value::Null;
    vec![
        ("read_live", All, none.clone()),
        ("read_ready", All, none.clone()),
        ("read_metrics", All, none.clone()),
        ("sign_up", All, none.clone()),
        ("log_in", All, none.clone()),
        ("refresh", All, none.clone()),
        ("watch_chat", All, none.clone()),
        ("watch_databases", All, none.clone()),
        ("read_me", AnyKey, none.clone()),
        ("describe_uploads", AnyKey, none.clone()),
        ("change_password", SignedIn, json!({ "current_password": "x", "new_password": "y" })),
        ("create_invitation", SignedIn, json!({ "role": "member" })),
        ("list_sessions", SignedIn, none.clone()),
        ("end_session", SignedIn, none.clone()),
        ("list_api_keys", SignedIn, none.clone()),
        ("create_api_key", SignedIn, json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 1 })),
        ("read_api_key", SignedIn, none.clone()),
        ("rotate_api_key", SignedIn, json!({ "overlap_minutes": 0 })),
        ("revoke_api_key", SignedIn, none.clone()),
        ("log_out", SignedIn, none.clone()),
        ("list_users", SignedIn, none.clone()),
        ("read_user", SignedIn, none.clone()),
        ("update_user", SignedIn, json!({ "role": "member" })),
        ("end_user_sessions", SignedIn, none.clone()),
        ("remove_user_second_factor", SignedIn, none.clone()),
        ("issue_password_reset", SignedIn, none.clone()),
        ("prove_second_factor", All, none.clone()),
        ("forgot_password", All, none.clone()),
        ("reset_password", All, none.clone()),
        ("step_up", SignedIn, json!({ "password": "x" })),
        ("read_second_factor", SignedIn, none.clone()),
        ("begin_totp", SignedIn, none.clone()),
        ("confirm_totp", SignedIn, json!({ "code": "123456" })),
        ("remove_totp", SignedIn, none.clone()),
        ("make_recovery_codes", SignedIn, none.clone()),
        ("list_cases", AnyOfCases, none.clone()),
        ("read_case", AnyOfCases, none.clone()),
        ("explain_own_access", AnyOfCases, none.clone()),
        ("explain_access", SignedIn, none.clone()),
        ("list_members", AnyOfCases, none.clone()),
        ("list_databases", AnyOfCases, none.clone()),
        ("read_database", AnyOfCases, none.clone()),
        ("read_status", AnyOfCases, none.clone()),
        ("list_batches", AnyOfCases, none.clone()),
        ("read_batch", AnyOfCases, none.clone()),
        ("create_case", Holders(&[CasesWrite]), json!({ "title": "x" })),
        ("update_case", Holders(&[CasesWrite]), json!({ "title": "x" })),
        ("set_member", Holders(&[CasesWrite]), json!({ "role": "reviewer" })),
        ("list_walls", SignedIn, none.clone()),
        ("set_wall", SignedIn, json!({ "reason": "acted for the other side" })),
        ("lift_wall", SignedIn, none.clone()),
        ("list_break_glass", SignedIn, none.clone()),
        ("ask_break_glass", SignedIn, json!({ "reason": "the manager has left the firm", "minutes": 5 })),
        ("approve_break_glass", SignedIn, none.clone()),
        ("refuse_break_glass", SignedIn, none.clone()),
        ("end_break_glass", SignedIn, none.clone()),
        ("remove_member", Holders(&[CasesWrite]), none.clone()),
        ("read_audit", Holders(&[AuditRead]), none.clone()),
        ("export_case", SignedIn, none.clone()),
        ("read_audit_bundle", Holders(&[AuditRead]), none.clone()),
        ("prove_event", Holders(&[AuditRead]), none.clone()),
        ("read_system_audit", Holders(&[AuditRead]), none.clone()),
        ("read_log_bundle", Holders(&[AuditRead]), none.clone()),
        ("list_alerts", Holders(&[AuditRead]), none.clone()),
        ("acknowledge_alert", SignedIn, none.clone()),
        ("read_checkpoint", AnyKey, none.clone()),
        ("prove_growth", AnyKey, none.clone()),
        ("create_database", Holders(&[DatabasesWrite]), json!({ "case_id": matter.case, "name": "x" })),
        ("update_database", Holders(&[DatabasesWrite]), json!({ "name": "x" })),
        ("reindex_database", Holders(&[DatabasesWrite]), none.clone()),
        ("list_database_files", Holders(&[DocumentsRead]), none.clone()),
        ("list_case_files", Holders(&[DocumentsRead]), none.clone()),
        ("read_document", Holders(&[DocumentsRead]), none.clone()),
        ("list_copies", Holders(&[DocumentsRead]), none.clone()),
        ("list_thread", Holders(&[DocumentsRead]), none.clone()),
        ("list_near_duplicates", Holders(&[DocumentsRead]), none.clone()),
        ("read_document_text", Holders(&[DocumentsRead]), none.clone()),
        ("read_original", Holders(&[DocumentsRead]), none.clone()),
        ("list_versions", Holders(&[DocumentsRead]), none.clone()),
        ("read_version", Holders(&[DocumentsRead]), none.clone()),
        ("list_exceptions", Holders(&[DocumentsRead]), none.clone()),
        ("list_errors", Holders(&[DocumentsRead]), none.clone()),
        ("list_load_files", Holders(&[DocumentsRead]), none.clone()),
        ("read_load_file", Holders(&[DocumentsRead]), none.clone()),
        ("list_items", Holders(&[DocumentsRead]), none.clone()),
        ("search_database", Holders(&[DocumentsRead]), none.clone()),
        ("search_case", Holders(&[DocumentsRead]), none.clone()),
        ("open_batch", Holders(&[DocumentsWrite]), json!({})),
        ("deliver_load_file", Holders(&[DocumentsWrite]), json!("path\r\na.txt\r\n")),
        ("upload_to_database", Holders(&[DocumentsWrite]), json!("a form")),
        ("upload_to_case", Holders(&[DocumentsWrite]), json!("a form")),
        ("replace_file", Holders(&[DocumentsWrite]), json!("a form")),
        ("create_upload", Holders(&[DocumentsWrite]), none.clone()),
        ("read_upload", Holders(&[DocumentsWrite]), none.clone()),
        ("continue_upload", Holders(&[DocumentsWrite]), none.clone()),
        ("end_upload", Holders(&[DocumentsWrite]), none.clone()),
        ("retry", Holders(&[DocumentsWrite]), json!({})),
        ("ignore", Holders(&[DocumentsWrite]), json!({ "note": "x" })),
        ("reprocess_batch", Holders(&[DocumentsWrite]), json!({})),
        ("seal_batch", Holders(&[DocumentsWrite]), none.clone()),
        ("cancel_batch", Holders(&[DocumentsWrite]), none.clone()),
        ("add_passwords", Holders(&[PasswordsWrite]), json!({ "passwords": ["tulip 1987"] })),
        ("list_passwords", Holders(&[PasswordsWrite]), none.clone()),
        ("supply_password", Holders(&[PasswordsWrite]), json!({ "password": "tulip 1988" })),
        ("remove_password", Holders(&[PasswordsWrite]), none.clone()),
        ("create_webhook", Holders(&[WebhooksWrite]), json!({ "url": "https://hooks.example.org/" })),
        ("list_webhooks", Holders(&[WebhooksWrite]), none.clone()),
        ("read_webhook", Holders(&[WebhooksWrite]), none.clone()),
        ("update_webhook", Holders(&[WebhooksWrite]), json!({ "events": ["*"] })),
        ("rotate_webhook", Holders(&[WebhooksWrite]), none.clone()),
        ("test_webhook", Holders(&[WebhooksWrite]), none.clone()),
        ("list_deliveries", Holders(&[WebhooksWrite]), none.clone()),
        ("redeliver", Holders(&[WebhooksWrite]), none.clone()),
        ("remove_webhook", Holders(&[WebhooksWrite]), none.clone()),
        ("ask", Holders(&[Chat]), json!({ "case_id": matter.case, "message": "Who signed?" })),
        ("read_history", Holders(&[Chat]), none.clone()),
        ("list_conversations", Holders(&[Chat]), none.clone()),
        ("search_chat", Holders(&[Chat]), none.clone()),
        ("read_message", Holders(&[Chat]), none.clone()),
        ("cancel_answer", Holders(&[Chat]), none.clone()),
        ("list_context", Holders(&[Chat]), none.clone()),
        (
            "pin",
            Holders(&[Chat, DocumentsRead]),
            json!({ "conversation_id": id("conversation"), "database_id": matter.database }),
        ),
        ("unpin", Holders(&[Chat]), none.clone()),
        ("list_jobs", Holders(&[JobsWrite]), none.clone()),
        ("read_job", Holders(&[JobsWrite]), none.clone()),
        ("cancel_job", Holders(&[JobsWrite]), none.clone()),
        ("retry_job", Holders(&[JobsWrite]), none.clone()),
        ("list_queues", Holders(&[JobsWrite]), none.clone()),
        ("pause_queue", Holders(&[JobsWrite]), json!({ "paused": false })),
        ("list_workers", Holders(&[JobsWrite]), none.clone()),
        ("delete_document", Holders(&[DocumentsDelete]), none.clone()),
        ("delete_case", SignedIn, none),
    ]
}

impl Matter {
    /// Opens one for `root`; `operator` is an administrator.
    pub(crate) async fn open(door: &Door, root: &Person, operator: &Person) -> Self {
        let papers = Papers::open(door, root).await;
        let key = || domain::ids::fresh().to_string();
        let post = async |path: &str, body: Value| door.post(path, &body).by(root).key(&key()).send().await;
        let mut ids = BTreeMap::new();
        let document = papers.deliver("a.txt", b"Nobody signed the lease.").await;
        ids.insert("document", document.to_string());
        let load_file = door.knock("POST", &papers.path("/batches?name=x")).by(root).key(&key());
        let load_file = load_file.header("content-type", "text/csv").body("path\r\nb.txt\r\n").send().await.expect(201);
        ids.insert("batch", load_file.text("/id"));
        ids.insert("load_file", load_file.text("/load_file/id"));
        let batch = post(&papers.path("/batches"), json!({})).await.expect(201).text("/id");
        let upload = tus(door.knock("POST", &papers.path(&format!("/batches/{batch}/uploads"))).by(root));
        let upload = upload.send().await.expect(201).headers["location"].to_str().unwrap().to_owned();
        ids.insert("upload", upload.rsplit('/').next().unwrap().to_owned());
        ids.insert("upload_batch", batch);
        let case = format!("/api/v1/cases/{}", papers.case);
        let password = post(&format!("{case}/passwords"), json!({ "passwords": ["rose"] })).await.expect(201);
        ids.insert("password", password.text("/items/0/id"));
        let webhook = json!({ "url": "https://hooks.example.org/" });
        ids.insert("webhook", post(&format!("{case}/webhooks"), webhook).await.expect(201).text("/id"));
        let message = post(&format!("{case}/webhooks/{}/test", ids["webhook"]), Value::Null).await.expect(202);
        ids.insert("delivery", message.text("/delivery_id"));
        let asked = json!({ "case_id": papers.case, "database_id": papers.database, "message": "Who?" });
        let asked = post("/api/v1/chat/message", asked).await.expect(202);
        ids.insert("conversation", asked.text("/conversation_id"));
        ids.insert("message", asked.text("/answer_id"));
        let context = format!("/api/v1/chat/context?conversation_id={}", ids["conversation"]);
        ids.insert("context", door.get(&context).by(root).send().await.expect(200).text("/0/id"));
        ids.insert("event", door.test.trail(papers.case).await[0].id.to_string());
        let alerts = storage::alerts::raise(&door.test.storage, &BTreeMap::new(), &[]).await.unwrap();
        ids.insert("alert", alerts[0].id.to_string());
        let member = door.member().await;
        let role = json!({ "role": "reviewer" });
        door.put(&format!("{case}/members/{}", member.id), &role).by(root).send().await.expect(204);
        ids.insert("member", member.id.to_string());
        ids.insert("session", member.session.to_string());
        ids.insert("key", keys::make(door, root, &["chat"]).await.id);
        let outsider = door.administrator().await;
        let asked = json!({ "reason": "the manager has left the firm", "minutes": 5 });
        let asked = door.post(&format!("{case}/break-glass"), &asked).by(&outsider).key(&key()).send().await;
        ids.insert("break_glass", asked.expect(201).text("/id"));
        let mut tx = door.test.storage.begin(&Actor::system(domain::ids::fresh())).await.unwrap();
        tx.enqueue(&SweepJobs {}).await.unwrap();
        tx.audit(storage::audit::Audit::JobsSwept { enqueued: 1 }).await.unwrap();
        tx.commit().await.unwrap();
        let job = door.get("/api/v1/jobs?kind=sweep_jobs&state=ready").by(operator).send().await.expect(200);
        ids.insert("job", job.text("/items/0/id"));
        Self { case: papers.case, database: papers.database, ids }
    }

    /// A path of the document with this matter's ids in it, and the query that the operation wants.
    pub(crate) fn path(&self, operation: &str, template: &str) -> String {
        let id = |name: &str| self.ids[name].clone();
        let first = match template.trim_start_matches("/api/v1/").split('/').collect::<Vec<_>>()[..] {
            ["cases", ..] => self.case.to_string(),
            ["databases", ..] => self.database.to_string(),
            ["documents", ..] => id("document"),
            ["jobs", ..] => id("job"),
            ["alerts", ..] => id("alert"),
            ["api-keys", ..] => id("key"),
            ["break-glass", ..] => id("break_glass"),
            ["users", ..] => id("member"),
            ["auth", "sessions", ..] => id("session"),
            ["chat", "context", ..] => id("context"),
            ["chat", "messages", ..] => id("message"),
            _ => String::new(),
        };
        let batch = if template.contains("/uploads") { id("upload_batch") } else { id("batch") };
        let filled = template
            .replace("{id}", &first)
            .replace("{batch}", &batch)
            .replace("{load_file}", &id("load_file"))
            .replace("{upload}", &id("upload"))
            .replace("{user_id}", &id("member"))
            .replace("{password_id}", &id("password"))
            .replace("{event_id}", &id("event"))
            .replace("{webhook_id}", &id("webhook"))
            .replace("{delivery_id}", &id("delivery"))
            .replace("{number}", "1")
            .replace("{name}", "ocr");
        let query = match operation {
            "read_history" | "list_context" => format!("?conversation_id={}", id("conversation")),
            "search_chat" | "search_case" | "search_database" => "?q=signed".to_owned(),
            "deliver_load_file" => "?name=x".to_owned(),
            "prove_growth" => "?from=0&to=0".to_owned(),
            _ => String::new(),
        };
        format!("{filled}{query}")
    }
}

fn tus(knock: crate::door::Knock<'_>) -> crate::door::Knock<'_> {
    knock.header("tus-resumable", "1.0.0").header("upload-length", "3").header("upload-metadata", "filename YS50eHQ=")
}

/// Every operation of the document: id → method, path, security.
pub(crate) async fn operations(door: &Door) -> BTreeMap<String, (String, String, Value)> {
    let document = door.get("/api/v1/openapi.json").send().await.expect(200).json();
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let security = operation.get("security").unwrap_or(&document["security"]).clone();
            all.insert(id, (method.to_uppercase(), path.clone(), security));
        }
    }
    all
}

/// Knocks as the operation wants it, with this token or none.
pub(crate) async fn send(
    door: &Door,
    token: Option<&str>,
    method: &str,
    path: &str,
    operation: &str,
    body: &Value,
) -> Answer {
    let knock = door.knock(method, path).key(&domain::ids::fresh().to_string());
    let knock = if let Some(token) = token { knock.token(token) } else { knock };
    let knock = match (operation, body) {
        ("upload_to_database" | "upload_to_case" | "replace_file", _) => {
            knock.header("content-type", &multipart()).body(Form::new().file("c.txt", b"three").end())
        }
        ("create_upload" | "read_upload" | "end_upload", _) => tus(knock),
        ("continue_upload", _) => {
            tus(knock).header("upload-offset", "0").header("content-type", "application/offset+octet-stream").body("a")
        }
        ("deliver_load_file", body) => knock.header("content-type", "text/csv").body(body.as_str().unwrap().to_owned()),
        (_, Value::Null) => knock,
        (_, body) => knock.json(body),
    };
    knock.send().await
}

async fn every_operation_asks_for_its_scopes(test: TestStorage) {
    let door = Door::new(test);
    let root = door.administrator().await;
    let operations = operations(&door).await;
    let mut holders: Vec<Vec<Scope>> = Scope::ALL.iter().map(|scope| vec![*scope]).collect();
    holders.push(Scope::ALL.to_vec());
    let mut wrong = Vec::new();
    for scopes in holders {
        let matter = Matter::open(&door, &root, &root).await;
        let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let key = keys::make(&door, &root, &names).await.text;
        let table = table(&matter);
        let told: BTreeSet<&str> = table.iter().map(|(operation, ..)| *operation).collect();
        let there: BTreeSet<&str> = operations.keys().map(String::as_str).collect();
        assert_eq!(told, there, "an operation without a row, or a row without an operation");
        for (operation, who, body) in table {
            let (method, template, security) = &operations[operation];
            let secured = match who {
                All => json!([{}]),
                SignedIn => json!([{ "bearer": [] }]),
                _ => json!([{ "bearer": [] }, { "api_key": [] }]),
            };
            if *security != secured {
                wrong.push(format!("{operation} is secured by {security}"));
            }
            let path = matter.path(operation, template);
            if !matches!(who, All) {
                let answer = send(&door, Some(&key), method, &path, operation, &body).await;
                if let Some(what) = amiss(operation, &who, template, &scopes, &answer) {
                    wrong.push(what);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the answer to a key with these scopes.
fn amiss(operation: &str, who: &For, template: &str, scopes: &[Scope], answer: &Answer) -> Option<String> {
    let in_cases = scopes.iter().any(|scope| *scope != JobsWrite);
    let is_allowed = match who {
        All | AnyKey => true,
        SignedIn => false,
        AnyOfCases => in_cases,
        Holders(needed) => needed.iter().all(|scope| scopes.contains(scope)),
    };
    let status = answer.status.as_u16();
    let is_right = if is_allowed {
        // What is wrong with the request otherwise is not what is asked here.
        ![401, 403, 404, 405].contains(&status) && status < 500
    } else {
        // A key without a scope of cases sees none of them.
        let is_named = template.contains("{id}") || is_named_in_body(operation);
        status == if is_named && !in_cases && !matches!(who, SignedIn) { 404 } else { 403 }
    };
    let words = String::from_utf8_lossy(&answer.raw);
    (!is_right).then(|| format!("{operation} with {scopes:?}: {status} {words}"))
}

/// Operations that name what they work on in their body or query.
fn is_named_in_body(operation: &str) -> bool {
    matches!(operation, "create_database" | "ask" | "read_history" | "list_context" | "pin")
}
