//! What each operation needs, in one table; and the rule that makes of it what each cell of the matrix must answer.

use std::collections::BTreeMap;

use domain::{
    access::{Action, CaseRole, SystemAction},
    scope::Scope,
};
use serde_json::{Value, json};

use crate::scopes::{For, Matter};

/// What an operation needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it is open to the world.
    Nothing,
    /// To come from a network that may look; nobody in these tests does.
    Network,
    /// To be known.
    Known,
    /// To be the person whose session or key it is.
    Own,
    /// The same, or to manage users.
    OwnOrManaging,
    /// To be that person; who manages users sees that it is there.
    OwnAndSeen,
    /// An action that belongs to no case.
    System(SystemAction),
    /// Nothing but a key's scope: what is listed is what this action shows, case by case.
    Somewhere(Action),
    /// An action in the case.
    Case(Action),
    /// An action in the case, or to be an administrator.
    CaseOrOffice(Action),
    /// Nothing: a list of what this action shows, case by case, and of all to administrators.
    SomewhereOrOffice(Action),
    /// To be who began the conversation, and to chat in its case now.
    Conversation,
    /// A WebSocket; the sockets have cells of their own.
    Socket,
}
use Action::{
    BreakGlass, Chat, DeleteCase, DeleteDocuments, EditCase, ExplainAccess, ExportCase, ManageDatabase, ManageMembers,
    ManagePasswords, ManageWalls, ManageWebhooks, ReadAudit, ReadDocuments, SeeCase, Upload,
};
use Needs::{
    Case, CaseOrOffice, Conversation, Known, Network, Nothing, Own, OwnAndSeen, OwnOrManaging, Socket, Somewhere,
    SomewhereOrOffice, System,
};
use SystemAction::{CreateCase, ManageJobs, ManageUsers};

const NEEDS: &[(&str, Needs)] = &[
    ("read_live", Nothing),
    ("read_ready", Nothing),
    ("read_metrics", Network),
    ("sign_up", Nothing),
    ("log_in", Nothing),
    ("refresh", Nothing),
    ("prove_second_factor", Nothing),
    ("forgot_password", Nothing),
    ("reset_password", Nothing),
    ("watch_chat", Socket),
    ("watch_databases", Socket),
    ("read_me", Known),
    ("describe_uploads", Known),
    ("read_checkpoint", Known),
    ("prove_growth", Known),
    ("change_password", Known),
    ("list_sessions", Known),
    ("list_api_keys", Known),
    ("create_api_key", Known),
    ("log_out", Known),
    ("step_up", Known),
    ("read_second_factor", Known),
    ("begin_totp", Known),
    ("confirm_totp", Known),
    ("remove_totp", Known),
    ("make_recovery_codes", Known),
    ("end_session", Own),
    ("read_api_key", OwnOrManaging),
    ("revoke_api_key", OwnOrManaging),
    ("rotate_api_key", OwnAndSeen),
    ("create_invitation", System(ManageUsers)),
    ("list_users", System(ManageUsers)),
    ("read_user", System(ManageUsers)),
    ("update_user", System(ManageUsers)),
    ("end_user_sessions", System(ManageUsers)),
    ("remove_user_second_factor", System(ManageUsers)),
    ("issue_password_reset", System(ManageUsers)),
    ("create_case", System(CreateCase)),
    ("read_system_audit", System(SystemAction::ReadAudit)),
    ("read_log_bundle", System(SystemAction::ReadAudit)),
    ("list_alerts", System(SystemAction::ReadAudit)),
    ("acknowledge_alert", System(SystemAction::ReadAudit)),
    ("list_jobs", System(ManageJobs)),
    ("read_job", System(ManageJobs)),
    ("cancel_job", System(ManageJobs)),
    ("retry_job", System(ManageJobs)),
    ("list_queues", System(ManageJobs)),
    ("pause_queue", System(ManageJobs)),
    ("list_workers", System(ManageJobs)),
    ("list_cases", Somewhere(SeeCase)),
    ("list_databases", Somewhere(SeeCase)),
    ("list_conversations", Somewhere(Chat)),
    ("search_chat", Somewhere(Chat)),
    ("read_case", Case(SeeCase)),
    ("list_members", Case(SeeCase)),
    ("read_database", Case(SeeCase)),
    ("read_status", Case(SeeCase)),
    ("list_batches", Case(SeeCase)),
    ("read_batch", Case(SeeCase)),
    ("explain_own_access", Case(SeeCase)),
    ("explain_access", CaseOrOffice(ExplainAccess)),
    ("list_walls", CaseOrOffice(ManageWalls)),
    ("set_wall", CaseOrOffice(ManageWalls)),
    ("lift_wall", CaseOrOffice(ManageWalls)),
    ("list_break_glass", SomewhereOrOffice(ManageWalls)),
    ("ask_break_glass", CaseOrOffice(BreakGlass)),
    ("approve_break_glass", CaseOrOffice(BreakGlass)),
    ("refuse_break_glass", CaseOrOffice(BreakGlass)),
    ("end_break_glass", CaseOrOffice(ManageWalls)),
    ("update_case", Case(EditCase)),
    ("delete_case", Case(DeleteCase)),
    ("set_member", Case(ManageMembers)),
    ("remove_member", Case(ManageMembers)),
    ("read_audit", Case(ReadAudit)),
    ("read_audit_bundle", Case(ReadAudit)),
    ("export_case", Case(ExportCase)),
    ("prove_event", Case(ReadAudit)),
    ("create_database", Case(ManageDatabase)),
    ("update_database", Case(ManageDatabase)),
    ("reindex_database", Case(ManageDatabase)),
    ("list_database_files", Case(ReadDocuments)),
    ("list_case_files", Case(ReadDocuments)),
    ("read_document", Case(ReadDocuments)),
    ("list_copies", Case(ReadDocuments)),
    ("list_thread", Case(ReadDocuments)),
    ("list_near_duplicates", Case(ReadDocuments)),
    ("read_document_text", Case(ReadDocuments)),
    ("read_original", Case(ReadDocuments)),
    ("list_versions", Case(ReadDocuments)),
    ("read_version", Case(ReadDocuments)),
    ("list_exceptions", Case(ReadDocuments)),
    ("list_errors", Case(ReadDocuments)),
    ("list_load_files", Case(ReadDocuments)),
    ("read_load_file", Case(ReadDocuments)),
    ("list_items", Case(ReadDocuments)),
    ("search_database", Case(ReadDocuments)),
    ("search_case", Case(ReadDocuments)),
    ("delete_document", Case(DeleteDocuments)),
    ("open_batch", Case(Upload)),
    ("seal_batch", Case(Upload)),
    ("cancel_batch", Case(Upload)),
    ("reprocess_batch", Case(Upload)),
    ("deliver_load_file", Case(Upload)),
    ("upload_to_database", Case(Upload)),
    ("upload_to_case", Case(Upload)),
    ("replace_file", Case(Upload)),
    ("create_upload", Case(Upload)),
    ("read_upload", Case(Upload)),
    ("continue_upload", Case(Upload)),
    ("end_upload", Case(Upload)),
    ("retry", Case(Upload)),
    ("ignore", Case(Upload)),
    ("add_passwords", Case(ManagePasswords)),
    ("list_passwords", Case(ManagePasswords)),
    ("supply_password", Case(ManagePasswords)),
    ("remove_password", Case(ManagePasswords)),
    ("create_webhook", Case(ManageWebhooks)),
    ("list_webhooks", Case(ManageWebhooks)),
    ("read_webhook", Case(ManageWebhooks)),
    ("update_webhook", Case(ManageWebhooks)),
    ("rotate_webhook", Case(ManageWebhooks)),
    ("test_webhook", Case(ManageWebhooks)),
    ("list_deliveries", Case(ManageWebhooks)),
    ("redeliver", Case(ManageWebhooks)),
    ("remove_webhook", Case(ManageWebhooks)),
    ("ask", Case(Chat)),
    ("read_history", Conversation),
    ("read_message", Conversation),
    ("cancel_answer", Conversation),
    ("list_context", Conversation),
    ("pin", Conversation),
    ("unpin", Conversation),
];

/// An operation asked in another way than the table of scopes does: its query, its body, and what it then needs.
pub(super) struct Variant {
    pub(super) operation: &'static str,
    pub(super) query: String,
    pub(super) body: Value,
    pub(super) needs: Needs,
}

/// Lists that can be asked of one case, and bodies that name more than one thing. `child` is whose database is named beside the case.
pub(super) fn variants(matter: &Matter, child: &Matter) -> Vec<Variant> {
    let (case, conversation) = (matter.case, &matter.ids["conversation"]);
    let of_case = |operation, words: &str, action| Variant {
        operation,
        query: format!("?{words}case_id={case}"),
        body: Value::Null,
        needs: Case(action),
    };
    let with_body = |operation, body, needs| Variant { operation, query: String::new(), body, needs };
    let key = json!({ "name": "n", "scopes": ["chat"], "expires_in_days": 1, "case_ids": [case] });
    let database = json!({ "case_id": case, "message": "Who?", "database_id": child.database });
    let document = json!({ "case_id": case, "message": "Who?", "document_ids": [child.ids["document"]] });
    vec![
        of_case("list_databases", "", SeeCase),
        of_case("list_conversations", "", Chat),
        of_case("search_chat", "q=signed&", Chat),
        of_case("read_history", "", Chat),
        with_body("create_api_key", key, Case(SeeCase)),
        with_body("ask", json!({ "conversation_id": conversation, "message": "Who?" }), Conversation),
        with_body("ask", database, Case(Chat)),
        with_body("ask", document, Case(Chat)),
    ]
}

/// The table by operation.
pub(super) fn needs() -> BTreeMap<&'static str, Needs> {
    let table: BTreeMap<_, _> = NEEDS.iter().copied().collect();
    assert_eq!(table.len(), NEEDS.len(), "an operation stands in the table twice");
    table
}

/// Who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Knocker {
    /// Nobody: no token at all, one that makes no sense, or one that counts no more.
    Nobody(&'static str),
    /// A member of another case.
    Stranger,
    /// An administrator who is a member of no case.
    Administrator,
    /// A member in this role.
    Member(CaseRole),
    /// A manager's key with exactly the scopes that an operation asks for.
    FittingKey,
    /// A manager's key with another scope.
    OtherKey,
    /// A manager's key with every scope, for another case only.
    KeyElsewhere,
}

/// What they knock at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// What is theirs, as far as anything is.
    Own,
    /// In the same case, but of another member.
    Neighbour,
    /// Of a case that is not theirs.
    Foreign,
    /// Nothing of that id.
    Missing,
    /// Their own case, and nothing of the child's id in it.
    MissingChild,
    /// Their own case, and a child of another case of theirs.
    WrongParent,
    /// The same with only the last of several children from there.
    WrongLast,
}

/// What a cell must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expected {
    /// Whatever the operation does, but no refusal for who asks.
    Answer,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404, to the byte as for what does not exist.
    NotFound,
}

impl Expected {
    pub(super) const ALL: [Self; 4] = [Self::Answer, Self::Unauthenticated, Self::Forbidden, Self::NotFound];
}

/// The rule. `keys` is what the table of scopes says of the operation, `scope` the only scope of an [`Knocker::OtherKey`].
pub(super) fn expected(needs: Needs, keys: &For, who: Knocker, at: Target, scope: Scope) -> Expected {
    match (needs, who) {
        (Nothing | Socket, _) => return Expected::Answer,
        (Network, _) => return Expected::NotFound,
        (_, Knocker::Nobody(_)) => return Expected::Unauthenticated,
        _ => {}
    }
    let is_key = matches!(who, Knocker::FittingKey | Knocker::OtherKey | Knocker::KeyElsewhere);
    if is_key && matches!(keys, For::Person) {
        return Expected::Forbidden;
    }
    // A key without a scope of cases sees none.
    let sees = who != Knocker::OtherKey || scope != Scope::JobsWrite;
    let fits = match (who, keys) {
        (Knocker::OtherKey, For::Holders(scopes)) => scopes.contains(&scope),
        (Knocker::OtherKey, For::AnyOfCases) => sees,
        _ => true,
    };
    let or_forbidden = |is_allowed: bool| if is_allowed { Expected::Answer } else { Expected::Forbidden };
    match needs {
        Own | OwnOrManaging | OwnAndSeen => match (needs, who, at) {
            (_, _, Target::Own) | (OwnOrManaging, Knocker::Administrator, Target::Foreign) => Expected::Answer,
            (OwnAndSeen, Knocker::Administrator, Target::Foreign) => Expected::Forbidden,
            _ => Expected::NotFound,
        },
        System(CreateCase) => or_forbidden(fits && who != Knocker::KeyElsewhere),
        System(_) if who != Knocker::Administrator => Expected::Forbidden,
        System(_) if at == Target::Missing => Expected::NotFound,
        Somewhere(_) => or_forbidden(fits),
        Known | Nothing | Network | Socket | System(_) | SomewhereOrOffice(_) => Expected::Answer,
        CaseOrOffice(_) if who == Knocker::Administrator && at != Target::Missing => Expected::Answer,
        Case(action) | CaseOrOffice(action) => in_case(action, who, at, sees, fits),
        Conversation if at == Target::Neighbour => Expected::NotFound,
        Conversation => in_case(Chat, who, at, sees, fits),
    }
}

fn in_case(action: Action, who: Knocker, at: Target, sees: bool, fits: bool) -> Expected {
    let role = match (who, at) {
        (_, Target::Foreign | Target::Missing) | (Knocker::Stranger | Knocker::Administrator, _) => {
            return Expected::NotFound;
        }
        (Knocker::Member(role), _) => role,
        _ => CaseRole::Manager,
    };
    if !sees {
        return Expected::NotFound;
    }
    if !fits || !may(role, action) {
        return Expected::Forbidden;
    }
    if matches!(at, Target::MissingChild | Target::WrongParent | Target::WrongLast) {
        return Expected::NotFound;
    }
    Expected::Answer
}

/// The roles, written out once more: who holds each action.
fn may(role: CaseRole, action: Action) -> bool {
    use CaseRole::{Auditor, Lawyer, Manager, Paralegal, Reviewer};
    let holders: &[CaseRole] = match action {
        SeeCase => &[Auditor, Reviewer, Paralegal, Lawyer, Manager],
        ReadDocuments | Chat => &[Reviewer, Paralegal, Lawyer, Manager],
        Upload | ManagePasswords | ManageDatabase => &[Paralegal, Lawyer, Manager],
        EditCase => &[Lawyer, Manager],
        ReadAudit | ExplainAccess => &[Auditor, Manager],
        DeleteCase | ExportCase | ManageMembers | ManageWebhooks | DeleteDocuments | ManageWalls => &[Manager],
        BreakGlass => &[],
    };
    holders.contains(&role)
}
