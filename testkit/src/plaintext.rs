//! The search for plaintext where there must be none: every byte of every file below a directory, against everything
//! secret at once.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// Bytes of a secret that are compared first.
const KEY: usize = 8;

/// What must not be found.
#[derive(Debug, Default)]
pub struct Secrets {
    /// By their first bytes.
    by_start: HashMap<[u8; KEY], Vec<Vec<u8>>>,
    /// Which pairs of bytes begin a secret: most positions of a file are passed over by this alone.
    pairs: Vec<bool>,
    count: usize,
}

impl Secrets {
    /// Adds a secret of at least eight bytes, as it is and as UTF-16LE.
    pub fn add(&mut self, secret: &[u8]) {
        let wide = secret.iter().flat_map(|byte| [*byte, 0]).collect();
        for form in [secret.to_vec(), wide] {
            let Some(start) = form.first_chunk::<KEY>() else { continue };
            self.pairs.resize(1 << 16, false);
            self.pairs[usize::from(u16::from_le_bytes([start[0], start[1]]))] = true;
            self.by_start.entry(*start).or_default().push(form);
            self.count += 1;
        }
    }

    /// Adds pieces of a file's bytes that look like nothing else: for files whose content is not of our making.
    pub fn add_pieces(&mut self, bytes: &[u8]) {
        for part in 1..=4 {
            let at = bytes.len() * part / 5;
            let Some(piece) = bytes.get(at..at + 32) else { continue };
            let distinct: std::collections::BTreeSet<u8> = piece.iter().copied().collect();
            if distinct.len() >= 14 {
                self.add(piece);
            }
        }
    }

    /// True when one of them stands in `bytes`.
    pub fn stand_in(&self, bytes: &[u8]) -> bool {
        if self.count == 0 {
            return false;
        }
        for (at, window) in bytes.windows(KEY).enumerate() {
            if !self.pairs[usize::from(u16::from_le_bytes([window[0], window[1]]))] {
                continue;
            }
            let candidates = self.by_start.get(window).into_iter().flatten();
            if candidates.into_iter().any(|secret| bytes[at..].starts_with(secret)) {
                return true;
            }
        }
        false
    }

    /// The files at or below `place` in which one of them stands, and how many bytes were looked at.
    pub fn search(&self, place: &Path) -> Result<(Vec<PathBuf>, u64)> {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        if place.is_dir() {
            for entry in fs::read_dir(place)? {
                let (more, bytes) = self.search(&entry?.path())?;
                found.extend(more);
                looked_at += bytes;
            }
        } else if place.is_file() {
            let bytes = match fs::read(place) {
                // A temporary file may go while we look.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((found, 0)),
                read => read.with_context(|| format!("cannot read {}", place.display()))?,
            };
            looked_at = bytes.len() as u64;
            if self.stand_in(&bytes) {
                found.push(place.to_owned());
            }
        }
        Ok((found, looked_at))
    }

    /// Proves that the search finds what is there: a file with the last secret added, then gone again.
    pub fn prove(&self, directory: &Path) -> Result<()> {
        let secret = self.by_start.values().flatten().next().context("there is nothing to look for")?;
        let path = directory.join("canary");
        fs::write(&path, [b"\0\x01some bytes".as_slice(), secret, b"more"].concat())?;
        let (found, _) = self.search(directory)?;
        fs::remove_file(&path)?;
        ensure!(found.contains(&path), "the search for plaintext does not find what is there");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let mut secrets = Secrets::default();
        secrets.add(b"qwrtzpsdf");
        for (bytes, stands) in [
            (b"qwrtzpsdf".as_slice(), true),
            (b"..qwrtzpsdf", true),
            (b"qwqwrtzpsdf.", true),
            (b"qwrtzpsd", false),
            (b"q\0w\0r\0t\0z\0p\0s\0d\0f\0", true),
            (b"", false),
        ] {
            assert_eq!(secrets.stand_in(bytes), stands, "{bytes:?}");
        }
    }
}
