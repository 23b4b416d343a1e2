//! The `[llm]` section of the configuration file.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Which model writes answers, and how far it is trusted with time and bytes. Without `base_url` answers are extractive:
/// sentences of the documents, quoted and cited.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LlmConfig {
    /// Where the endpoint begins, such as `http://127.0.0.1:11434/v1`; `/chat/completions` is added. Default none.
    pub base_url: String,
    /// The model's name as the endpoint knows it. Default none.
    pub model: String,
    /// Sent as a bearer token; empty for none. Prefer the environment: `DIA_LLM__API_KEY`. Default none.
    pub api_key: String,
    /// Longest wait for a connection, in seconds. Default 10.
    pub connect_timeout_seconds: u64,
    /// Longest silence of the endpoint, the wait for its first word included, in seconds. Default 60.
    pub read_timeout_seconds: u64,
    /// Longest answer in all, in seconds; less than the 300 that a job may take. Default 180.
    pub total_timeout_seconds: u64,
    /// Longest answer, in bytes of text. Default 32768.
    pub max_answer_bytes: usize,
    /// Most text of passages put into one prompt, in characters. Default 24000.
    pub max_context_characters: usize,
    /// 0 for the likeliest words, up to 2. Default 0.
    pub temperature: f32,
    /// Repetitions after a failure before the first word came. Default 2.
    pub retries: u32,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            api_key: String::new(),
            connect_timeout_seconds: 10,
            read_timeout_seconds: 60,
            total_timeout_seconds: 180,
            max_answer_bytes: 32 * 1024,
            max_context_characters: 24_000,
            temperature: 0.0,
            retries: 2,
        }
    }
}

impl fmt::Debug for LlmConfig {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmConfig")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl LlmConfig {
    /// True when a model is to write answers.
    pub fn is_on(&self) -> bool {
        !self.base_url.is_empty()
    }

    /// Says which key holds a value that cannot work.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.is_on() {
            return Ok(());
        }
        if !(self.base_url.starts_with("http://") || self.base_url.starts_with("https://")) {
            return Err("base_url must begin with http:// or https://");
        }
        if self.model.is_empty() {
            return Err("model must name a model when base_url is set");
        }
        if self.connect_timeout_seconds == 0 || self.read_timeout_seconds == 0 {
            return Err("connect_timeout_seconds and read_timeout_seconds must be at least 1");
        }
        if !(1..=280).contains(&self.total_timeout_seconds) {
            return Err("total_timeout_seconds must be between 1 and 280");
        }
        if self.max_answer_bytes < 256 || self.max_context_characters < 1_000 {
            return Err("max_answer_bytes must be at least 256 and max_context_characters at least 1000");
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err("temperature must be between 0 and 2");
        }
        if self.retries > 10 { Err("retries must be at most 10") } else { Ok(()) }
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    pub(super) fn read_timeout(&self) -> Duration {
        Duration::from_secs(self.read_timeout_seconds)
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
        assert_eq!(LlmConfig::default().check(), Ok(()));
        let on = LlmConfig { base_url: "http://x/v1".into(), model: "m".into(), ..LlmConfig::default() };
        assert_eq!(on.check(), Ok(()));
        for wrong in [
            LlmConfig { base_url: "x/v1".into(), ..on.clone() },
            LlmConfig { model: String::new(), ..on.clone() },
            LlmConfig { total_timeout_seconds: 300, ..on.clone() },
            LlmConfig { read_timeout_seconds: 0, ..on.clone() },
            LlmConfig { temperature: f32::NAN, ..on.clone() },
            LlmConfig { retries: 11, ..on.clone() },
            LlmConfig { max_answer_bytes: 1, ..on.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(serde_json::from_str::<LlmConfig>(r#"{"modell": "m"}"#).is_err());
        let secret = LlmConfig { api_key: "canary".into(), ..on };
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
