//! Where dia may connect on somebody's word (a reference in a load file, a webhook): which URLs may be named, and which addresses
//! their hosts may stand for. Pure; whoever connects asks [`Reach::admits`] for the very address it connects to.

mod address;

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// Longest URL.
const LONGEST: usize = 2_048;

/// Why a URL, or what it stands for, is refused. Never quotes it: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a URL with a host.
    #[error("it is not a URL with a host, of at most 2048 characters")]
    NotAUrl,
    /// Neither https nor plain http where that is allowed.
    #[error("only https is allowed for this host")]
    Scheme,
    /// A name or password in the URL.
    #[error("a URL must not hold a user name or password")]
    Credentials,
    /// The operator's list does not name the host.
    #[error("the host is not one that the operator allows")]
    Host,
    /// The host is, or stands only for, an address that is not the public internet's.
    #[error("the host stands for an address in a network that the operator does not allow")]
    Address,
}

/// Which hosts may be named, and in which networks they may lie.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// `None` for any.
    hosts: Option<Vec<Name>>,
    plain: Vec<Name>,
    networks: Vec<IpNet>,
}

/// A host as an operator names it: exactly, with the scheme's own port unless another is said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    host: Host<String>,
    port: Option<u16>,
}

impl Reach {
    /// `hosts` may be named with https (`None`: any), `plain` with http and https; an address of theirs is of the public internet or in
    /// one of `networks`, written like `10.1.0.0/16`. Hosts are written `files.example.org` or `files.example.org:8443`.
    pub fn new(hosts: Option<&[String]>, plain: &[String], networks: &[String]) -> Result<Self, &'static str> {
        let all = |names: &[String]| names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>, _>>();
        let network = |text: &String| text.parse().map_err(|_| "a network is written like 10.1.0.0/16 or fd00:1::/64");
        let networks = networks.iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { hosts: hosts.map(all).transpose()?, plain: all(plain)?, networks })
    }

    /// The URL, if it may be named. Hosts that are addresses, however written, are judged here; those that are names when they
    /// are resolved.
    pub fn url(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| Refusal::NotAUrl)?;
        let host = url.host().ok_or(Refusal::NotAUrl)?.to_owned();
        if !(url.username().is_empty() && url.password().is_none()) {
            return Err(Refusal::Credentials);
        }
        let (host, port) = (undotted(host), url.port().unwrap_or(default_port(&url)));
        let is_named = |names: &[Name]| {
            names.iter().any(|name| name.host == host && (name.port.unwrap_or(default_port(&url)) == port))
        };
        let is_plain = is_named(&self.plain);
        match url.scheme() {
            "https" => {}
            "http" if is_plain => {}
            _ => return Err(Refusal::Scheme),
        }
        if !is_plain && !self.hosts.as_deref().is_none_or(is_named) {
            return Err(Refusal::Host);
        }
        let address = match host {
            Host::Domain(_) => return Ok(url),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        if self.admits(address) { Ok(url) } else { Err(Refusal::Address) }
    }

    /// Whether a connection to this address may be made.
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address::is_global(address) || self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "a host is written like files.example.org or files.example.org:8443";
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| WRONG)?;
        let host = url.host().ok_or(WRONG)?.to_owned();
        let has_more = text.contains(['/', '?', '#', '@', '*', '\\']) || text.trim() != text;
        // The port that https has anyway is not told from none; it is looked for in the text.
        let port = if text.ends_with(":443") { Some(443) } else { url.port() };
        if has_more { Err(WRONG) } else { Ok(Self { host: undotted(host), port }) }
    }
}

/// `example.org.` is `example.org`.
fn undotted(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(&name).to_owned()),
        address => address,
    }
}

fn default_port(url: &Url) -> u16 {
    if url.scheme() == "http" { 80 } else { 443 }
}

#[cfg(test)]
mod tests;
