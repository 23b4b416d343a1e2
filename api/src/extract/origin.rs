//! Where a request came from: its id, the client's address through trusted proxies only, and the program.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use domain::actor::{Actor, Origin, Who};

use crate::{Error, State, config::Network, limits, middleware::RequestId};

/// The actor before anybody has signed in.
#[derive(Debug, Clone)]
pub struct Anonymous(pub Actor);

impl FromRequestParts<State> for Anonymous {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let origin = origin(parts, state);
        limits::take_of_address(parts, state, &origin).await?;
        Ok(Self(Actor { who: Who::Anonymous, origin }))
    }
}

/// Where the request came from.
pub(crate) fn origin(parts: &Parts, state: &State) -> Origin {
    let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    Origin {
        request: parts.extensions.get::<RequestId>().map_or_else(domain::ids::fresh, |id| id.0),
        address: client_address(parts, &state.config.trusted_proxies).map(|a| a.to_string()),
        agent: agent.map(|text| text.chars().take(256).collect()),
    }
}

/// The client's address: the peer's, or, when the peer is a trusted proxy, the last address in `X-Forwarded-For` that is
/// not one. What stands before that could be anybody's claim. `None` when the peer is not known.
pub fn client_address(parts: &Parts, trusted: &[Network]) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(forwarded(peer.ip().to_canonical(), &parts.headers, trusted))
}

/// The network that somebody at `address` can move about in: the address itself, or the /64 that one customer has of IPv6.
pub(crate) fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => format!("{}/64", Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        _ => address.to_owned(),
    }
}

fn forwarded(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("").split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for hop in hops.iter().rev() {
        let Some(address) = is_proxy(client).then(|| hop.parse::<IpAddr>().ok()).flatten() else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        for (peer, header, client) in [
            ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, 192.0.2.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(
                forwarded(peer.to_canonical(), &headers, &trusted),
                client.parse::<IpAddr>().unwrap(),
                "{peer} {header}"
            );
        }
    }
}
