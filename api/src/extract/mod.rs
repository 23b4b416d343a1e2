//! What handlers take: who acts, what was sent. Every refusal has the one error shape.

mod idempotent;
mod input;
mod origin;
mod user;

pub use idempotent::{Idempotent, created, kept};
pub use input::{Json, PageParams, Path, Query};
pub use origin::{Anonymous, client_address};
pub(crate) use origin::{network, origin};
pub use user::{CurrentUser, Enrolling, Recognised, SignedIn, SteppedUp};
pub(crate) use user::{bearer, refuse_keys_in_urls};
