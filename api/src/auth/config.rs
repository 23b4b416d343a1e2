//! The `[auth]` table of the configuration file.

use std::time::Duration;

use domain::access::SystemRole;
use serde::{Deserialize, Serialize};

/// What people must prove. Every key has a default; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Roles in the whole system whose people need a second factor.
    pub second_factor_roles: Vec<SystemRole>,
    /// Seconds for which a proof is fresh enough for what is sensitive.
    pub step_up_seconds: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { second_factor_roles: Vec::new(), step_up_seconds: 900 }
    }
}

impl AuthConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.step_up_seconds == 0 { Err("step_up_seconds must be at least 1") } else { Ok(()) }
    }

    /// True when people of that role need a second factor.
    pub(crate) fn wants_second_factor(&self, role: SystemRole) -> bool {
        self.second_factor_roles.contains(&role)
    }

    pub(crate) fn freshness(&self) -> Duration {
        Duration::from_secs(self.step_up_seconds)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_unknown_keys_are_errors() {
        assert_eq!(AuthConfig::default().check(), Ok(()));
        let config: AuthConfig =
            serde_json::from_str(r#"{"second_factor_roles": ["administrator"], "step_up_seconds": 0}"#).unwrap();
        assert!(config.check().is_err() && config.wants_second_factor(SystemRole::Administrator));
        assert!(!config.wants_second_factor(SystemRole::Member));
        for bad in [r#"{"second_factor_roles": ["king"]}"#, r#"{"step_up": 1}"#] {
            assert!(serde_json::from_str::<AuthConfig>(bad).is_err(), "{bad}");
        }
    }
}
