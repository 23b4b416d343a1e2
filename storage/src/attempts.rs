//! Guessing slowed down. Every sign-in attempt is counted before its password is looked at, so that a thousand guesses at
//! once are no way round; a success clears the count. The delay belongs to an account *and* a network, so an outsider
//! cannot shut somebody else's door. Accounts that do not exist are counted alike and cannot be told apart.

use std::time::Duration;

use crate::{
    Result, Storage, Tx,
    db::{change, query},
};

/// Attempts from one network before delays begin.
const FREE: u32 = 5;
/// Longest delay between attempts from one network.
const LONGEST: Duration = Duration::from_mins(15);
/// Consecutive failures from all networks together, after which only networks that signed in before may try on
/// (OWASP ASVS 5.0 6.3.1, NIST SP 800-63B-4 §3.2.2: at most 100).
const FREE_ANYWHERE: u32 = 100;
/// The row that counts an account's failures from all networks.
const ANYWHERE: &str = "";

/// Who tries to sign in, from where.
#[derive(Debug, Clone)]
pub struct Attempt {
    account: [u8; 32],
    network: String,
}

/// The wait after `failures` consecutive failures, `free` of which cost nothing: 1, 2, 4 … seconds up to [`LONGEST`].
fn delay(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1 << over.min(20)).min(LONGEST),
    }
}

/// Counts an attempt on `email` from `network`; `known` says that this network signed in to the account before.
/// `Err(wait)` inside when the attempt comes too early: then the password must not be looked at.
pub async fn begin(
    storage: &Storage,
    email: &str,
    network: &str,
    known: bool,
) -> Result<std::result::Result<Attempt, Duration>> {
    let attempt = Attempt { account: storage.vault.blind_index("sign-in", email), network: network.to_owned() };
    let mut tx = storage.begin_machinery().await?;
    let anywhere = if known { Duration::ZERO } else { attempt.count(&mut tx, ANYWHERE, FREE_ANYWHERE).await? };
    let here = attempt.count(&mut tx, network, FREE).await?;
    let wait = anywhere.max(here);
    if wait > Duration::ZERO {
        return Ok(Err(wait));
    }
    tx.commit().await?;
    Ok(Ok(attempt))
}

impl Attempt {
    /// Counts one more failure in one row; the wait when its time has not come yet.
    async fn count(&self, tx: &mut Tx, network: &str, free: u32) -> Result<Duration> {
        let now = tx.now();
        change!(tx, c => sqlx::query(
            "insert into sign_in_attempts (account, network, failures, next_at) values ($1, $2, 0, 0) on conflict do nothing")
            .bind(&self.account[..]).bind(network).execute(c).await.map(drop))?;
        // The update that changes nothing but the count also locks the row, so attempts at once queue up here.
        let (failures, next_at): (i64, i64) = change!(tx, c => sqlx::query_as(
            "update sign_in_attempts set failures = failures + 1 where account = $1 and network = $2 returning failures, next_at")
            .bind(&self.account[..]).bind(network).fetch_one(c).await)?;
        if next_at > now.0 {
            return Ok(Duration::from_micros(u64::try_from(next_at - now.0).unwrap_or(0)));
        }
        let next_at = now.plus(delay(u32::try_from(failures).unwrap_or(u32::MAX), free));
        change!(tx, c => sqlx::query("update sign_in_attempts set next_at = $3 where account = $1 and network = $2")
            .bind(&self.account[..]).bind(network).bind(next_at.0).execute(c).await.map(drop))?;
        Ok(Duration::ZERO)
    }

    /// Clears the counts: the password was right.
    pub async fn succeeded(&self, tx: &mut Tx) -> Result<()> {
        change!(tx, c => sqlx::query("delete from sign_in_attempts where account = $1 and network in ($2, $3)")
            .bind(&self.account[..]).bind(&self.network).bind(ANYWHERE).execute(c).await.map(drop))?;
        Ok(())
    }
}

/// Forgets counts nobody added to for a day; returns how many. For housekeeping.
pub async fn forget_old(tx: &mut Tx) -> Result<u64> {
    let before = tx.now().minus(Duration::from_hours(24));
    Ok(change!(tx, c => sqlx::query("delete from sign_in_attempts where next_at < $1")
        .bind(before.0).execute(c).await.map(|r| r.rows_affected()))?)
}

/// True when a session of this e-mail address was ever opened from `address`.
pub async fn known_address(tx: &mut Tx, email: &str, address: &str) -> Result<bool> {
    Ok(query!(tx, c => sqlx::query_scalar(
        "select exists (select 1 from sessions s join users u on u.id = s.user_id where u.email = $1 and s.address = $2)")
        .bind(email).bind(address).fetch_one(c).await)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_first_failure_that_costs() {
        let seconds: Vec<u64> = (4..=16).map(|n| delay(n, 5).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(delay(u32::MAX, 5), LONGEST);
    }
}
