//! What somebody may do in a case, and why.

use domain::{
    access::{Action, Reason},
    clock::Timestamp,
    ids::{CaseId, UserId},
};
use serde::Serialize;
use storage::{access::Explanation, cases::Case};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Result, State,
    extract::{CurrentUser, Json, Path, SignedIn},
};

pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(explain_own_access)).routes(routes!(explain_access))
}

/// Why something is allowed, or is not.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReasonBody {
    /// For programs: `role`, `not_a_member`, `role_too_low`, `membership_expired`, `not_yet`, `walled`, `break_glass`, ….
    pub code: &'static str,
    /// For people.
    pub words: &'static str,
}

impl From<Reason> for ReasonBody {
    fn from(reason: Reason) -> Self {
        Self { code: reason.name(), words: reason.words() }
    }
}

/// What is decided of one action.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DecisionBody {
    /// The action: `see_case`, `read_documents`, `chat`, ….
    pub action: &'static str,
    /// Yes or no.
    pub allowed: bool,
    /// One reason for a yes; every reason for a no.
    pub reasons: Vec<ReasonBody>,
}

/// What somebody may do in a case now, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AccessBody {
    /// The case.
    #[schema(value_type = Uuid)]
    pub case_id: CaseId,
    /// The person.
    #[schema(value_type = Uuid)]
    pub user_id: UserId,
    /// Their role in the case, whether it counts now or not.
    pub role: Option<&'static str>,
    /// From when it counts (RFC 3339).
    pub not_before: Option<String>,
    /// Until when (RFC 3339).
    pub expires_at: Option<String>,
    /// True when an ethical wall keeps them out.
    pub walled: bool,
    /// Until when they read by a break-glass grant (RFC 3339).
    pub break_glass_until: Option<String>,
    /// Every action.
    pub actions: Vec<DecisionBody>,
}

impl AccessBody {
    fn new(case: CaseId, explanation: Explanation) -> Self {
        let Explanation { user, standing, decisions } = explanation;
        let decisions = decisions.into_iter().map(|(action, decision)| DecisionBody {
            action: action.name(),
            allowed: decision.is_allowed,
            reasons: decision.reasons.into_iter().map(ReasonBody::from).collect(),
        });
        let membership = standing.membership;
        Self {
            case_id: case,
            user_id: user,
            role: membership.map(|membership| membership.role.name()),
            not_before: membership.and_then(|membership| membership.not_before).map(Timestamp::rfc3339),
            expires_at: membership.and_then(|membership| membership.expires_at).map(Timestamp::rfc3339),
            walled: standing.is_walled,
            break_glass_until: standing.break_glass_until.map(Timestamp::rfc3339),
            actions: decisions.collect(),
        }
    }
}

/// What you may do in a case, with the key you use if it is one, and why.
#[utoipa::path(
    get, path = "/cases/{id}/access/me", tag = "access", params(("id" = Uuid, Path)),
    responses((status = 200, body = AccessBody))
)]
async fn explain_own_access(state: State, user: CurrentUser, Path(id): Path<CaseId>) -> Result<Json<AccessBody>> {
    let mut tx = state.storage.read(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::SeeCase).await?;
    Ok(Json(AccessBody::new(id, case.explain_own(&tx)?)))
}

/// What a person may do in a case, and why (managers and auditors of the case, administrators). Being asked is an event of the case.
#[utoipa::path(
    get, path = "/cases/{id}/access/{user_id}", tag = "access", params(("id" = Uuid, Path), ("user_id" = Uuid, Path)),
    security(("bearer" = [])), responses((status = 200, body = AccessBody))
)]
async fn explain_access(
    state: State,
    SignedIn(user): SignedIn,
    Path((id, person)): Path<(CaseId, UserId)>,
) -> Result<Json<AccessBody>> {
    let mut tx = state.storage.begin(&user.actor).await?;
    let case = Case::find(&mut tx, id, Action::ExplainAccess).await?;
    let explanation = case.explain(&mut tx, person).await?;
    tx.commit().await?;
    Ok(Json(AccessBody::new(id, explanation)))
}
