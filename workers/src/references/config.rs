//! The `[references]` section of the configuration file.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::outbound::Reach;
use serde::{Deserialize, Serialize};
use storage::objects::S3Settings;

use crate::outbound::Patience;

/// Where files may be fetched from that load files name by reference. What is named here is open to whoever may upload in any
/// case; `{case}` in a folder or bucket stands for the id of the case that asks. Empty: no reference is followed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferencesConfig {
    /// Folders of this machine, by their absolute paths. Default none.
    pub folders: Vec<String>,
    /// Hosts, exactly, asked with https. Default none.
    pub hosts: Vec<String>,
    /// Hosts that may also be asked with plain http. Default none.
    pub plain_hosts: Vec<String>,
    /// Networks that are not the public internet's in which the hosts may lie. Default none.
    pub networks: Vec<String>,
    /// A file of further certificate authorities to trust (PEM). Default none.
    pub certificates: PathBuf,
    /// Buckets, or parts of them (`bucket/prefix/`). Default none.
    pub buckets: Vec<String>,
    /// The region the buckets are in; as in `[objects]`. Default none.
    pub region: String,
    /// Where the buckets' server listens; as in `[objects]`. Default none.
    pub endpoint: String,
    /// Whether the bucket stands in the path; as in `[objects]`. Default false.
    pub path_style: bool,
    /// Half of the credentials; as in `[objects]`. Default none.
    pub access_key_id: String,
    /// The other half. Default none.
    pub secret_access_key: String,
    /// Largest file, in bytes. Default 4294967296.
    pub max_bytes: u64,
    /// Longest wait for a connection, in seconds. Default 10.
    pub connect_timeout_seconds: u64,
    /// Longest silence of a host, in seconds. Default 60.
    pub read_timeout_seconds: u64,
    /// Longest time one file may take, in seconds; at most 36000. Default 7200.
    pub total_timeout_seconds: u64,
}

impl Default for ReferencesConfig {
    fn default() -> Self {
        Self {
            folders: Vec::new(),
            hosts: Vec::new(),
            plain_hosts: Vec::new(),
            networks: Vec::new(),
            certificates: PathBuf::new(),
            buckets: Vec::new(),
            region: String::new(),
            endpoint: String::new(),
            path_style: false,
            access_key_id: String::new(),
            secret_access_key: String::new(),
            max_bytes: 4 << 30,
            connect_timeout_seconds: 10,
            read_timeout_seconds: 60,
            total_timeout_seconds: 7_200,
        }
    }
}

impl fmt::Debug for ReferencesConfig {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferencesConfig")
            .field("folders", &self.folders)
            .field("hosts", &self.hosts)
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

impl ReferencesConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        self.reach()?;
        for folder in &self.folders {
            let path = Path::new(folder);
            let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
            if !path.is_absolute() || !plain || path.parent().is_none() {
                return Err("folders must hold absolute paths without .., and not /");
            }
        }
        for bucket in &self.buckets {
            let (name, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
            if name.is_empty() || !(prefix.is_empty() || prefix.ends_with('/')) {
                return Err("buckets must look like bucket or bucket/prefix/");
            }
        }
        if self.access_key_id.is_empty() != self.secret_access_key.is_empty() {
            return Err("access_key_id and secret_access_key belong together; set both or neither");
        }
        let scheme = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        if !(self.endpoint.is_empty() || scheme) {
            return Err("endpoint must begin with http:// or https://");
        }
        if self.max_bytes == 0 || self.connect_timeout_seconds == 0 || self.read_timeout_seconds == 0 {
            return Err("max_bytes, connect_timeout_seconds and read_timeout_seconds must be at least 1");
        }
        if (1..=36_000).contains(&self.total_timeout_seconds) {
            Ok(())
        } else {
            Err("total_timeout_seconds must be between 1 and 36000")
        }
    }

    /// True when hosts may be asked.
    pub(super) fn has_hosts(&self) -> bool {
        !(self.hosts.is_empty() && self.plain_hosts.is_empty())
    }

    pub(super) fn reach(&self) -> Result<Reach, &'static str> {
        Reach::new(Some(&self.hosts), &self.plain_hosts, &self.networks)
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            connect: Duration::from_secs(self.connect_timeout_seconds),
            read: Duration::from_secs(self.read_timeout_seconds),
            total: self.total(),
        }
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_secs(self.total_timeout_seconds)
    }

    pub(super) fn s3(&self) -> S3Settings {
        S3Settings {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            connect_timeout_seconds: self.connect_timeout_seconds,
            request_timeout_seconds: self.read_timeout_seconds,
            ..S3Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        let none = ReferencesConfig::default;
        assert_eq!(none().check(), Ok(()));
        let on = ReferencesConfig {
            folders: some("/mnt/{case}"),
            buckets: some("b/{case}/"),
            hosts: some("a.example"),
            ..none()
        };
        assert_eq!(on.check(), Ok(()));
        for wrong in [
            ReferencesConfig { folders: some("mnt"), ..none() },
            ReferencesConfig { folders: some("/mnt/../etc"), ..none() },
            ReferencesConfig { folders: some("/"), ..none() },
            ReferencesConfig { hosts: some("https://a.example"), ..none() },
            ReferencesConfig { plain_hosts: some("a.example/x"), ..none() },
            ReferencesConfig { networks: some("10.0.0.1"), ..none() },
            ReferencesConfig { buckets: some("b/prefix"), ..none() },
            ReferencesConfig { buckets: some("/b/"), ..none() },
            ReferencesConfig { access_key_id: "a".into(), ..none() },
            ReferencesConfig { endpoint: "s3.example.org".into(), ..none() },
            ReferencesConfig { max_bytes: 0, ..none() },
            ReferencesConfig { read_timeout_seconds: 0, ..none() },
            ReferencesConfig { total_timeout_seconds: 36_001, ..none() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        let secret = ReferencesConfig { access_key_id: "canary".into(), secret_access_key: "canary".into(), ..none() };
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
