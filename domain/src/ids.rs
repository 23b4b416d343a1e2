//! Typed identifiers. Every identifier is a `UUIDv7` (RFC 9562 §5.7): sortable by creation time, unguessable enough to be
//! public but never a secret. This is the only module that mints one.

#![allow(clippy::disallowed_methods, reason = "this is where identifiers are minted")]

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Mints a fresh `UUIDv7`. Prefer the typed constructors; this is for request ids and other untyped uses.
pub fn fresh() -> Uuid {
    Uuid::now_v7()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Mints a fresh identifier, later in order than all minted before it on this machine.
            #[allow(clippy::new_without_default, reason = "an identifier has no default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare UUID, for binding to a query.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }
    )+};
}

ids! {
    /// A person who signs in.
    UserId,
    /// One sign-in of a user: the family of its rotating refresh tokens.
    SessionId,
    /// A key with which a program acts for a person.
    ApiKeyId,
    /// A legal matter; the wall that access, keys and search never cross.
    CaseId,
    /// A set of documents inside a case with its own index.
    DatabaseId,
    /// One delivery of files into a database; the unit that is reconciled.
    BatchId,
    /// A load file delivered with a batch.
    LoadFileId,
    /// One file that a load file announces.
    ItemId,
    /// A file that arrives in pieces.
    UploadId,
    /// One file, or one item unpacked from a container.
    DocumentId,
    /// One reading of a document.
    ReadingId,
    /// Immutable encrypted bytes in the object store.
    BlobId,
    /// An administrator's request to read a case without being a member.
    BreakGlassId,
    /// One password kept for the protected documents of a case.
    PasswordId,
    /// One unit of queued work.
    JobId,
    /// A published state of a database's index.
    GenerationId,
    /// A conversation with the assistant inside one case.
    ConversationId,
    /// One message of a conversation.
    MessageId,
    /// One pinned item of a conversation's context.
    ContextId,
    /// Where a program is told what happens in a case.
    WebhookId,
    /// One message to one webhook.
    DeliveryId,
    /// Something in the audit trail that somebody should look at.
    AlertId,
    /// One entry of the audit trail.
    AuditId,
}
