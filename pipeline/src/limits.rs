//! What one document may cost. Every limit has a name in the configuration and produces a named exception.

use serde::{Deserialize, Serialize};

/// Limits on one document; a section of the configuration file. Bytes and seconds are whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest document that is read at all, in bytes; larger ends as `too_large`. Default 512 MiB.
    pub max_document_bytes: u64,
    /// Most members of one container; more ends as `too_many_members`. Default 500,000.
    pub max_members: u32,
    /// Deepest nesting of containers, checked by the caller; deeper ends as `too_deep`. Default 10.
    pub max_depth: u32,
    /// Largest expansion of a container: bytes out for each byte in; more ends as `archive_bomb`. Default 200.
    pub max_ratio: u64,
    /// Bytes a container may expand to before its ratio is looked at. Default 10 MiB.
    pub ratio_floor_bytes: u64,
    /// Most bytes one container may expand to; more ends as `archive_bomb`. Default 20 GiB.
    pub max_unpacked_bytes: u64,
    /// Most pages, slides, sheets or frames; those beyond are left out with a warning. Default 20,000.
    pub max_pages: u32,
    /// Most bytes of text; what is beyond is left out with a warning. Default 64 MiB.
    pub max_text_bytes: u64,
    /// Largest image that is decoded or rendered, in pixels, judged by its header; larger is `too_large`. Default 100 million.
    pub max_pixels: u64,
    /// Processor time of one reader process, in seconds, and one more for each page it renders for recognition; more ends
    /// as `timed_out`. Default 120.
    pub cpu_seconds: u64,
    /// Wall-clock time spent waiting for one reader process, in seconds, without the time OCR takes and without the
    /// time spent storing its output; more ends as `timed_out`. Default 300.
    pub wall_seconds: u64,
    /// Address space of one reader process beyond `max_document_bytes`, in bytes; more ends as `memory`. Default 1 GiB.
    pub memory_bytes: u64,
    /// Most rounds of hashing a password that a protected file may ask for; more ends as `too_large`. Office allows ten
    /// million and asks for 100,000. Default 10 million.
    pub max_key_rounds: u32,
    /// Wall-clock time OCR may spend on one page, in seconds; the page is left without text. Default 60.
    pub ocr_wall_seconds_per_page: u64,
    /// Most pages of one document that are recognised; those beyond are left out with a warning. Default 20,000.
    pub max_ocr_pages: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_document_bytes: 512 << 20,
            max_members: 500_000,
            max_depth: 10,
            max_ratio: 200,
            ratio_floor_bytes: 10 << 20,
            max_unpacked_bytes: 20 << 30,
            max_pages: 20_000,
            max_text_bytes: 64 << 20,
            max_pixels: 100_000_000,
            cpu_seconds: 120,
            wall_seconds: 300,
            memory_bytes: 1 << 30,
            max_key_rounds: 10_000_000,
            ocr_wall_seconds_per_page: 60,
            max_ocr_pages: 20_000,
        }
    }
}

impl Limits {
    /// Largest dictionary or window a decompressor may ask for: half of the memory; more ends as `memory`.
    pub(crate) fn dictionary_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }
}
