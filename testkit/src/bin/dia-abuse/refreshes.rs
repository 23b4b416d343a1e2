//! Refresh tokens: raced, replayed and forged.

use std::collections::BTreeSet;

use anyhow::Result;
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Duration, sleep};

use crate::{
    caller::{Answer, Caller, text},
    ground::Ground,
    verdict::Class,
};

/// Refreshes of one token at once.
const AT_ONCE: usize = 50;
/// After it the token before the newest is a replay; the server says 15 seconds.
const GRACE: Duration = Duration::from_secs(16);

async fn refresh(caller: &Caller, token: &str) -> Result<Answer> {
    caller.with_token("").post("/auth/refresh", &json!({ "refresh_token": token })).await
}

/// Fifty answers to one token are one rotation: all succeed with the same successor, or are refused by name.
fn judge(answers: &[Answer]) -> Result<String, String> {
    let mut next = BTreeSet::new();
    for answer in answers {
        match answer.status {
            200 => next.insert(answer.json()["refresh_token"].as_str().unwrap_or("").to_owned()),
            401 | 503 => false,
            _ => return Err(answer.words()),
        };
    }
    match next.into_iter().collect::<Vec<_>>().as_slice() {
        [one] if !one.is_empty() => Ok(one.clone()),
        several => Err(format!("{} different successors of one token", several.len())),
    }
}

/// Runs the class; with `patience` also what needs the grace to pass.
pub(crate) async fn attack(ground: &Ground, patience: bool) -> Result<Class> {
    let mut class = Class::default();
    let mut ann = ground.ann.clone();
    for round in 0..if patience { 10 } else { 3 } {
        ann.sign_in().await?;
        let first = ann.refresh.clone();
        let answers: Vec<Answer> =
            join_all((0..AT_ONCE).map(|_| refresh(&ann, &first))).await.into_iter().collect::<Result<_>>()?;
        let raced = judge(&answers);
        class.hear(&format!("{AT_ONCE} refreshes at once, round {round}"), raced.clone().map(drop));
        let Ok(second) = raced else { continue };
        let third = refresh(&ann, &second).await?;
        class.judge(third.status == 200, || format!("the successor is not good: {}", third.words()));
        let third = text(&third.json(), "refresh_token").unwrap_or_default();
        class.absorb(replayed(&ann, &first, &third).await?);
    }
    class.absorb(forged(ground).await?);
    if patience {
        ann.sign_in().await?;
        let second = text(&refresh(&ann, &ann.refresh).await?.json(), "refresh_token")?;
        sleep(GRACE).await;
        class.absorb(replayed(&ann, &ann.refresh, &second).await?);
    }
    Ok(class)
}

/// A token that was used up comes back: the family ends, the access token with it.
async fn replayed(caller: &Caller, old: &str, newest: &str) -> Result<Class> {
    let mut class = Class::default();
    let replay = refresh(caller, old).await?;
    class.judge(replay.status == 401, || format!("an old refresh token is taken: {}", replay.words()));
    let after = refresh(caller, newest).await?;
    class.judge(after.status == 401, || format!("the family goes on after a replay: {}", after.words()));
    let access = caller.get("/auth/me").await?;
    class.judge(access.status == 401, || format!("the access token of an ended family opens: {}", access.words()));
    Ok(class)
}

/// Tokens that dia never gave out are refused, all alike, and end nobody's session.
async fn forged(ground: &Ground) -> Result<Class> {
    let mut class = Class::default();
    let mut ann = ground.ann.clone();
    ann.sign_in().await?;
    let good = ann.refresh.clone();
    let exchanged = |at: usize| {
        let letter = if good.as_bytes().get(at) == Some(&b'0') { "1" } else { "0" };
        format!("{}{letter}{}", &good[..at], &good[at + 1..])
    };
    let bobs = &ground.bob.refresh;
    let forged = [
        String::new(),
        "null".to_owned(),
        "0".repeat(128),
        exchanged(0),
        exchanged(40),
        exchanged(100),
        exchanged(127),
        format!("{good}00"),
        good[..126].to_owned(),
        format!("{}{}", &bobs[..32], &good[32..]),
        format!("{}{}", &good[..32], &bobs[32..]),
        format!(" {good}"),
        format!("{good}\n"),
        "' or 1=1 --".to_owned(),
        "A".repeat(100_000),
    ];
    let plain = refresh(&ann, "none").await?.blank();
    for token in &forged {
        let answer = refresh(&ann, token).await?;
        let name: String = token.chars().take(40).collect();
        class.judge(answer.blank() == plain && answer.status == 401, || {
            format!("refresh with {name:?}: {}", answer.words())
        });
    }
    let still = refresh(&ann, &good).await?;
    class.judge(still.status == 200, || format!("forged tokens ended a session: {}", still.words()));
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_successors_of_one_token_are_counted() {
        let says = |status, token: &str| {
            let body = json!({ "refresh_token": token }).to_string().into_bytes();
            Answer { status, body, ..Answer::default() }
        };
        assert_eq!(judge(&[says(200, "a"), says(401, ""), says(200, "a")]), Ok("a".to_owned()));
        assert!(judge(&[says(200, "a"), says(200, "b")]).is_err());
        assert!(judge(&[says(401, "")]).is_err() && judge(&[says(200, "a"), says(500, "")]).is_err());
    }
}
