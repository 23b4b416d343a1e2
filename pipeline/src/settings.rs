//! What reading documents needs to know about the machine: limits, where PDFium and tesseract are, how OCR is done, and who
//! looks for viruses first (the workers ask; nothing here speaks to a network).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// Settings of the pipeline; a section of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What one document may cost.
    pub limits: Limits,
    /// Path of `libpdfium.so`. Without it PDFs are read by the built-in engine, which is slower and a little less exact.
    pub pdfium_library: Option<PathBuf>,
    /// Path of the `tesseract` program. Without it pages that are images end as `ocr_unavailable`.
    pub tesseract: Option<PathBuf>,
    /// Languages tesseract looks for, by its names (`eng`, `deu`); each needs its data file installed. Default `eng`.
    pub ocr_languages: Vec<String>,
    /// Resolution at which pages are rendered for OCR, in dots per inch. 200 measured best: F1 0.966 against 0.94 at
    /// 150 and 0.926 at 300. Default 200.
    pub ocr_dpi: u32,
    /// Pixels that a picture in an Office document must have to be recognised beside the document's text; where there is no text, smaller
    /// ones are. 0: none is. Default 500,000, a page at 75 dots per inch.
    pub picture_pixels: u64,
    /// The virus scanner that every file is shown to before anything else is done with it.
    pub clamd: Clamd,
}

/// Where clamd listens; a section of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clamd {
    /// A Unix socket's path (`/run/clamav/clamd.ctl`) or `host:port`. Empty, the default: files are not scanned.
    pub address: String,
    /// Longest silence of clamd, the wait for its verdict included, in seconds. Default 150.
    pub timeout_seconds: u64,
}

impl Default for Clamd {
    fn default() -> Self {
        Self { address: String::new(), timeout_seconds: 150 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            pdfium_library: None,
            tesseract: None,
            ocr_languages: vec!["eng".to_owned()],
            ocr_dpi: 200,
            picture_pixels: 500_000,
            clamd: Clamd::default(),
        }
    }
}

impl Settings {
    /// Fills in what is not set: tesseract from the folders of `search_path` (the value of `PATH`), libpdfium from the
    /// usual library folders and from the cache folder under `home`.
    #[must_use]
    pub fn discover(mut self, search_path: Option<&str>, home: Option<&str>) -> Self {
        let programs = search_path.unwrap_or_default().split(':').filter(|folder| !folder.is_empty());
        let tesseract = programs.map(|folder| PathBuf::from(folder).join("tesseract")).find(|path| path.is_file());
        self.tesseract = self.tesseract.or(tesseract);
        let cache = home.map(|home| PathBuf::from(home).join(".cache/dia"));
        let usual =
            ["/usr/lib/dia", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
        let folders = cache.into_iter().chain(usual.into_iter().map(PathBuf::from));
        let pdfium = folders.map(|folder| folder.join("libpdfium.so")).find(|path| path.is_file());
        self.pdfium_library = self.pdfium_library.or(pdfium);
        self
    }
}
