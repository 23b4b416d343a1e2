//! What an API key may be used for. Scopes are in the words of the field; which actions each holds is decided in
//! [`crate::access`], where every other decision about access is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::CaseId;

macro_rules! scopes {
    ($($variant:ident = $name:literal, $meaning:literal;)+) => {
        /// One use of an API key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Scope {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)+
        }

        impl Scope {
            /// All scopes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in rows and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is for.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

scopes! {
    CasesRead = "cases:read", "see cases, their members, databases, batches and counts";
    CasesWrite = "cases:write", "open cases, change them and their members";
    DatabasesWrite = "databases:write", "create, rename and reindex databases";
    DocumentsRead = "documents:read", "list, search and read documents, exceptions and what load files announced";
    DocumentsWrite = "documents:write", "deliver files and load files, replace files, retry and ignore exceptions";
    DocumentsDelete = "documents:delete", "delete documents";
    PasswordsWrite = "passwords:write", "add, list and remove the passwords of protected documents";
    WebhooksWrite = "webhooks:write", "say which URLs are told what happens in a case, and see how that went";
    Chat = "chat", "ask questions; answers quote documents";
    AuditRead = "audit:read", "read the trail of what was done in a case";
    JobsWrite = "jobs:write", "see, retry and cancel jobs, pause queues (for keys of administrators)";
}

impl Scope {
    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.name() == name)
    }
}

/// What an API key gives at most; its person's rights now are the other bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the key is for.
    pub scopes: BTreeSet<Scope>,
    /// The only cases it reaches; `None` for all of its person's.
    pub cases: Option<BTreeSet<CaseId>>,
}

impl Grant {
    /// True when the key reaches `case`.
    pub fn reaches(&self, case: CaseId) -> bool {
        self.cases.as_ref().is_none_or(|cases| cases.contains(&case))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<_> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        assert_eq!(names.len(), Scope::ALL.len());
        assert!(Scope::ALL.iter().all(|scope| Scope::parse(scope.name()) == Some(*scope)));
        assert_eq!(Scope::parse("everything"), None);
    }

    #[test]
    fn a_key_without_cases_reaches_none() {
        let case = CaseId::new();
        let grant = |cases| Grant { scopes: BTreeSet::new(), cases };
        assert!(grant(None).reaches(case) && grant(Some([case].into())).reaches(case));
        assert!(!grant(Some(BTreeSet::new())).reaches(case));
    }
}
