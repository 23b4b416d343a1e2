//! Who somebody is: access tokens, passwords and the use of keys. Sessions, keys and delays are rows, in `storage`.

mod config;
mod key_uses;
mod passwords;
mod tokens;

pub use config::AuthConfig;
pub use key_uses::KeyUses;
pub use passwords::{Passwords, Stands, Verdict};
pub use tokens::{Claims, Tokens};
