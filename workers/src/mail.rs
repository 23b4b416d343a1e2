//! Letters to people, handed to the operator's SMTP server (RFC 5321), over TLS unless that server is on this machine. They say what
//! happened in dia's own words, never text of a document.

use std::{path::PathBuf, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use serde::{Deserialize, Serialize};

use crate::runner::JobError;

/// `[mail]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The server that takes letters, as `smtps://host:465` (TLS), `smtp://host:587` (STARTTLS, which must be offered) or
    /// `plain://host:25` (no TLS); empty: dia sends none.
    pub server: String,
    /// Whom dia signs in as there; empty for nobody.
    pub user: String,
    /// The password of that account.
    pub password: String,
    /// The sender: an address, or a name with it.
    pub from: String,
    /// A file of further certificate authorities (PEM) to trust.
    pub certificates: PathBuf,
    /// Longest wait for each of the server's answers, in seconds; at most 120.
    pub timeout_seconds: u64,
    /// The page where a new password is set; the code follows behind a `#`, which browsers keep to themselves.
    pub reset_page: String,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            server: String::new(),
            user: String::new(),
            password: String::new(),
            from: String::new(),
            certificates: PathBuf::new(),
            timeout_seconds: 30,
            reset_page: String::new(),
        }
    }
}

impl std::fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password, and perhaps the user, are nobody's business.
        f.debug_struct("MailConfig").field("server", &self.server).finish_non_exhaustive()
    }
}

/// How the way to the server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Tls,
    StartTls,
    None,
}

impl MailConfig {
    /// True when dia sends letters.
    pub fn is_on(&self) -> bool {
        !self.server.is_empty()
    }

    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_on() {
            return Ok(());
        }
        let (secrecy, ..) = self.place()?;
        self.sender()?;
        if self.user.is_empty() != self.password.is_empty() {
            return Err("user and password are set together or not at all".to_owned());
        }
        if secrecy == Secrecy::None && !self.password.is_empty() {
            return Err("a password is not sent over plain://; use smtps:// or smtp://".to_owned());
        }
        if !(1..=120).contains(&self.timeout_seconds) {
            return Err("timeout_seconds must be from 1 to 120".to_owned());
        }
        let is_page = self.reset_page.starts_with("https://") || self.reset_page.starts_with("http://");
        if !self.reset_page.is_empty() && (!is_page || self.reset_page.contains('#')) {
            return Err("reset_page begins with https:// or http:// and has no #".to_owned());
        }
        Ok(())
    }

    fn place(&self) -> Result<(Secrecy, &str, u16), String> {
        let wrong = || "server looks like smtps://host:465, smtp://host:587 or plain://host:25".to_owned();
        let (scheme, address) = self.server.split_once("://").ok_or_else(wrong)?;
        let secrecy = match scheme {
            "smtps" => Secrecy::Tls,
            "smtp" => Secrecy::StartTls,
            "plain" => Secrecy::None,
            _ => return Err(wrong()),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || host.contains(['/', '@']) { Err(wrong()) } else { Ok((secrecy, host, port)) }
    }

    fn sender(&self) -> Result<Mailbox, String> {
        self.from.parse().map_err(|_| "from is an address, or a name with one: dia <dia@example.org>".to_owned())
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, anyhow::Error> {
        let (secrecy, host, port) = self.place().map_err(anyhow::Error::msg)?;
        let mut tls = TlsParameters::builder(host.to_owned());
        if !self.certificates.as_os_str().is_empty() {
            tls = tls.add_root_certificate(Certificate::from_pem(&std::fs::read(&self.certificates)?)?);
        }
        let tls = match secrecy {
            Secrecy::Tls => Tls::Wrapper(tls.build_rustls()?),
            Secrecy::StartTls => Tls::Required(tls.build_rustls()?),
            Secrecy::None => Tls::None,
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(Duration::from_secs(self.timeout_seconds)));
        if !self.user.is_empty() {
            server = server.credentials(Credentials::new(self.user.clone(), self.password.clone()));
        }
        Ok(server.build())
    }

    /// Hands one letter to the server. What it refuses for good fails for good; the error never quotes the letter.
    pub(crate) async fn send(&self, to: &[String], subject: &str, text: String) -> Result<(), JobError> {
        let mut letter = Message::builder()
            .from(self.sender().map_err(|error| JobError::fail(anyhow::anyhow!(error)))?)
            .subject(subject);
        for to in to {
            letter = letter
                .to(to.parse().map_err(|_| JobError::fail(anyhow::anyhow!("the address cannot be written to")))?);
        }
        let letter = letter
            // RFC 3834: nobody's holiday answer is wanted.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|_| JobError::fail(anyhow::anyhow!("the letter cannot be written")))?;
        let sent = self.transport().map_err(JobError::fail)?.send(letter).await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                Err(JobError::fail(anyhow::anyhow!("the mail server refuses the letter ({})", said(&error))))
            }
            Err(error) => {
                Err(JobError::retry(anyhow::anyhow!("the mail server did not take the letter ({})", said(&error))))
            }
        }
    }
}

/// What went wrong, without the server's words: they may quote the address.
fn said(error: &lettre::transport::smtp::Error) -> String {
    if let Some(code) = error.status() {
        return code.to_string();
    }
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    // No connection, or none that is private: nothing of the letter was said yet.
    std::error::Error::source(error).map_or_else(|| "the connection broke".to_owned(), ToString::to_string)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_named() {
        let none = MailConfig::default;
        assert_eq!((none().check(), none().is_on()), (Ok(()), false));
        let on = MailConfig {
            server: "smtps://mail.example:465".to_owned(),
            from: "dia <dia@mail.example>".to_owned(),
            ..none()
        };
        assert_eq!((on.check(), on.place()), (Ok(()), Ok((Secrecy::Tls, "mail.example", 465))));
        let set = |change: fn(&mut MailConfig)| {
            let mut config = on.clone();
            change(&mut config);
            config.check()
        };
        assert_eq!(set(|c| (c.user, c.password) = ("dia".to_owned(), "secret".to_owned())), Ok(()));
        assert_eq!(set(|c| c.reset_page = "https://dia.example/reset".to_owned()), Ok(()));
        for wrong in [
            |c: &mut MailConfig| c.server = "mail.example:465".to_owned(),
            |c: &mut MailConfig| c.server = "smtps://mail.example".to_owned(),
            |c: &mut MailConfig| c.server = "smtps://user:secret@mail.example:465/".to_owned(),
            |c: &mut MailConfig| c.from = "dia".to_owned(),
            |c: &mut MailConfig| c.user = "dia".to_owned(),
            |c: &mut MailConfig| {
                c.server = "plain://mail.example:25".to_owned();
                (c.user, c.password) = ("dia".to_owned(), "secret".to_owned());
            },
            |c: &mut MailConfig| c.timeout_seconds = 0,
            |c: &mut MailConfig| c.reset_page = "https://dia.example/#/reset".to_owned(),
        ] {
            assert!(set(wrong).is_err());
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let config = MailConfig { password: "hunter2".to_owned(), user: "bob".to_owned(), ..MailConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2") && !format!("{config:?}").contains("bob"));
    }
}
