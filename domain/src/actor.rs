//! Who acts. The actor travels with every call: requests build it at the door, jobs carry the one that caused them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::SystemRole,
    ids::{ApiKeyId, SessionId, UserId},
    scope::Grant,
};

/// Who acts, and in which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Who it is.
    pub who: Who,
    /// Where the act came from.
    pub origin: Origin,
}

/// The kinds of actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Who {
    /// A signed-in person.
    User {
        /// The person.
        user: UserId,
        /// The sign-in.
        session: SessionId,
        /// The person's role in the whole system.
        role: SystemRole,
    },
    /// A program with an API key, which acts for the person who made it and can never do more than that person may now.
    Key {
        /// The person.
        user: UserId,
        /// The key.
        key: ApiKeyId,
        /// The person's role in the whole system.
        role: SystemRole,
        /// What the key is for, and where.
        grant: Arc<Grant>,
    },
    /// Nobody has signed in yet: sign-up, login, password reset.
    Anonymous,
    /// dia itself: jobs, schedules and the operator's command line. `on_behalf` names the person whose act caused it.
    System {
        /// The person whose act caused the work, when there is one.
        on_behalf: Option<UserId>,
    },
}

/// Where an act came from, for the audit trail and the logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The id of the request that began it all; carried into jobs.
    pub request: Uuid,
    /// The client's address, when there is one.
    pub address: Option<String>,
    /// The client's User-Agent, cut to 256 characters.
    pub agent: Option<String>,
}

impl Actor {
    /// The system, acting on nobody's behalf.
    pub fn system(request: Uuid) -> Self {
        Self { who: Who::System { on_behalf: None }, origin: Origin { request, ..Origin::default() } }
    }

    /// The system, carrying on what `user` began.
    pub fn system_for(user: Option<UserId>, request: Uuid) -> Self {
        Self { who: Who::System { on_behalf: user }, origin: Origin { request, ..Origin::default() } }
    }

    /// The person behind the act: who signed in, whose key it is, or on whose behalf the system works.
    pub fn user(&self) -> Option<UserId> {
        match self.who {
            Who::User { user, .. } | Who::Key { user, .. } => Some(user),
            Who::System { on_behalf } => on_behalf,
            Who::Anonymous => None,
        }
    }

    /// The API key the act was done with, if it was.
    pub fn key(&self) -> Option<ApiKeyId> {
        match self.who {
            Who::Key { key, .. } => Some(key),
            Who::User { .. } | Who::Anonymous | Who::System { .. } => None,
        }
    }

    /// True for dia itself.
    pub fn is_system(&self) -> bool {
        matches!(self.who, Who::System { .. })
    }
}
