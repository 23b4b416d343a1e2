//! Who somebody is: access tokens and passwords. Sessions and delays are rows, in `storage`.

mod passwords;
mod tokens;

pub use passwords::{Passwords, Verdict};
pub use tokens::{Claims, Tokens};
