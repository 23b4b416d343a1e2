//! A document that is a ZIP of parts: Office Open XML, `OpenDocument`, EPUB.

use std::{
    borrow::Cow,
    io::{Cursor, Read},
};

use domain::outcome::Exception;
use zip::ZipArchive;

use super::corrupt;
use crate::decode;

/// Most bytes one part may inflate to; what is beyond is cut off, and its reader finds damaged XML.
const LARGEST_PART: u64 = 192 << 20;

/// An open package.
pub(crate) struct Package {
    archive: ZipArchive<Cursor<Vec<u8>>>,
    names: Vec<String>,
}

impl Package {
    pub(crate) fn open(bytes: Vec<u8>) -> Result<Self, Exception> {
        let archive =
            ZipArchive::new(Cursor::new(bytes)).map_err(|_| corrupt("the file's directory is missing or damaged"))?;
        let names = archive.file_names().filter_map(Result::ok).map(Cow::into_owned).collect();
        Ok(Self { archive, names })
    }

    /// Names of all parts, in the order of the package.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes of a part. Names are compared as Office does, without regard to case.
    pub(crate) fn part(&mut self, name: &str) -> Option<Vec<u8>> {
        let name = name.trim_start_matches('/');
        let stored = self.names.iter().find(|known| known.as_str() == name);
        let stored = stored.or_else(|| {
            self.names.iter().find(|known| known.trim_start_matches('/').replace('\\', "/").eq_ignore_ascii_case(name))
        })?;
        let mut bytes = Vec::new();
        // What was inflated before the damage is worth having.
        let _end = self.archive.by_name(stored).ok()?.take(LARGEST_PART).read_to_end(&mut bytes);
        (!bytes.is_empty()).then_some(bytes)
    }

    /// The text of an XML part.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let bytes = self.part(name)?;
        let bytes = match String::from_utf8(bytes) {
            Ok(mut text) => {
                if text.starts_with('\u{feff}') {
                    text.remove(0);
                }
                return Some(text);
            }
            Err(error) => error.into_bytes(),
        };
        Some(decode::text(&bytes, declared_encoding(&bytes).as_deref()).into_owned())
    }
}

/// The encoding an XML declaration names (XML 1.0, 4.3.3).
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes));
    let declaration = head.split_once("?>")?.0;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split(quote).next().map(str::to_owned)
}

/// `target` as a part name, when it stands in a part of folder `folder`.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let whole = if target.starts_with('/') { target } else { format!("{folder}/{target}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
