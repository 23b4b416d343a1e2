//! The one decision: may this actor do this here? Pure, so that HTTP, WebSockets, jobs, search and chat ask the same
//! function. Deny by default: what no rule allows is refused.

use serde::{Deserialize, Serialize};

use crate::actor::{Actor, Who};

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
    pub const ALL: [Self; 11] = [
        Self::SeeCase,
        Self::EditCase,
        Self::DeleteCase,
        Self::ManageMembers,
        Self::ManageDatabase,
        Self::Upload,
        Self::ManagePasswords,
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
            Self::DeleteCase | Self::ManageMembers | Self::ManageDatabase | Self::DeleteDocuments => CaseRole::Manager,
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
}

/// May `actor`, holding `role` in a case (`None` when not a member), do `action` in it?
///
/// Managing databases is allowed to lawyers and paralegals too, because those who receive discovery sets open them.
pub fn may(actor: &Actor, role: Option<CaseRole>, action: Action) -> bool {
    match actor.who {
        Who::System { .. } => true,
        Who::Anonymous => false,
        Who::User { .. } => role.is_some_and(|role| match action {
            Action::ManageDatabase => role >= CaseRole::Paralegal,
            Action::ReadAudit => matches!(role, CaseRole::Auditor | CaseRole::Manager),
            _ => role >= action.least_role(),
        }),
    }
}

/// May `actor` do `action`, which belongs to no case?
pub fn may_system(actor: &Actor, action: SystemAction) -> bool {
    match actor.who {
        Who::System { .. } => true,
        Who::Anonymous => false,
        Who::User { role, .. } => match action {
            SystemAction::CreateCase => true,
            SystemAction::ManageUsers | SystemAction::ManageJobs => role == SystemRole::Administrator,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Origin,
        ids::{SessionId, UserId},
    };

    fn user(role: SystemRole) -> Actor {
        Actor { who: Who::User { user: UserId::new(), session: SessionId::new(), role }, origin: Origin::default() }
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
            (Action::ReadDocuments, "nyyyy"),
            (Action::DeleteDocuments, "nnnny"),
            (Action::Chat, "nyyyy"),
            (Action::ReadAudit, "ynnny"),
        ];
        assert_eq!(table.len(), Action::ALL.len());
        for (action, row) in table {
            for (role, want) in CaseRole::ALL.into_iter().zip(row.chars()) {
                assert_eq!(may(&user(SystemRole::Member), Some(role), action), want == 'y', "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn an_administrator_reads_no_evidence_without_membership() {
        for action in Action::ALL {
            assert!(!may(&user(SystemRole::Administrator), None, action), "{action:?}");
            assert!(!may(&Actor { who: Who::Anonymous, origin: Origin::default() }, Some(CaseRole::Manager), action));
        }
        assert!(may_system(&user(SystemRole::Administrator), SystemAction::ManageJobs));
        assert!(!may_system(&user(SystemRole::Member), SystemAction::ManageJobs));
    }
}
