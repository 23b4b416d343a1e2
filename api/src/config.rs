//! The `[api]` table of the configuration file.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// How the door behaves. Every key has a default; unknown keys are errors.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port to listen on.
    pub listen: String,
    /// Seconds a client may take to send the head of a request; idle connections are closed after it too.
    pub header_timeout_seconds: u64,
    /// Seconds a client may stay silent while it sends a body, and the head start before `body_bytes_per_second` counts.
    pub body_timeout_seconds: u64,
    /// Bytes per second a client must keep up on average while it sends a body.
    pub body_bytes_per_second: u64,
    /// Seconds that open connections get to end when dia stops.
    pub shutdown_timeout_seconds: u64,
    /// Connections served at once; more wait in the operating system's queue.
    pub max_connections: usize,
    /// `WebSockets` open at once; more are refused. They do not count as connections.
    pub max_websockets: usize,
    /// `WebSockets` of one person open at once, those of their API keys included.
    pub max_websockets_per_user: usize,
    /// Largest body in bytes of a request that is not an upload.
    pub max_body_bytes: usize,
    /// Largest single file in bytes that an upload may hold.
    pub max_upload_bytes: u64,
    /// Largest load file in bytes.
    pub max_load_file_bytes: u64,
    /// Hours without a byte after which an upload in pieces is forgotten.
    pub upload_hours: u64,
    /// True lets anybody sign up as a member; otherwise an invitation is needed.
    pub open_signup: bool,
    /// Minutes an access token is good for.
    pub access_token_minutes: u64,
    /// Days without use after which a session ends.
    pub refresh_token_days: u64,
    /// Days after which a session ends in any case.
    pub session_days: u64,
    /// Most API keys of one person that count at once, rotated ones aside.
    pub max_api_keys: u64,
    /// Most days an API key may be good for.
    pub max_api_key_days: u64,
    /// Most hours a rotated API key may go on beside its successor.
    pub api_key_overlap_hours: u64,
    /// Password hashes computed at once; each takes 19 MiB.
    pub max_concurrent_password_hashes: usize,
    /// Networks of reverse proxies whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// Networks that may read `/metrics` without a token.
    pub metrics_networks: Vec<Network>,
    /// Bearer token that opens `/metrics` from anywhere; empty for none.
    pub metrics_token: String,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            header_timeout_seconds: 15,
            body_timeout_seconds: 30,
            body_bytes_per_second: 1_024,
            shutdown_timeout_seconds: 20,
            max_connections: 4_096,
            max_websockets: 10_000,
            max_websockets_per_user: 100,
            max_body_bytes: 1 << 20,
            max_upload_bytes: 4 << 30,
            max_load_file_bytes: 4 << 30,
            upload_hours: 24,
            open_signup: false,
            access_token_minutes: 15,
            refresh_token_days: 14,
            session_days: 30,
            max_api_keys: 50,
            max_api_key_days: 366,
            api_key_overlap_hours: 168,
            max_concurrent_password_hashes: 2,
            trusted_proxies: Vec::new(),
            metrics_networks: vec![
                Network { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix: 8 },
                Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
            ],
            metrics_token: String::new(),
        }
    }
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl ApiConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        let zero = [
            (self.header_timeout_seconds, "header_timeout_seconds must be at least 1"),
            (self.body_timeout_seconds, "body_timeout_seconds must be at least 1"),
            (self.body_bytes_per_second, "body_bytes_per_second must be at least 1"),
            (self.max_connections as u64, "max_connections must be at least 1"),
            (self.max_websockets as u64, "max_websockets must be at least 1"),
            (self.max_websockets_per_user as u64, "max_websockets_per_user must be at least 1"),
            (self.max_body_bytes as u64, "max_body_bytes must be at least 1"),
            (self.max_upload_bytes, "max_upload_bytes must be at least 1"),
            (self.max_load_file_bytes, "max_load_file_bytes must be at least 1"),
            (self.upload_hours, "upload_hours must be at least 1"),
            (self.access_token_minutes, "access_token_minutes must be at least 1"),
            (self.refresh_token_days, "refresh_token_days must be at least 1"),
            (self.session_days, "session_days must be at least 1"),
            (self.max_api_key_days, "max_api_key_days must be at least 1"),
            (self.max_concurrent_password_hashes as u64, "max_concurrent_password_hashes must be at least 1"),
        ];
        match zero.iter().find(|(value, _)| *value == 0) {
            Some((_, message)) => Err(message),
            None if (1..16).contains(&self.metrics_token.len()) => {
                Err("metrics_token must have at least 16 characters")
            }
            None => Ok(()),
        }
    }

    /// How long an upload in pieces waits for more.
    pub(crate) fn upload_patience(&self) -> Duration {
        Duration::from_secs(self.upload_hours.saturating_mul(3_600))
    }

    pub(crate) fn api_key_bounds(&self) -> storage::api_keys::Bounds {
        storage::api_keys::Bounds {
            most: self.max_api_keys,
            life: Duration::from_secs(self.max_api_key_days.saturating_mul(86_400)),
            overlap: Duration::from_secs(self.api_key_overlap_hours.saturating_mul(3_600)),
        }
    }

    pub(crate) fn session_lives(&self) -> storage::sessions::Lifetimes {
        let days = |n: u64| Duration::from_secs(n.saturating_mul(86_400));
        storage::sessions::Lifetimes { idle: days(self.refresh_token_days), absolute: days(self.session_days) }
    }
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// True when `address` lies in this network; an IPv4 address mapped into IPv6 counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network such as 10.0.0.0/8 or an address");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |p| p.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.prefix)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1", "::2", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "host"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn defaults_are_sound_and_unknown_keys_are_errors() {
        assert_eq!(ApiConfig::default().check(), Ok(()));
        assert!(serde_json::from_str::<ApiConfig>(r#"{"open_sign_up": true}"#).is_err());
        let config: ApiConfig =
            serde_json::from_str(r#"{"trusted_proxies": ["10.0.0.0/8"], "metrics_token": "short"}"#).unwrap();
        assert!(config.check().is_err());
    }
}
