//! Guesses: of one account's password, of one password over many accounts, of setup codes and invitations. They are slowed down, and
//! whoever signed in from their own device before gets in all the same.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use serde_json::json;
use testkit::Home;

use crate::{
    caller::{Answer, Caller, PASSWORD},
    verdict::Class,
};

/// Guesses of a code from one address, and accounts that one password is tried on.
const GUESSES: usize = 60;
/// Addresses that guess one account's password, and how often each.
const ADDRESSES: u8 = 20;
const EACH: usize = 6;
/// What `[limits.login]` lets come at once and comes back each second.
const BURST: usize = 30;

/// No guess succeeds; at most `most` were looked at; those that were not say when to come back.
fn judge(answers: &[Answer], most: usize) -> Result<(), String> {
    let mut looked = 0;
    for answer in answers {
        match answer.status {
            401 | 403 => looked += 1,
            429 if answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0) => {}
            429 => return Err("429 without Retry-After".to_owned()),
            _ => return Err(format!("a guess was answered {}", answer.words())),
        }
    }
    if looked > most {
        return Err(format!("{looked} of {} guesses were looked at, more than {most}", answers.len()));
    }
    if looked == answers.len() {
        return Err("nothing was slowed down".to_owned());
    }
    Ok(())
}

/// So many guesses may be looked at from one address in this time.
fn allowed(began: Instant) -> usize {
    BURST + usize::try_from(began.elapsed().as_secs()).unwrap_or(0) + 2
}

async fn guess(caller: &Caller, code: String) -> Result<Answer> {
    let fields = json!({ "code": code, "email": "eve@example.org", "name": "Eve", "password": PASSWORD });
    caller.post("/auth/signup", &fields).await
}

fn code(number: usize) -> String {
    format!("AAAAA-BBBBB-CCCCC-DDDDD-{number:05}")
}

/// Guesses codes from one address.
async fn codes(class: &mut Class, address: &str, last: u8, what: &str) -> Result<()> {
    let (eve, began) = (Caller::stranger(address, last)?, Instant::now());
    let answers: Vec<Answer> =
        join_all((0..GUESSES).map(|number| guess(&eve, code(number)))).await.into_iter().collect::<Result<_>>()?;
    class.tried += GUESSES as u64;
    class.hear(what, judge(&answers, allowed(began)));
    Ok(())
}

async fn log_in(caller: &Caller, email: &str, password: &str) -> Result<Answer> {
    caller.post("/auth/login", &json!({ "email": email, "password": password })).await
}

/// Runs the class on a server of its own, with the limits it is delivered with.
pub(crate) async fn attack(directory: &Path) -> Result<Class> {
    let mut class = Class::default();
    let directory = directory.join("guarded");
    std::fs::create_dir_all(&directory)?;
    let server = Home::new(&directory)?.start().await?;
    let address = server.address.clone();
    codes(&mut class, &address, 50, "setup codes").await?;
    let setup = server.setup_code.clone().context("the server printed no setup code")?;
    let ann = Caller::sign_up(&address, &setup, "ann@example.org").await?;
    let bob = ann.invite("bob@example.org").await;
    class.judge(bob.is_ok(), || format!("an invited person cannot sign up: {:?}", bob.as_ref().err()));
    codes(&mut class, &address, 51, "invitations").await?;

    // One account, from many addresses at once.
    let began = Instant::now();
    let mut guesses = Vec::new();
    for last in 60..60 + ADDRESSES {
        let eve = Caller::stranger(&address, last)?;
        for number in 0..EACH {
            let eve = eve.clone();
            guesses
                .push(async move { log_in(&eve, "ann@example.org", &format!("granite walk number {number}")).await });
        }
    }
    let answers: Vec<Answer> = join_all(guesses).await.into_iter().collect::<Result<_>>()?;
    class.tried += answers.len() as u64;
    class.hear("one account from many addresses", judge(&answers, allowed(began)));
    let known = log_in(&ann.with_token(""), "ann@example.org", PASSWORD).await?;
    class.judge(known.status == 200, || format!("a known device is shut out: {}", known.words()));

    // One account, from one address: the delays grow.
    let eve = Caller::stranger(&address, 90)?;
    let mut answers = Vec::new();
    for number in 0..12 {
        answers.push(log_in(&eve, "bob@example.org", &format!("granite walk number {number}")).await?);
    }
    class.tried += answers.len() as u64;
    class.hear("one account from one address", judge(&answers, 9));

    // One password, many accounts, of which one exists; nobody can tell which.
    let (eve, began) = (Caller::stranger(&address, 91)?, Instant::now());
    let emails = (0..GUESSES).map(|number| format!("person{number}@example.org"));
    let answers = join_all(emails.map(|email| {
        let eve = eve.clone();
        async move { log_in(&eve, &email, "granite walk number 1").await }
    }));
    let answers: Vec<Answer> = answers.await.into_iter().collect::<Result<_>>()?;
    class.tried += answers.len() as u64;
    class.hear("one password over many accounts", judge(&answers, allowed(began)));
    let eve = Caller::stranger(&address, 92)?;
    let (exists, not) =
        (log_in(&eve, "bob@example.org", "wrong").await?, log_in(&eve, "nobody@example.org", "wrong").await?);
    class.judge(exists.blank() == not.blank(), || {
        format!("accounts can be told apart: {} and {}", exists.words(), not.words())
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let known = log_in(&ann.with_token(""), "ann@example.org", PASSWORD).await?;
    class.judge(known.status == 200, || format!("a known device is shut out: {}", known.words()));
    server.stop().await?;
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_that_succeed_or_are_not_slowed_down_are_counted() {
        let says = |status| Answer { status, ..Answer::default() };
        let mut late = says(429);
        late.headers.insert("retry-after", reqwest::header::HeaderValue::from_static("2"));
        assert!(judge(&[says(401), late.clone()], 1).is_ok());
        assert!(judge(&[says(401), says(401), late.clone()], 1).is_err());
        assert!(judge(&[says(401)], 9).is_err());
        assert!(judge(&[says(200), late.clone()], 9).is_err());
        assert!(judge(&[says(401), says(429)], 9).is_err());
    }
}
