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

/// Fewest characters of a password that stands alone, and of one with a second factor beside it.
const SHORTEST: usize = 15;
const SHORTEST_OF_TWO: usize = 8;
/// Most characters; far above the 64 that must be possible.
const LONGEST: usize = 256;
/// How long a sign-in waits for its turn to be hashed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a password has to keep out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Everybody: there is no second factor.
    Alone,
    /// Who has not the second factor either.
    BesideAnother,
}

impl Stands {
    /// How the password of somebody stands.
    pub fn of(has_second_factor: bool) -> Self {
        if has_second_factor { Self::BesideAnother } else { Self::Alone }
    }
}

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
    pub fn check(password: &str, own_words: &[&str], stands: Stands) -> Result<()> {
        let weak = |why: String| Err(Error::new(Code::WeakPassword, why));
        let length = password.chars().count();
        // Beside a second factor a password has to outlast guesses at the door, not at a stolen hash too.
        let (shortest, least) = match stands {
            Stands::Alone => (SHORTEST, zxcvbn::Score::Three),
            Stands::BesideAnother => (SHORTEST_OF_TWO, zxcvbn::Score::Two),
        };
        if length < shortest {
            return weak(format!(
                "the password must have at least {shortest} characters; a sentence only you know is a good one"
            ));
        }
        if length > LONGEST {
            return weak(format!("the password must have at most {LONGEST} characters"));
        }
        let words: Vec<&str> = own_words
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()))
            .chain(own_words.iter().copied())
            .chain(["dia", "legal", "documents"])
            .filter(|word| word.len() > 2)
            .collect();
        let found = zxcvbn::zxcvbn(password, &words);
        if found.score() < least {
            return weak(format!("the password is easy to guess; use a longer sentence. {}", advice(&found)));
        }
        Ok(())
    }

    /// True when a password may stand alone.
    pub fn is_long(password: &str) -> bool {
        password.chars().count() >= SHORTEST
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

/// What would make a password better. It speaks of patterns, never of the password.
fn advice(found: &zxcvbn::Entropy) -> String {
    let Some(feedback) = found.feedback() else { return String::new() };
    let suggestions = feedback.suggestions().iter().map(ToString::to_string);
    feedback.warning().map(|warning| warning.to_string()).into_iter().chain(suggestions).collect::<Vec<_>>().join(" ")
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
            assert_eq!(Passwords::check(good, &own, Stands::Alone), Ok(()), "{good}");
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
            assert_eq!(
                Passwords::check(bad, &own, Stands::Alone).map_err(|e| e.code()),
                Err(Code::WeakPassword),
                "{bad}"
            );
        }
        for (password, is_good) in [("kV7qz4mW", true), ("password", false), ("short 7", false), ("qwerty12", false)] {
            let checked = Passwords::check(password, &own, Stands::BesideAnother);
            assert_eq!(checked.is_ok(), is_good, "{password}: {checked:?}");
        }
        let told = Passwords::check("passwordpassword", &own, Stands::Alone).unwrap_err();
        assert!(format!("{told:?}").contains("Add another word or two."), "{told:?}");
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
