//! The one decision: may this actor do this here? Pure, so that HTTP, WebSockets, jobs, search and chat ask the same
//! function. Deny by default: what no rule allows is refused.

use serde::{Deserialize, Serialize};

use crate::{
    actor::{Actor, Who},
    ids::CaseId,
    scope::Scope,
};

/// A person's role in the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// Manages users, jobs and settings; cannot read evidence by virtue of this role.
    Administrator,
    /// Works in the cases that list them as owner or member.
    Member,
}

impl SystemRole {
    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Member => "member",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Administrator, Self::Member].into_iter().find(|r| r.name() == name)
    }
}

/// A person's role in one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseRole {
    /// Sees the record of what was done, not the evidence.
    Auditor,
    /// Reads and asks.
    Reviewer,
    /// Reads, asks and uploads.
    Paralegal,
    /// Reads, asks, uploads and edits the case.
    Lawyer,
    /// Everything in the case: members, databases, deletion.
    Manager,
}

impl CaseRole {
    /// All roles, least first.
    pub const ALL: [Self; 5] = [Self::Auditor, Self::Reviewer, Self::Paralegal, Self::Lawyer, Self::Manager];

    /// The name in rows and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Reviewer => "reviewer",
            Self::Paralegal => "paralegal",
            Self::Lawyer => "lawyer",
            Self::Manager => "manager",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// What can be done inside a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See that the case exists, its title, databases, batches and counts.
    SeeCase,
    /// Change title, description, status, priority.
    EditCase,
    /// Delete the case and everything in it.
    DeleteCase,
    /// Add, change and remove members.
    ManageMembers,
    /// Create, rename, reindex a database.
    ManageDatabase,
    /// Deliver files, cancel a batch, retry exceptions.
    Upload,
    /// Add, list and remove the passwords kept for protected documents; nobody reads them back.
    ManagePasswords,
    /// Say which URLs are told what happens in the case.
    ManageWebhooks,
    /// Read documents: list, text, original bytes, search.
    ReadDocuments,
    /// Delete documents.
    DeleteDocuments,
    /// Hold conversations over the documents.
    Chat,
    /// Read the case's audit trail.
    ReadAudit,
}

impl Action {
    /// All actions, for tests that enumerate them.
    pub const ALL: [Self; 12] = [
        Self::SeeCase,
        Self::EditCase,
        Self::DeleteCase,
        Self::ManageMembers,
        Self::ManageDatabase,
        Self::Upload,
        Self::ManagePasswords,
        Self::ManageWebhooks,
        Self::ReadDocuments,
        Self::DeleteDocuments,
        Self::Chat,
        Self::ReadAudit,
    ];

    /// The least role that may do it; auditors only ever get what is named for them in [`may`].
    fn least_role(self) -> CaseRole {
        match self {
            Self::SeeCase | Self::ReadAudit => CaseRole::Auditor,
            Self::ReadDocuments | Self::Chat => CaseRole::Reviewer,
            Self::Upload | Self::ManagePasswords => CaseRole::Paralegal,
            Self::EditCase => CaseRole::Lawyer,
            Self::DeleteCase
            | Self::ManageMembers
            | Self::ManageDatabase
            | Self::ManageWebhooks
            | Self::DeleteDocuments => CaseRole::Manager,
        }
    }
}

/// What can be done outside any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemAction {
    /// Create a case and become its manager.
    CreateCase,
    /// List, invite and suspend users.
    ManageUsers,
    /// List, retry, cancel jobs; pause queues.
    ManageJobs,
    /// Read what was done in the whole system, without what events of cases say.
    ReadAudit,
}

/// The scopes that hold `action`: a key with any of them may do it where its person may. Nothing in a case can be done without
/// seeing the case, so every scope of cases holds that; no scope deletes a case.
fn scopes_of(action: Action) -> &'static [Scope] {
    match action {
        Action::SeeCase => &[
            Scope::CasesRead,
            Scope::CasesWrite,
            Scope::DatabasesWrite,
            Scope::DocumentsRead,
            Scope::DocumentsWrite,
            Scope::DocumentsDelete,
            Scope::PasswordsWrite,
            Scope::WebhooksWrite,
            Scope::Chat,
            Scope::AuditRead,
        ],
        Action::EditCase | Action::ManageMembers => &[Scope::CasesWrite],
        Action::DeleteCase => &[],
        Action::ManageDatabase => &[Scope::DatabasesWrite],
        Action::Upload => &[Scope::DocumentsWrite],
        Action::ManagePasswords => &[Scope::PasswordsWrite],
        Action::ManageWebhooks => &[Scope::WebhooksWrite],
        Action::ReadDocuments => &[Scope::DocumentsRead],
        Action::DeleteDocuments => &[Scope::DocumentsDelete],
        Action::Chat => &[Scope::Chat],
        Action::ReadAudit => &[Scope::AuditRead],
    }
}

/// The scopes that hold what belongs to no case. Users are managed by people who signed in.
fn scopes_of_system(action: SystemAction) -> &'static [Scope] {
    match action {
        SystemAction::CreateCase => &[Scope::CasesWrite],
        SystemAction::ManageUsers => &[],
        SystemAction::ManageJobs => &[Scope::JobsWrite],
        SystemAction::ReadAudit => &[Scope::AuditRead],
    }
}

/// May `actor`, holding `role` in `case` (`None` when not a member), do `action` in it? A key may what its person may, as far as its
/// scopes and cases go.
pub fn may(actor: &Actor, case: CaseId, role: Option<CaseRole>, action: Action) -> bool {
    match &actor.who {
        Who::System { .. } => true,
        Who::Anonymous => false,
        Who::User { .. } => person_may(role, action),
        Who::Key { grant, .. } => {
            grant.reaches(case)
                && scopes_of(action).iter().any(|scope| grant.scopes.contains(scope))
                && person_may(role, action)
        }
    }
}

/// May `actor` do `action` in any case at all? What a list over cases asks first; its rows then depend on the role in each.
pub fn may_somewhere(actor: &Actor, action: Action) -> bool {
    match &actor.who {
        Who::System { .. } | Who::User { .. } => true,
        Who::Anonymous => false,
        Who::Key { grant, .. } => scopes_of(action).iter().any(|scope| grant.scopes.contains(scope)),
    }
}

/// May `actor` do `action`, which belongs to no case? Never with a key that is for some cases only.
pub fn may_system(actor: &Actor, action: SystemAction) -> bool {
    match &actor.who {
        Who::System { .. } => true,
        Who::Anonymous => false,
        Who::User { role, .. } => person_may_system(*role, action),
        Who::Key { role, grant, .. } => {
            grant.cases.is_none()
                && scopes_of_system(action).iter().any(|scope| grant.scopes.contains(scope))
                && person_may_system(*role, action)
        }
    }
}

/// Managing databases is allowed to lawyers and paralegals too, because those who receive discovery sets open them.
fn person_may(role: Option<CaseRole>, action: Action) -> bool {
    role.is_some_and(|role| match action {
        Action::ManageDatabase => role >= CaseRole::Paralegal,
        Action::ReadAudit => matches!(role, CaseRole::Auditor | CaseRole::Manager),
        _ => role >= action.least_role(),
    })
}

fn person_may_system(role: SystemRole, action: SystemAction) -> bool {
    match action {
        SystemAction::CreateCase => true,
        SystemAction::ManageUsers | SystemAction::ManageJobs | SystemAction::ReadAudit => {
            role == SystemRole::Administrator
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        actor::Origin,
        ids::{ApiKeyId, SessionId, UserId},
        scope::Grant,
    };

    fn user(role: SystemRole) -> Actor {
        Actor { who: Who::User { user: UserId::new(), session: SessionId::new(), role }, origin: Origin::default() }
    }

    fn key(role: SystemRole, scopes: &[Scope], cases: Option<&[CaseId]>) -> Actor {
        let cases = cases.map(|cases| cases.iter().copied().collect());
        let grant = Arc::new(Grant { scopes: scopes.iter().copied().collect::<BTreeSet<_>>(), cases });
        let who = Who::Key { user: UserId::new(), key: ApiKeyId::new(), role, grant };
        Actor { who, origin: Origin::default() }
    }

    /// The whole matrix, written out: rows are actions, columns auditor, reviewer, paralegal, lawyer, manager.
    #[test]
    fn the_matrix() {
        let table = [
            (Action::SeeCase, "yyyyy"),
            (Action::EditCase, "nnnyy"),
            (Action::DeleteCase, "nnnny"),
            (Action::ManageMembers, "nnnny"),
            (Action::ManageDatabase, "nnyyy"),
            (Action::Upload, "nnyyy"),
            (Action::ManagePasswords, "nnyyy"),
            (Action::ManageWebhooks, "nnnny"),
            (Action::ReadDocuments, "nyyyy"),
            (Action::DeleteDocuments, "nnnny"),
            (Action::Chat, "nyyyy"),
            (Action::ReadAudit, "ynnny"),
        ];
        assert_eq!(table.len(), Action::ALL.len());
        for (action, row) in table {
            for (role, want) in CaseRole::ALL.into_iter().zip(row.chars()) {
                let may = may(&user(SystemRole::Member), CaseId::new(), Some(role), action);
                assert_eq!(may, want == 'y', "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn an_administrator_reads_no_evidence_without_membership() {
        for action in Action::ALL {
            let (case, nobody) = (CaseId::new(), Actor { who: Who::Anonymous, origin: Origin::default() });
            assert!(!may(&user(SystemRole::Administrator), case, None, action), "{action:?}");
            assert!(!may(&nobody, case, Some(CaseRole::Manager), action) && !may_somewhere(&nobody, action));
        }
        assert!(may_system(&user(SystemRole::Administrator), SystemAction::ManageJobs));
        assert!(!may_system(&user(SystemRole::Member), SystemAction::ManageJobs));
    }

    /// The whole matrix of keys, written out: rows are actions, columns the scopes in their order.
    #[test]
    fn the_matrix_of_keys() {
        // cases:read, cases:write, databases:write, documents:read, documents:write, documents:delete, passwords:write,
        // webhooks:write, chat, audit:read, jobs:write
        let table = [
            (Action::SeeCase, "yyyyyyyyyyn"),
            (Action::EditCase, "nynnnnnnnnn"),
            (Action::DeleteCase, "nnnnnnnnnnn"),
            (Action::ManageMembers, "nynnnnnnnnn"),
            (Action::ManageDatabase, "nnynnnnnnnn"),
            (Action::Upload, "nnnnynnnnnn"),
            (Action::ManagePasswords, "nnnnnnynnnn"),
            (Action::ManageWebhooks, "nnnnnnnynnn"),
            (Action::ReadDocuments, "nnnynnnnnnn"),
            (Action::DeleteDocuments, "nnnnnynnnnn"),
            (Action::Chat, "nnnnnnnnynn"),
            (Action::ReadAudit, "nnnnnnnnnyn"),
        ];
        assert_eq!(table.len(), Action::ALL.len());
        let (case, other) = (CaseId::new(), CaseId::new());
        for (action, row) in table {
            assert_eq!(row.len(), Scope::ALL.len());
            for (scope, want) in Scope::ALL.iter().zip(row.chars()) {
                for role in CaseRole::ALL {
                    // Never more than the person in that role.
                    let want = want == 'y' && may(&user(SystemRole::Member), case, Some(role), action);
                    let (all, one) =
                        (key(SystemRole::Member, &[*scope], None), key(SystemRole::Member, &[*scope], Some(&[case])));
                    assert_eq!(may(&all, case, Some(role), action), want, "{scope:?} {role:?} {action:?}");
                    assert_eq!(may(&one, case, Some(role), action), want, "{scope:?} {role:?} {action:?}");
                    assert!(!may(&one, other, Some(role), action), "{scope:?} {role:?} {action:?}");
                    assert!(!may(&all, case, None, action) && !may(&one, case, None, action));
                }
                assert_eq!(may_somewhere(&key(SystemRole::Member, &[*scope], None), action), want == 'y');
            }
            assert!(!may(&key(SystemRole::Administrator, &[], None), case, Some(CaseRole::Manager), action));
        }
    }

    #[test]
    fn keys_outside_cases() {
        for (action, scope, role) in [
            (SystemAction::CreateCase, Some(Scope::CasesWrite), SystemRole::Member),
            (SystemAction::ManageUsers, None, SystemRole::Administrator),
            (SystemAction::ManageJobs, Some(Scope::JobsWrite), SystemRole::Administrator),
            (SystemAction::ReadAudit, Some(Scope::AuditRead), SystemRole::Administrator),
        ] {
            for tried in Scope::ALL {
                let want = scope == Some(*tried);
                assert_eq!(may_system(&key(role, &[*tried], None), action), want, "{action:?} {tried:?}");
                assert!(!may_system(&key(role, &[*tried], Some(&[])), action), "{action:?} {tried:?}");
            }
        }
        assert!(!may_system(&key(SystemRole::Member, Scope::ALL, None), SystemAction::ManageJobs));
    }
}
