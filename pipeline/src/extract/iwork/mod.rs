//! Pages, Numbers and Keynote. The pages of a document are those of its preview, a PDF that older programs keep in it. Without
//! one its text is read: from XML as the programs of 2005 to 2009 wrote it ([`xml`]), from the archives of objects that
//! those since 2013 write ([`archive`]).

mod archive;
mod protobuf;
mod snappy;
mod xml;

use std::{io::Read as _, path::Path};

use domain::outcome::{Category, Exception};
use flate2::read::GzDecoder;

use super::{
    Engines, Scans,
    asides::{Aside, Asides},
    corrupt,
    package::Package,
    pdf,
};
use crate::{compose::Composer, passwords::KeyRing};

/// What a document says.
#[derive(Debug, Default)]
struct Found {
    /// What a reader sees, paragraph by paragraph.
    body: Vec<String>,
    /// What only the speaker sees.
    notes: Vec<String>,
    comments: Vec<Aside>,
    title: Option<String>,
    author: Option<String>,
    /// True when there are tables of which only words are known.
    has_numbers: bool,
}

/// Where the XML stands: of Pages and Numbers, and of Keynote.
const INDEX: [&str; 3] = ["index.xml", "index.apxl", SQUEEZED];
const SQUEEZED: &str = "index.apxl.gz";
/// Most bytes of XML that is squeezed once more.
const LARGEST: u64 = 192 << 20;

pub(super) fn read(
    bytes: Vec<u8>,
    engines: &Engines,
    keys: &KeyRing,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    let mut package = Package::open(bytes)?;
    let preview = package.part("QuickLook/Preview.pdf");
    let found = found(&mut package);
    drop(package);
    let shown = preview.is_some_and(|preview| {
        let read = pdf::read(preview, engines, keys, composer, scans);
        read.is_ok() && (!composer.is_blank() || scans.sent > 0)
    });
    let found = match found {
        Ok(found) => found,
        Err(_) if shown => {
            composer.warn(Category::Partial, None, "only the preview could be read; comments and notes may be missing");
            return Ok(());
        }
        Err(exception) => return Err(exception),
    };
    write(found, shown, composer);
    Ok(())
}

fn write(found: Found, shown: bool, composer: &mut Composer) {
    let body = if shown { Vec::new() } else { found.body };
    for paragraph in body.iter().chain(&found.notes) {
        composer.end_line();
        composer.push(paragraph);
        composer.end_line();
    }
    let mut asides = Asides::default();
    asides.extend(found.comments);
    asides.write(composer);
    if !shown && found.has_numbers {
        let detail = "of its tables only the words were read, not the numbers; export it to PDF for those";
        composer.warn(Category::Partial, None, detail);
    }
    composer.metadata.title = found.title.or(composer.metadata.title.take());
    composer.metadata.author = found.author.or(composer.metadata.author.take());
}

fn found(package: &mut Package) -> Result<Found, Exception> {
    let names: Vec<String> = package.names().to_vec();
    let has = |name: &str| names.iter().any(|known| known == name);
    if has(".iwpv2") || has(".iwph") {
        return Err(locked());
    }
    if let Some(name) = INDEX.into_iter().find(|name| has(name)) {
        // A protected document has its parts compressed by methods that no ZIP has.
        let bytes = package.part(name).ok_or_else(locked)?;
        let text = if name == SQUEEZED { unsqueezed(&bytes)? } else { String::from_utf8_lossy(&bytes).into_owned() };
        return xml::read(&text);
    }
    if let Some(index) = package.part("Index.zip") {
        return archive::read(&mut Package::open(index)?);
    }
    if names.iter().any(|name| is_archive(name)) {
        return archive::read(package);
    }
    let detail = "a document of Pages, Numbers or Keynote without anything that can be read here; export it to PDF";
    Err(Exception::new(Category::Unsupported, detail))
}

fn unsqueezed(bytes: &[u8]) -> Result<String, Exception> {
    let mut content = Vec::new();
    let ended = GzDecoder::new(bytes).take(LARGEST).read_to_end(&mut content);
    match ended {
        Err(_) if content.is_empty() => Err(corrupt("the document's text is damaged")),
        // What was inflated before the damage is worth having.
        _ => Ok(String::from_utf8_lossy(&content).into_owned()),
    }
}

fn is_archive(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("iwa"))
}

fn locked() -> Exception {
    Exception::new(Category::Encrypted, "the document is protected by a password, or damaged; take the password off it")
}
