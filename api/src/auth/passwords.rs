//! Passwords: what is accepted (OWASP ASVS 5.0 §6.2, NIST SP 800-63B-4 §3.1.1) and how they are kept: argon2id with
//! OWASP's parameters, on a bounded number of blocking threads so that sign-ins cannot starve everything else.

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use domain::error::Code;
use tokio::sync::{OnceCell, Semaphore};
use unicode_normalization::UnicodeNormalization;

use crate::{Error, Result};

/// Fewest characters of a password that stands alone.
const SHORTEST: usize = 15;
/// Most characters; far above the 64 that must be possible.
const LONGEST: usize = 256;
/// How long a sign-in waits for its turn to be hashed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comparing a password with its hash came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The password is right.
    pub right: bool,
    /// The hash made anew, when the stored one used other parameters.
    pub new_hash: Option<String>,
}

/// Hashes and compares passwords, a few at a time.
#[derive(Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Compared with when there is no account, so that the answer takes as long.
    nobody: OnceCell<String>,
}

impl Passwords {
    /// At most `at_once` hashes are computed at a time.
    pub fn new(at_once: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), nobody: OnceCell::new() }
    }

    /// Says why a password cannot be accepted; `own_words` are what everybody knows of the person.
    pub fn check(password: &str, own_words: &[&str]) -> Result<()> {
        let weak = |why: &'static str| Err(Error::new(Code::WeakPassword, why));
        let length = password.chars().count();
        if length < SHORTEST {
            return weak("the password must have at least 15 characters; a sentence only you know is a good one");
        }
        if length > LONGEST {
            return weak("the password must have at most 256 characters");
        }
        let words: Vec<&str> = own_words
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
            .chain(own_words.iter().copied())
            .chain(["dia", "legal", "documents"])
            .filter(|word| word.len() > 2)
            .collect();
        if zxcvbn::zxcvbn(password, &words).score() < zxcvbn::Score::Three {
            return weak(
                "the password is easy to guess: it is common, a pattern, or made of your own name; use a longer sentence",
            );
        }
        Ok(())
    }

    /// A PHC string to keep.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.in_turn(move || hash(&password)).await?
    }

    /// Compares `password` with a stored hash; without one, takes as long and says no.
    pub async fn compare(&self, password: String, stored: Option<String>) -> Result<Verdict> {
        let exists = stored.is_some();
        let stored = match stored {
            Some(stored) => stored,
            None => self.nobody.get_or_try_init(|| self.hash(domain::ids::fresh().to_string())).await?.clone(),
        };
        let verdict = self.in_turn(move || compare(&password, &stored)).await??;
        Ok(if exists { verdict } else { Verdict { right: false, new_hash: None } })
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Code::Unavailable.into()) };
        let worked = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even when the client has gone meanwhile.
            let _turn = turn;
            work()
        });
        worked.await.map_err(Error::internal)
    }
}

/// One spelling for what looks alike on different keyboards (NIST SP 800-63B-4 §3.1.1.2).
fn normal(password: &str) -> String {
    password.nfkc().collect()
}

fn hash(password: &str) -> Result<String> {
    let hash: PasswordHash = Argon2::default().hash_password(normal(password).as_bytes()).map_err(Error::internal)?;
    Ok(hash.to_string())
}

fn compare(password: &str, stored: &str) -> Result<Verdict> {
    let parsed = PasswordHash::new(stored).map_err(Error::internal)?;
    let right = Argon2::default().verify_password(normal(password).as_bytes(), &parsed).is_ok();
    let current = Params::try_from(&parsed).is_ok_and(|params| {
        let ours = Params::DEFAULT;
        (params.m_cost(), params.t_cost(), params.p_cost()) == (ours.m_cost(), ours.t_cost(), ours.p_cost())
    });
    let new_hash = if right && !current { Some(hash(password)?) } else { None };
    Ok(Verdict { right, new_hash })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use argon2::{Algorithm, Version};

    use super::*;

    #[test]
    fn what_is_accepted() {
        let own = ["ann.lee@example.com", "Ann Lee"];
        for good in [
            "seven herons cross the canal",
            "пять серых цапель над каналом",
            "五只灰色的苍鹭在运河上空飞翔而过去了吧",
            &"violet anchor ".repeat(10),
        ] {
            assert_eq!(Passwords::check(good, &own), Ok(()), "{good}");
        }
        for bad in [
            "",
            "correct horse",
            "aaaaaaaaaaaaaaaaaaaa",
            "123456789012345678",
            "passwordpassword",
            "annleeannleeann",
            &"é".repeat(257),
        ] {
            assert_eq!(Passwords::check(bad, &own).map_err(|e| e.code()), Err(Code::WeakPassword), "{bad}");
        }
    }

    #[tokio::test]
    async fn right_wrong_nobody_and_old_parameters() {
        let passwords = Passwords::new(2);
        let stored = passwords.hash("caf\u{e9} with seven herons".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let verdict = passwords.compare("cafe\u{301} with seven herons".into(), Some(stored.clone())).await.unwrap();
        assert_eq!(verdict, Verdict { right: true, new_hash: None });
        assert!(!passwords.compare("something else entirely".into(), Some(stored)).await.unwrap().right);
        assert!(!passwords.compare("something else entirely".into(), None).await.unwrap().right);

        let old = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
        let old: PasswordHash = old.hash_password(b"an older sentence").unwrap();
        let verdict = passwords.compare("an older sentence".into(), Some(old.to_string())).await.unwrap();
        assert!(verdict.right && verdict.new_hash.unwrap().contains("m=19456"));
    }
}
