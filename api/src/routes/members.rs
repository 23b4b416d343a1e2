//! Members of a case and their roles in it.

use axum::http::StatusCode;
use domain::{
    access::{Action, CaseRole, Membership},
    clock::Timestamp,
    error::Code,
    ids::{CaseId, UserId},
};
use serde::{Deserialize, Serialize};
use storage::{cases::Case, members::Member};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, Result, State,
    extract::{CurrentUser, Json, Path},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(list_members)).routes(routes!(set_member, remove_member))
}

/// A person in a case.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberBody {
    /// The person.
    #[schema(value_type = Uuid)]
    pub user_id: UserId,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// `auditor`, `reviewer`, `paralegal`, `lawyer` or `manager`.
    pub role: &'static str,
    /// From when it counts (RFC 3339); from the beginning when null.
    pub not_before: Option<String>,
    /// Until when (RFC 3339); for ever when null. Outside of this time the person is no member.
    pub expires_at: Option<String>,
    /// Since when they are on the list (RFC 3339).
    pub created_at: String,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user,
            email: member.email,
            name: member.name,
            role: member.membership.role.name(),
            not_before: member.membership.not_before.map(Timestamp::rfc3339),
            expires_at: member.membership.expires_at.map(Timestamp::rfc3339),
            created_at: member.created_at.rfc3339(),
        }
    }
}

/// All members of a case.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MembersBody {
    /// First come first.
    pub items: Vec<MemberBody>,
}

/// The role to give, and for when.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFields {
    /// `auditor`, `reviewer`, `paralegal`, `lawyer` or `manager`.
    pub role: String,
    /// From when it counts (RFC 3339); at once when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub not_before: Option<Timestamp>,
    /// Until when (RFC 3339), which must lie in the future; for ever when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// Members of a case, first come first.
#[utoipa::path(
    get, path = "/cases/{id}/members", tag = "members", params(("id" = Uuid, Path)),
    responses((status = 200, body = MembersBody))
)]
async fn list_members(state: State, user: CurrentUser, Path(id): Path<CaseId>) -> Result<Json<MembersBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::SeeCase).await?;
    let members = case.members(&mut tx).await?;
    Ok(Json(MembersBody { items: members.into_iter().map(MemberBody::from).collect() }))
}

/// Adds a member, or changes their role and time. Somebody whom an ethical wall keeps out becomes none.
#[utoipa::path(
    put, path = "/cases/{id}/members/{user_id}", tag = "members", params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    request_body = RoleFields, responses((status = 204, description = "set"))
)]
async fn set_member(
    state: State,
    user: CurrentUser,
    Path((id, member)): Path<(CaseId, UserId)>,
    Json(fields): Json<RoleFields>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageMembers).await?;
    let role = CaseRole::parse(&fields.role)
        .ok_or_else(|| Error::new(Code::Invalid, "role must be auditor, reviewer, paralegal, lawyer or manager"))?;
    let membership = Membership { role, not_before: fields.not_before, expires_at: fields.expires_at };
    case.set_member(&mut tx, member, membership).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a member.
#[utoipa::path(
    delete, path = "/cases/{id}/members/{user_id}", tag = "members",
    params(("id" = Uuid, Path), ("user_id" = Uuid, Path)), responses((status = 204, description = "removed"))
)]
async fn remove_member(
    state: State,
    user: CurrentUser,
    Path((id, member)): Path<(CaseId, UserId)>,
) -> Result<StatusCode> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ManageMembers).await?;
    case.remove_member(&mut tx, member).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
