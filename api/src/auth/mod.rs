//! Who somebody is: access tokens, passwords and the use of keys. Sessions, keys and delays are rows, in `storage`.

mod key_uses;
mod passwords;
mod tokens;

pub use key_uses::KeyUses;
pub use passwords::{Passwords, Verdict};
pub use tokens::{Claims, Tokens};
