//! Signing up, in and out.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::session::{self, Session, Tokens};
use crate::{config::variable, out};

fn password() -> Result<String> {
    match variable("DIA_PASSWORD") {
        Some(password) => Ok(password),
        None => rpassword::prompt_password("Password: ")
            .context("no password given; set DIA_PASSWORD when there is no terminal"),
    }
}

async fn post<T: serde::de::DeserializeOwned>(server: &str, path: &str, body: &Value) -> Result<T> {
    let url = format!("{}/api/v1{path}", server.trim_end_matches('/'));
    let key = domain::ids::fresh().to_string();
    let request = session::http()?.post(url).header("Idempotency-Key", key).json(body);
    session::answer(request.send().await.with_context(|| format!("cannot reach {server}"))?).await
}

/// `dia signup`
pub(super) async fn signup(server: &str, email: &str, name: &str, code: Option<&str>) -> Result<()> {
    let password = password()?;
    let mut body = json!({ "email": email, "name": name, "password": password });
    if let Some(code) = code {
        body["code"] = code.into();
    }
    let _: Value = post(server, "/auth/signup", &body).await?;
    sign_in(server, email, &password).await
}

/// `dia login`
pub(super) async fn login(server: &str, email: &str) -> Result<()> {
    sign_in(server, email, &password()?).await
}

async fn sign_in(server: &str, email: &str, password: &str) -> Result<()> {
    let answer: Value = post(server, "/auth/login", &json!({ "email": email, "password": password })).await?;
    let answer = match answer["second_factor_token"].as_str() {
        Some(token) => second_factor(server, token).await?,
        None => answer,
    };
    let tokens: Tokens = serde_json::from_value(answer).context("the server's answer cannot be read")?;
    session::keep(server.trim_end_matches('/'), &tokens)?;
    out::line(&format!("signed in to {server} as {email}"));
    Ok(())
}

/// Asks for the code of the second factor; with a dash in it, or letters, it is a recovery code.
async fn second_factor(server: &str, token: &str) -> Result<Value> {
    let code = match variable("DIA_CODE") {
        Some(code) => code,
        None => rpassword::prompt_password("Code of your authenticator, or a recovery code: ")
            .context("no code given; set DIA_CODE when there is no terminal")?,
    };
    let is_shown = code.chars().all(|c| c.is_ascii_digit() || c.is_whitespace());
    let field = if is_shown { "code" } else { "recovery_code" };
    post(server, "/auth/login/second-factor", &json!({ "second_factor_token": token, field: code })).await
}

/// `dia logout`
pub(super) async fn logout(server: &str) -> Result<()> {
    let session = Session::resume(server)?;
    let response = session.send(reqwest::Method::POST, "/auth/logout", |r| r).await?;
    session::forget(session.server())?;
    if !response.status().is_success() {
        let _: Value = session::answer(response).await?;
    }
    out::line("signed out");
    Ok(())
}
