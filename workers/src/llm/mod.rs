//! The language model, where one is configured: any endpoint that speaks `OpenAI`'s `/chat/completions` with `stream`. What
//! it says is treated as a stranger's letter: bounded, parsed to sentences, made inert, and checked against what it cites.

mod client;
mod config;
mod prompt;
mod reply;

pub use client::{Model, ModelError};
pub use config::LlmConfig;
pub use prompt::{Excerpt, Prompt};
pub use reply::{Claim, claims};
