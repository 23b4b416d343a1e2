//! What the columns of delimited load files mean, by the names that the usual platforms give them.

use super::Item;

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Path,
    Text,
    FileName,
    Source,
    ControlNumber,
    Parent,
    Custodian,
    Sha256,
    Other,
}

impl Role {
    /// The role of a column of that name; case, blanks and punctuation make no difference.
    pub(super) fn of(name: &str) -> Self {
        let folded: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        match folded.as_str() {
            "path" | "file" | "filepath" | "nativefile" | "nativepath" | "nativefilepath" | "nativelink" | "native"
            | "itempath" | "link" | "doclink" | "filelink" | "relativepath" => Self::Path,
            "textpath" | "textfile" | "textlink" | "textfilepath" | "extractedtextpath" | "extractedtextfile"
            | "ocrpath" | "ocrtextpath" | "fulltextpath" => Self::Text,
            "filename" | "originalfilename" | "docname" => Self::FileName,
            "source" | "url" | "uri" | "reference" => Self::Source,
            "controlnumber" | "docid" | "documentid" | "begdoc" | "begbates" | "begno" | "begprod" | "prodbeg"
            | "productionbegbates" | "beginbates" | "begbatesnumber" | "bates" | "batesnumber" | "batesbeg"
            | "beginningbates" | "begcontrol" | "id" => Self::ControlNumber,
            "parentid" | "parentdocid" | "parent" | "parentbates" | "begattach" | "attachbeg" | "beginattachment"
            | "batesbegattach" | "begattachment" => Self::Parent,
            "custodian" | "custodianname" | "custodianfullname" => Self::Custodian,
            "sha256" | "sha256hash" | "hashsha256" => Self::Sha256,
            _ => Self::Other,
        }
    }
}

/// An item being made of its fields.
#[derive(Debug, Default)]
pub(super) struct Draft {
    item: Item,
    text: Option<String>,
    file_name: Option<String>,
}

impl Draft {
    /// Takes a field of the column `name`. Empty values say nothing; the first of several columns of one role counts, and
    /// all stay among the fields under their names.
    pub(super) fn take(&mut self, role: Role, name: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        let place = match role {
            Role::Path if self.item.path.is_empty() => {
                value.clone_into(&mut self.item.path);
                return;
            }
            Role::Source => Some(&mut self.item.source),
            Role::ControlNumber => Some(&mut self.item.control_number),
            Role::Parent => Some(&mut self.item.parent),
            Role::Custodian => Some(&mut self.item.custodian),
            Role::Sha256 if is_sha256(value) => {
                self.item.sha256.get_or_insert_with(|| value.to_ascii_lowercase());
                return;
            }
            Role::Text => {
                self.text.get_or_insert_with(|| value.to_owned());
                None
            }
            Role::FileName => {
                self.file_name.get_or_insert_with(|| value.to_owned());
                None
            }
            _ => None,
        };
        match place {
            Some(place @ None) => *place = Some(value.to_owned()),
            _ => drop(self.item.fields.insert(name.to_owned(), value.to_owned())),
        }
    }

    /// The item: its file is the native one, else its text, else what its source or its name say. An item that is attached to
    /// itself is attached to nothing.
    pub(super) fn finish(self) -> Option<Item> {
        let mut item = self.item;
        if item.path.is_empty() {
            let from_source = || item.source.as_deref().map(file_part);
            item.path = self.text.or_else(from_source).or(self.file_name)?;
        }
        if item.parent == item.control_number {
            item.parent = None;
        }
        Some(item)
    }
}

/// What a reference calls the file: the path behind its host or bucket.
fn file_part(source: &str) -> String {
    let behind_scheme = source.split_once("://").map_or(source, |(_, rest)| rest);
    let path = behind_scheme.split(['?', '#']).next().unwrap_or_default();
    path.split_once('/').map_or(path, |(_, path)| path).to_owned()
}

fn is_sha256(value: &str) -> bool {
    value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}
