//! The password bank of a case from a terminal. A password is typed, or read from stdin or a file; never an argument, which
//! every process of the machine could read.

use std::{
    fs,
    io::{IsTerminal as _, Read as _, stdin},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use domain::ids;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    read::{all, text},
    session::{Session, answer},
};
use crate::{
    cli::{For, PasswordsCommand},
    out,
};

/// Passwords sent in one request.
const AT_ONCE: usize = 200;

/// `dia passwords …`
pub(super) async fn run(server: &str, command: PasswordsCommand) -> Result<()> {
    match command {
        PasswordsCommand::Add { whose, file, note } => add(server, &whose, file.as_deref(), note.as_deref()).await,
        PasswordsCommand::List { case } => list(server, &case).await,
        PasswordsCommand::Remove { case, password } => remove(server, &case, &password).await,
    }
}

async fn add(server: &str, whose: &For, file: Option<&Path>, note: Option<&str>) -> Result<()> {
    let session = Session::resume(server)?;
    let passwords = passwords(file)?;
    let note = note.unwrap_or_default();
    match whose {
        For { case: Some(case), .. } => {
            let mut fresh = 0;
            for passwords in passwords.chunks(AT_ONCE) {
                let path = format!("/cases/{case}/passwords");
                let fields = json!({ "passwords": passwords, "note": note });
                let kept: Value = session.post(&path, &ids::fresh().to_string(), &fields).await?;
                let items = kept["items"].as_array().map(Vec::as_slice).unwrap_or_default();
                fresh += items.iter().filter(|item| item["fresh"] == true).count();
            }
            let known = passwords.len() - fresh;
            out::line(&format!("{fresh} passwords are kept, {known} were known; protected documents are tried again"));
        }
        For { document, .. } => {
            let document = document.as_deref().context("say for which case or document")?;
            let [password] = &passwords[..] else { bail!("give one password for one document") };
            let path = format!("/documents/{document}/password");
            let fields = json!({ "password": password, "note": note });
            let _: Value = session.post(&path, &ids::fresh().to_string(), &fields).await?;
            out::line(&format!("the password is kept and tried on {document}"));
        }
    }
    Ok(())
}

/// One a line from the file, or from stdin; one that is typed, unseen, when stdin is a terminal.
fn passwords(file: Option<&Path>) -> Result<Vec<String>> {
    let bytes = match file {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None if stdin().is_terminal() => return Ok(vec![rpassword::prompt_password("Password: ")?]),
        None => {
            let mut bytes = Vec::new();
            stdin().read_to_end(&mut bytes)?;
            bytes
        }
    };
    let passwords = lines(&bytes)?;
    if passwords.is_empty() {
        bail!("there is no password; give one a line");
    }
    Ok(passwords)
}

/// Lines of UTF-8 text as they are, blanks included; only the mark and line ends of other systems are no part of them.
fn lines(bytes: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes).context("passwords are read as UTF-8; convert the file")?;
    let lines = text.trim_start_matches('\u{feff}').lines();
    Ok(lines.filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect())
}

async fn list(server: &str, case: &str) -> Result<()> {
    let session = Session::resume(server)?;
    for row in all::<Value>(&session, &format!("/cases/{case}/passwords"), &[]).await? {
        let uses = row["uses"].as_u64().unwrap_or(0);
        out::line(&format!(
            "{}  {}  {uses:>6} uses  {}",
            text(&row, "id"),
            text(&row, "created_at"),
            text(&row, "note")
        ));
    }
    Ok(())
}

async fn remove(server: &str, case: &str, password: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let path = format!("/cases/{case}/passwords/{password}");
    let _: Value = answer(session.send(Method::DELETE, &path, |request| request).await?).await?;
    out::line("the password is removed; what it opened stays open");
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::lines;

    #[test]
    fn a_password_is_the_line_as_it_is() {
        let text = "\u{feff}one\r\n two words \n\nthrée\n".as_bytes();
        assert_eq!(lines(text).unwrap(), ["one", " two words ", "thrée"]);
        assert!(lines(b"").unwrap().is_empty());
        assert!(lines(&[b'a', 0xff]).is_err());
    }
}
