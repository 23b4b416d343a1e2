//! The `[objects]` section of the configuration file.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Where objects lie: in the data directory, or in a bucket of any server that speaks S3.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The bucket; it must exist. Empty for the directory `objects` of the data directory. Default none.
    pub bucket: String,
    /// What every key begins with, such as `dia/`, so that a bucket can be shared. Default none.
    pub prefix: String,
    /// The region the bucket is in. Empty: `us-east-1` where `endpoint` is set, else what the environment says. Default none.
    pub region: String,
    /// Where the server listens, such as `https://s3.example.org`. Empty for AWS. Default none.
    pub endpoint: String,
    /// Whether the bucket stands in the path and not in the host name; most servers beside AWS want it. Default false.
    pub path_style: bool,
    /// Half of the credentials. Empty: the environment, the profile or the machine's role, as the AWS SDKs look for
    /// them. Default none.
    pub access_key_id: String,
    /// The other half; prefer the environment: `DIA_OBJECTS__SECRET_ACCESS_KEY`. Default none.
    pub secret_access_key: String,
    /// Objects beyond this are sent in parts of this size, in megabytes; the server allows 10,000 parts. Default 8.
    pub part_megabytes: u64,
    /// Parts on their way at once, over all objects of the process; each takes `part_megabytes` of memory, as does every
    /// object being written. Default 8.
    pub parts_at_once: usize,
    /// Longest wait for a connection, in seconds. Default 5.
    pub connect_timeout_seconds: u64,
    /// Longest time one try of a request may take, its bytes included, in seconds. Default 60.
    pub request_timeout_seconds: u64,
    /// Longest time all tries of a request may take, in seconds; then the job that needs it is tried later. Default 180.
    pub total_timeout_seconds: u64,
    /// Repetitions of a request that failed for a reason that may pass. Default 6.
    pub retries: u32,
    /// Where sealed parts of objects read from a bucket are kept. Empty: the directory `cache` of the data directory.
    /// Default none.
    pub cache_directory: PathBuf,
    /// Most they may take there, for each process on the machine, in megabytes; at least 64. Default 2048.
    pub cache_megabytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: String::new(),
            endpoint: String::new(),
            path_style: false,
            access_key_id: String::new(),
            secret_access_key: String::new(),
            part_megabytes: 8,
            parts_at_once: 8,
            connect_timeout_seconds: 5,
            request_timeout_seconds: 60,
            total_timeout_seconds: 180,
            retries: 6,
            cache_directory: PathBuf::new(),
            cache_megabytes: 2048,
        }
    }
}

impl fmt::Debug for Settings {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// True when objects lie in a bucket.
    pub fn is_remote(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.is_remote() {
            return Ok(());
        }
        let scheme = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        if !(self.endpoint.is_empty() || scheme) {
            return Err("endpoint must begin with http:// or https://");
        }
        if self.access_key_id.is_empty() != self.secret_access_key.is_empty() {
            return Err("access_key_id and secret_access_key belong together; set both or neither");
        }
        if self.prefix.starts_with('/') || !(self.prefix.is_empty() || self.prefix.ends_with('/')) {
            return Err("prefix must end with / and not begin with it");
        }
        if !(5..=1024).contains(&self.part_megabytes) || !(1..=256).contains(&self.parts_at_once) {
            return Err("part_megabytes must be between 5 and 1024, and parts_at_once between 1 and 256");
        }
        if self.connect_timeout_seconds == 0 || self.request_timeout_seconds == 0 {
            return Err("connect_timeout_seconds and request_timeout_seconds must be at least 1");
        }
        if self.total_timeout_seconds < self.request_timeout_seconds || self.total_timeout_seconds > 600 {
            return Err("total_timeout_seconds must be at least request_timeout_seconds and at most 600");
        }
        if self.retries > 20 {
            return Err("retries must be at most 20");
        }
        if self.cache_megabytes < 64 { Err("cache_megabytes must be at least 64") } else { Ok(()) }
    }

    /// Bytes of one part.
    pub(super) fn part_bytes(&self) -> usize {
        usize::try_from(self.part_megabytes << 20).unwrap_or(usize::MAX)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    pub(super) fn total_timeout(&self) -> Duration {
        Duration::from_secs(self.total_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let on = Settings { bucket: "b".into(), ..Settings::default() };
        assert_eq!(on.check(), Ok(()));
        for wrong in [
            Settings { endpoint: "s3.example.org".into(), ..on.clone() },
            Settings { access_key_id: "a".into(), ..on.clone() },
            Settings { secret_access_key: "a".into(), ..on.clone() },
            Settings { prefix: "dia".into(), ..on.clone() },
            Settings { prefix: "/dia/".into(), ..on.clone() },
            Settings { part_megabytes: 4, ..on.clone() },
            Settings { parts_at_once: 0, ..on.clone() },
            Settings { request_timeout_seconds: 0, ..on.clone() },
            Settings { total_timeout_seconds: 59, ..on.clone() },
            Settings { retries: 21, ..on.clone() },
            Settings { cache_megabytes: 63, ..on.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(serde_json::from_str::<Settings>(r#"{"buckett": "b"}"#).is_err());
        let secret = Settings { access_key_id: "canary".into(), secret_access_key: "canary".into(), ..on };
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
