//! How a person stands to a case, and what is decided from it.

use serde::{Deserialize, Serialize};

use super::CaseRole;
use crate::clock::Timestamp;

/// A person's place in a case. Outside of its time they are no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// What they may do there.
    pub role: CaseRole,
    /// The first moment it counts; from the beginning when none.
    pub not_before: Option<Timestamp>,
    /// The first moment it counts no more; for ever when none.
    pub expires_at: Option<Timestamp>,
}

/// Everything about a person and a case that a decision is made from. The default is nobody: nothing is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Their place in the case, whether it counts now or not.
    pub membership: Option<Membership>,
    /// They must be kept out of it, whatever else there is.
    pub is_walled: bool,
    /// The first moment at which a break-glass grant counts no more.
    pub break_glass_until: Option<Timestamp>,
    /// They may do nothing at all in dia.
    pub is_suspended: bool,
}

impl Standing {
    /// The role that counts at `now`, whoever acts; none behind a wall.
    pub fn role(&self, now: Timestamp) -> Option<CaseRole> {
        if self.is_walled || self.is_suspended {
            return None;
        }
        self.membership.filter(|membership| membership.is_current(now)).map(|membership| membership.role)
    }
}

impl From<CaseRole> for Membership {
    fn from(role: CaseRole) -> Self {
        Self::of(role)
    }
}

impl Membership {
    /// One without an end.
    pub fn of(role: CaseRole) -> Self {
        Self { role, not_before: None, expires_at: None }
    }

    /// Fails when its end does not lie after its beginning and after `now`.
    pub fn check(&self, now: Timestamp) -> Result<(), &'static str> {
        match self.expires_at {
            Some(end) if end <= now => Err("expires_at must lie in the future"),
            Some(end) if self.not_before.is_some_and(|begin| end <= begin) => {
                Err("expires_at must lie after not_before")
            }
            _ => Ok(()),
        }
    }

    /// True while it counts.
    pub fn is_current(&self, now: Timestamp) -> bool {
        !self.is_early(now) && self.expires_at.is_none_or(|end| now < end)
    }

    /// True before it counts.
    pub fn is_early(&self, now: Timestamp) -> bool {
        self.not_before.is_some_and(|begin| now < begin)
    }
}

macro_rules! reasons {
    ($($variant:ident = $name:literal, $words:literal;)+) => {
        /// Why something is allowed, or is not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $words] $variant,)+
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The same in words.
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }
        }
    };
}

reasons! {
    System = "system", "dia itself does this";
    Role = "role", "the role in the case allows it";
    Administrator = "administrator", "administrators do this without being a member";
    BreakGlass = "break_glass", "another administrator approved reading for a while";
    NotSignedIn = "not_signed_in", "nobody is signed in";
    Suspended = "suspended", "the user is suspended";
    Walled = "walled", "an ethical wall keeps the user out of the case";
    NotAMember = "not_a_member", "the user is no member of the case";
    NotYet = "not_yet", "the membership has not begun";
    MembershipExpired = "membership_expired", "the membership has ended";
    RoleTooLow = "role_too_low", "the role in the case does not allow it";
    ReadsOnly = "break_glass_reads_only", "a break-glass grant is for reading documents only";
    BreakGlassEnded = "break_glass_ended", "the break-glass grant has ended";
    KeyOfOtherCases = "key_of_other_cases", "the API key is for other cases";
    ScopeMissing = "scope_missing", "no scope of the API key holds it";
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub is_allowed: bool,
    /// One reason for a yes; every reason for a no.
    pub reasons: Vec<Reason>,
}

impl Decision {
    pub(super) fn yes(reason: Reason) -> Self {
        Self { is_allowed: true, reasons: vec![reason] }
    }

    pub(super) fn no(reasons: Vec<Reason>) -> Self {
        Self { is_allowed: false, reasons }
    }
}
