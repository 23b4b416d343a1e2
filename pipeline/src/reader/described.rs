//! What a reader says of itself: everything about it that decides which text a document gets.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use domain::provenance::Provenance;
use sha2::{Digest as _, Sha256};

use crate::settings::Settings;

/// Limits that decide what is unpacked, not what is read.
const OF_CONTAINERS: [&str; 5] = ["max_members", "max_depth", "max_ratio", "ratio_floor_bytes", "max_unpacked_bytes"];

/// Version, engines, languages, resolution and limits. Reads the PDF library once and asks tesseract for its version.
pub(super) fn describe(settings: &Settings) -> io::Result<Provenance> {
    let mut provenance =
        Provenance { tool: "dia".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Provenance::default() };
    let mut set = |name: &str, value: String| provenance.parameters.insert(name.to_owned(), value);
    set(
        "pdf_engine",
        match &settings.pdfium_library {
            Some(library) => format!("pdfium sha256:{}", digest(library)?),
            None => "pdf_oxide".to_owned(),
        },
    );
    set("ocr_engine", settings.tesseract.as_deref().map_or_else(|| Ok("none".to_owned()), tesseract)?);
    set("ocr_languages", settings.ocr_languages.join("+"));
    set("ocr_dpi", settings.ocr_dpi.to_string());
    set("picture_pixels", settings.picture_pixels.to_string());
    let limits = serde_json::to_value(&settings.limits).map_err(io::Error::other)?;
    for (name, limit) in limits.as_object().into_iter().flatten() {
        if !OF_CONTAINERS.contains(&name.as_str()) {
            set(name, limit.to_string());
        }
    }
    Ok(provenance)
}

fn digest(file: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(file)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

/// The first line of `tesseract --version`.
fn tesseract(program: &Path) -> io::Result<String> {
    let output = Command::new(program).arg("--version").env_clear().stdin(Stdio::null()).output()?;
    // Version 3 wrote it to stderr.
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().next().unwrap_or_default().trim().chars().take(100).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_decides_the_text_is_told_and_nothing_else() {
        let plain = describe(&Settings::default()).unwrap();
        assert_eq!(plain, describe(&Settings::default()).unwrap());
        assert_eq!((plain.tool.as_str(), plain.version.as_str()), ("dia", env!("CARGO_PKG_VERSION")));
        for (name, value) in
            [("pdf_engine", "pdf_oxide"), ("ocr_engine", "none"), ("ocr_languages", "eng"), ("max_pages", "20000")]
        {
            assert_eq!(plain.parameters.get(name).unwrap(), value);
        }
        let mut other = Settings::default();
        other.limits.max_depth = 3;
        other.clamd.address = "/run/clamav/clamd.ctl".to_owned();
        assert_eq!(describe(&other).unwrap(), plain);
        other.ocr_dpi = 300;
        assert_ne!(describe(&other).unwrap(), plain);
        other.pdfium_library = Some("/nowhere/libpdfium.so".into());
        assert!(describe(&other).is_err());
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        other.pdfium_library = Some(library.into());
        let hash = hex::encode(Sha256::digest(include_bytes!("../../Cargo.toml")));
        assert_eq!(describe(&other).unwrap().parameters["pdf_engine"], format!("pdfium sha256:{hash}"));
    }
}
