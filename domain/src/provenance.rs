//! Where a derived text comes from: the tool, its version, and the settings that decide what it gives. The same bytes read
//! with the same provenance give the same text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What read a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The program.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// Engines, languages, resolution and limits, by name.
    pub parameters: BTreeMap<String, String>,
}
