//! Everything that dia asks of other machines over HTTP goes out here, and nowhere else: no redirects, no proxy of the environment,
//! time limits on connecting, on silence and on the whole, and for what somebody else than the operator names, addresses that are
//! checked when the connection is made. Object stores, RabbitMQ, Redis and databases have clients of their own, in storage; where they
//! are is the operator's word alone.

mod guard;

use std::{fmt, net::IpAddr, path::Path, time::Duration};

use bytes::Bytes;
use domain::outbound::{Reach, Refusal};
use reqwest::{Certificate, ClientBuilder, RequestBuilder, Response, redirect::Policy};

use guard::Guard;

/// How long another machine is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a connection.
    pub(crate) connect: Duration,
    /// For its next byte.
    pub(crate) read: Duration,
    /// For the whole answer.
    pub(crate) total: Duration,
}

/// Why there is no answer. Never holds the URL or anything that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboundError {
    /// It may not be asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It took too long.
    #[error("the host did not answer in time")]
    Time,
    /// Its certificate, its name, its port, the network.
    #[error("no connection to the host could be made")]
    Connection,
    /// It broke off, or did not speak HTTP.
    #[error("the connection to the host broke")]
    Broken,
    /// The client could not be made.
    #[error("the certificates cannot be read")]
    Certificates,
}

/// What every client begins with.
fn builder(connect: Duration, read: Duration) -> ClientBuilder {
    reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(connect)
        .read_timeout(read)
        .user_agent(concat!("dia/", env!("CARGO_PKG_VERSION")))
}

/// A client for an endpoint that the operator configured, which may well lie on this machine. The caller limits the whole.
pub(crate) fn operators(connect: Duration, read: Duration) -> Option<reqwest::Client> {
    builder(connect, read).build().ok()
}

/// A client for what others than the operator name. Cloning shares its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    reach: Reach,
    total: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that goes no farther than `reach`. `certificates` is a file of further authorities (PEM) to trust; empty for none.
    pub(crate) fn new(reach: Reach, patience: Patience, certificates: &Path) -> Result<Self, OutboundError> {
        Self::resolving(Guard::new(reach.clone()), reach, patience, certificates)
    }

    fn resolving(guard: Guard, reach: Reach, patience: Patience, certificates: &Path) -> Result<Self, OutboundError> {
        let mut http = builder(patience.connect, patience.read).dns_resolver(guard);
        if !certificates.as_os_str().is_empty() {
            let pem = std::fs::read(certificates).map_err(|_| OutboundError::Certificates)?;
            let bundle = Certificate::from_pem_bundle(&pem).map_err(|_| OutboundError::Certificates)?;
            http = http.tls_certs_merge(bundle);
        }
        let http = http.build().map_err(|_| OutboundError::Certificates)?;
        Ok(Self { http, reach, total: patience.total })
    }

    /// Asks for what lies there.
    pub(crate) async fn get(&self, url: &str) -> Result<Answer, OutboundError> {
        let url = self.reach.url(url)?;
        self.send(self.http.get(url)).await
    }

    /// Sends JSON there.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<Answer, OutboundError> {
        let url = self.reach.url(url)?;
        let mut request = self.http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, OutboundError> {
        let response = request.timeout(self.total).send().await.map_err(|error| said(&error))?;
        // The resolver and the URL were checked; this is for what nobody thought of.
        let met = response.remote_addr().map(|met| met.ip());
        if !met.is_none_or(|met: IpAddr| self.reach.admits(met)) {
            return Err(Refusal::Address.into());
        }
        Ok(Answer(response))
    }
}

/// An answer whose body has not been read.
pub(crate) struct Answer(Response);

impl Answer {
    /// 200, 404, …
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// A header's value, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// How many bytes it says it has.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.content_length()
    }

    /// The next bytes.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, OutboundError> {
        self.0.chunk().await.map_err(|error| said(&error))
    }
}

/// What an error means, without its words: they quote the URL.
fn said(error: &reqwest::Error) -> OutboundError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return OutboundError::Refused(*refusal);
        }
        cause = error.source();
    }
    if error.is_timeout() {
        OutboundError::Time
    } else if error.is_connect() {
        OutboundError::Connection
    } else {
        OutboundError::Broken
    }
}

#[cfg(test)]
mod tests;
