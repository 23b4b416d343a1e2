//! PDF by two engines: PDFium where its library is installed, `pdf_oxide` always. A page whose text fails the quality gate
//! gets a second opinion from the other engine; a page that still has no text is rendered for OCR.
//!
//! Measured on 561 files (word F1 against poppler and PDFium where they agree): PDFium `chars()` 0.987, `pdf_oxide` 0.957,
//! the better of both per file leaves none under 0.5.

mod attached;
mod beside;
mod builtin;
mod draft;
mod objects;
mod pdfium;
mod xfa;

use std::{
    cell::OnceCell,
    panic::{self, AssertUnwindSafe},
};

use domain::{
    clock::Timestamp,
    outcome::{Category, Exception},
};
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

pub(crate) use self::attached::{AttachedFile, attached_files};
use self::{
    beside::Beside,
    builtin::Builtin,
    draft::{Draft, Frame},
};
use super::{Scans, corrupt};
use crate::{compose::Composer, format::Format, passwords::KeyRing, settings::Settings, sniff::find};

/// Engines that must be loaded before the sandbox closes.
pub(crate) struct Engines {
    pdfium: Option<pdfium_render::prelude::Pdfium>,
}

impl Engines {
    /// Loads what `format` needs. A library that cannot be loaded is as good as absent.
    pub(crate) fn load(format: Format, settings: &Settings) -> Self {
        let wanted = settings.pdfium_library.as_deref().filter(|_| matches!(format, Format::Pdf | Format::Iwork));
        Self { pdfium: wanted.and_then(pdfium::load) }
    }

    pub(crate) fn none() -> Self {
        Self { pdfium: None }
    }
}

pub(super) fn read(
    bytes: Vec<u8>,
    engines: &Engines,
    keys: &KeyRing,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    let cut_short = is_cut_short(&bytes);
    read_pages(bytes, engines, keys, composer, scans)?;
    if cut_short && composer.is_blank() && scans.sent == 0 {
        return Err(corrupt("the file ends early and nothing of it can be read"));
    }
    if cut_short {
        composer.warn(Category::Partial, None, "the file ends without an end mark; pages may be missing");
    }
    Ok(())
}

/// True when the end mark of every PDF is not where writers put it (ISO 32000-1, 7.5.5), give or take what mail programs append.
fn is_cut_short(bytes: &[u8]) -> bool {
    let tail = bytes.get(bytes.len().saturating_sub(4096)..).unwrap_or_default();
    find(tail, b"%%EOF").is_none() && find(tail, b"startxref").is_none()
}

fn read_pages(
    bytes: Vec<u8>,
    engines: &Engines,
    keys: &KeyRing,
    composer: &mut Composer,
    scans: &mut Scans<'_>,
) -> Result<(), Exception> {
    let Some(library) = &engines.pdfium else {
        return read_builtin(&Builtin::open(bytes, keys)?, composer, scans);
    };
    let refused = match pdfium::open(library, &bytes, keys) {
        Ok(document) => return pdfium::read(&document, &bytes, keys, composer, scans),
        Err(exception) if exception.category == Category::Encrypted => return Err(exception),
        Err(exception) => exception,
    };
    // pdf_oxide repairs some files that PDFium gives up on.
    match Builtin::open(bytes, keys) {
        Ok(document) => read_builtin(&document, composer, scans),
        Err(second) if second.category == Category::Encrypted => Err(second),
        Err(_) => Err(refused),
    }
}

fn read_builtin(document: &Builtin, composer: &mut Composer, scans: &mut Scans<'_>) -> Result<(), Exception> {
    composer.metadata = document.metadata();
    let mut beside = Beside::default();
    beside.outline(document);
    for index in 0..document.pages() {
        let frame = document.frame(index);
        if composer.is_full() || !composer.begin_page(Some(frame.size()), None) {
            break;
        }
        let draft = document.page(index, &frame);
        let readable = draft.as_ref().is_some_and(Draft::is_readable);
        match draft {
            Some(draft) if readable => draft.write(composer),
            Some(draft) => {
                draft.write(composer);
                if let Some((image, dpi)) = document.scan(index, &frame, scans.settings) {
                    scans.recognise(composer, image, dpi)?;
                }
            }
            None => unreadable(composer),
        }
        beside.page(document, index, false, composer);
    }
    beside.form(document, composer);
    Ok(())
}

/// What `work` gives, or nothing when the built-in engine panics: what else was read must not go down with it.
fn guarded<T: Default>(work: impl FnOnce() -> T) -> T {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_default()
}

fn unreadable(composer: &mut Composer) {
    let page = composer.page_number();
    composer.warn(Category::Partial, Some(page), "the page could not be read");
}

/// The other engine's view of a page; opened on first need. It must not take the first engine's result down with it.
struct SecondOpinion<'a> {
    bytes: &'a [u8],
    keys: &'a KeyRing,
    document: OnceCell<Option<Builtin>>,
}

/// The other engine copies the file, so beyond this many bytes it is not asked.
const LARGEST_FOR_TWO: usize = 128 << 20;

impl SecondOpinion<'_> {
    fn document(&self) -> Option<&Builtin> {
        let (bytes, keys) = (self.bytes, self.keys);
        let open = || guarded(|| Builtin::open(bytes.to_vec(), keys).ok());
        let document = self.document.get_or_init(|| (bytes.len() <= LARGEST_FOR_TWO).then(open).flatten());
        document.as_ref()
    }

    fn page(&self, index: usize, frame: &Frame) -> Option<Draft> {
        let document = self.document()?;
        guarded(|| document.page(index, frame))
    }
}

/// A PDF date, `D:YYYYMMDDHHmmSSOHH'mm'` with everything after the year optional (ISO 32000-1, 7.9.4).
fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_start_matches("D:");
    let digits: String = text.chars().take_while(char::is_ascii_digit).take(14).collect();
    let part =
        |from: usize, to: usize, default: u8| digits.get(from..to).map_or(Some(default), |part| part.parse().ok());
    let year: i32 = digits.get(..4)?.parse().ok()?;
    let day = Date::from_calendar_date(year, Month::try_from(part(4, 6, 1)?).ok()?, part(6, 8, 1)?).ok()?;
    let clock = Time::from_hms(part(8, 10, 0)?, part(10, 12, 0)?, part(12, 14, 0)?).ok()?;
    let zone = text.get(digits.len()..).unwrap_or_default();
    let number = |from: usize, to: usize| zone.get(from..to).and_then(|part| part.parse::<i8>().ok()).unwrap_or(0);
    let (hours, minutes) = (number(1, 3), number(4, 6));
    let offset = match zone.chars().next() {
        Some('+') => UtcOffset::from_hms(hours, minutes, 0).ok()?,
        Some('-') => UtcOffset::from_hms(hours.saturating_neg(), minutes.saturating_neg(), 0).ok()?,
        _ => UtcOffset::UTC,
    };
    let moment = PrimitiveDateTime::new(day, clock).assume_offset(offset);
    Some(Timestamp(moment.unix_timestamp().saturating_mul(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_length() {
        let cases = [
            ("D:20240131093000+01'00'", Some("2024-01-31T08:30:00Z")),
            ("D:20240131093000-05'30", Some("2024-01-31T15:00:00Z")),
            ("D:20240131093000Z", Some("2024-01-31T09:30:00Z")),
            ("D:2024", Some("2024-01-01T00:00:00Z")),
            ("202401", Some("2024-01-01T00:00:00Z")),
            ("D:20241399", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text).map(Timestamp::rfc3339).as_deref(), expected, "{text}");
        }
    }
}
