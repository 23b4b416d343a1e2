//! The `[access]` table of the configuration file.

use serde::{Deserialize, Serialize};

/// Who may do what for a while. Every key has a default; unknown keys are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Most minutes that an administrator may read a case for without being a member, once another one approved.
    pub break_glass_minutes: u32,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { break_glass_minutes: 60 }
    }
}

impl AccessConfig {
    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        if (1..=10_080).contains(&self.break_glass_minutes) {
            return Ok(());
        }
        Err("break_glass_minutes must be 1 to 10080, which is a week")
    }
}
