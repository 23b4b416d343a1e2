//! The one decision: may this actor do this here? Pure, so that HTTP, WebSockets, jobs, search and chat ask the same
//! function. Deny by default: what no rule allows is refused.

mod standing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::standing::{Decision, Membership, Reason, Standing};

use crate::{
    actor::{Actor, Who},
    clock::Timestamp,
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
    /// Take the whole case away: every file, with the trail.
    ExportCase,
    /// Keep persons out of the case whatever their role, and see who is kept out. Administrators do so without being members.
    ManageWalls,
    /// Ask for, approve and refuse reading without being a member. Administrators only.
    BreakGlass,
    /// See what somebody may do in the case, and why. Administrators do so without being members.
    ExplainAccess,
}

impl Action {
    /// All actions, for tests that enumerate them.
    pub const ALL: [Self; 16] = [
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
        Self::ExportCase,
        Self::ManageWalls,
        Self::BreakGlass,
        Self::ExplainAccess,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeeCase => "see_case",
            Self::EditCase => "edit_case",
            Self::DeleteCase => "delete_case",
            Self::ManageMembers => "manage_members",
            Self::ManageDatabase => "manage_database",
            Self::Upload => "upload",
            Self::ManagePasswords => "manage_passwords",
            Self::ManageWebhooks => "manage_webhooks",
            Self::ReadDocuments => "read_documents",
            Self::DeleteDocuments => "delete_documents",
            Self::Chat => "chat",
            Self::ReadAudit => "read_audit",
            Self::ExportCase => "export_case",
            Self::ManageWalls => "manage_walls",
            Self::BreakGlass => "break_glass",
            Self::ExplainAccess => "explain_access",
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
/// seeing the case, so every scope of cases holds that; no scope deletes a case, takes it away,
/// nor decides over the access of people.
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
        Action::DeleteCase | Action::ExportCase | Action::ManageWalls | Action::BreakGlass | Action::ExplainAccess => {
            &[]
        }
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

/// May `actor`, who stands so to `case`, do `action` in it at `now`?
pub fn may(actor: &Actor, case: CaseId, standing: &Standing, now: Timestamp, action: Action) -> bool {
    decide(actor, case, standing, now, action).is_allowed
}

/// The same with the reasons. A key may what its person may as a member, as far as its scopes and cases go. A wall beats everything but
/// dia itself.
pub fn decide(actor: &Actor, case: CaseId, standing: &Standing, now: Timestamp, action: Action) -> Decision {
    match &actor.who {
        Who::System { .. } => Decision::yes(Reason::System),
        Who::Anonymous => Decision::no(vec![Reason::NotSignedIn]),
        Who::User { role, .. } => of_person(*role, standing, now, action),
        Who::Key { grant, .. } => {
            let mut reasons = Vec::new();
            if !grant.reaches(case) {
                reasons.push(Reason::KeyOfOtherCases);
            }
            if !scopes_of(action).iter().any(|scope| grant.scopes.contains(scope)) {
                reasons.push(Reason::ScopeMissing);
            }
            // What is an administrator's needs the person themselves.
            let person = of_person(SystemRole::Member, standing, now, action);
            if person.is_allowed && reasons.is_empty() {
                return person;
            }
            if !person.is_allowed {
                reasons.extend(person.reasons);
            }
            Decision::no(reasons)
        }
    }
}

fn of_person(role: SystemRole, standing: &Standing, now: Timestamp, action: Action) -> Decision {
    if standing.is_suspended {
        return Decision::no(vec![Reason::Suspended]);
    }
    if standing.is_walled {
        return Decision::no(vec![Reason::Walled]);
    }
    let why_not = match standing.membership {
        None => Reason::NotAMember,
        Some(membership) if membership.is_early(now) => Reason::NotYet,
        Some(membership) if !membership.is_current(now) => Reason::MembershipExpired,
        Some(membership) if role_may(membership.role, action) => return Decision::yes(Reason::Role),
        Some(_) => Reason::RoleTooLow,
    };
    let is_administrator = role == SystemRole::Administrator;
    if is_administrator && matches!(action, Action::ManageWalls | Action::BreakGlass | Action::ExplainAccess) {
        return Decision::yes(Reason::Administrator);
    }
    let mut reasons = vec![why_not];
    if let Some(until) = standing.break_glass_until.filter(|_| is_administrator) {
        if until <= now {
            reasons.push(Reason::BreakGlassEnded);
        } else if matches!(action, Action::SeeCase | Action::ReadDocuments) {
            return Decision::yes(Reason::BreakGlass);
        } else {
            reasons.push(Reason::ReadsOnly);
        }
    }
    Decision::no(reasons)
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

/// Managing databases is allowed to lawyers and paralegals too, because those who receive discovery sets open them. Auditors only get
/// what is named for them here; nobody breaks the glass by a role in the case.
fn role_may(role: CaseRole, action: Action) -> bool {
    match action {
        Action::SeeCase => true,
        Action::ReadAudit | Action::ExplainAccess => matches!(role, CaseRole::Auditor | CaseRole::Manager),
        Action::ReadDocuments | Action::Chat => role >= CaseRole::Reviewer,
        Action::Upload | Action::ManagePasswords | Action::ManageDatabase => role >= CaseRole::Paralegal,
        Action::EditCase => role >= CaseRole::Lawyer,
        Action::DeleteCase
        | Action::ExportCase
        | Action::ManageMembers
        | Action::ManageWebhooks
        | Action::DeleteDocuments
        | Action::ManageWalls => role == CaseRole::Manager,
        Action::BreakGlass => false,
    }
}

fn person_may_system(role: SystemRole, action: SystemAction) -> bool {
    match action {
        SystemAction::CreateCase => true,
        SystemAction::ManageUsers | SystemAction::ManageJobs | SystemAction::ReadAudit => {
            role == SystemRole::Administrator
        }
    }
}
