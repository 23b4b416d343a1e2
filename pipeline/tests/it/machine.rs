//! A reader on this machine: the test child program, PDFium and tesseract where they are installed.

use std::{io, path::PathBuf, sync::atomic::AtomicBool};

use domain::{
    outcome::{Category, Exception},
    text::Text,
};
use pipeline::{Format, Limits, MemberHead, MemberSink, ReadError, Reader, Settings, Unpacked, identify};
use zeroize::Zeroizing;

pub static NEVER: AtomicBool = AtomicBool::new(false);

pub fn settings() -> Settings {
    let (path, home) = (std::env::var("PATH").ok(), std::env::var("HOME").ok());
    let pdfium_library = std::env::var("DIA_PDFIUM_LIBRARY").ok().map(PathBuf::from);
    Settings { pdfium_library, ..Settings::default() }.discover(path.as_deref(), home.as_deref())
}

pub fn reader() -> Reader {
    reader_with(settings())
}

pub fn reader_with(settings: Settings) -> Reader {
    Reader::new(settings, PathBuf::from(env!("CARGO_BIN_EXE_dia-reader")), Vec::new())
}

pub fn limited(limits: Limits) -> Reader {
    reader_with(Settings { limits, ..settings() })
}

/// Candidate passwords.
pub fn secrets(passwords: &[&str]) -> Vec<Zeroizing<String>> {
    passwords.iter().map(|one| Zeroizing::new((*one).to_owned())).collect()
}

pub fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn extract(reader: &Reader, name: &str, bytes: &[u8]) -> Result<Text, ReadError> {
    let format = identify(bytes, name).format;
    let text = reader.extract(format, name, &mut &bytes[..], &NEVER)?.text;
    check(&text);
    Ok(text)
}

pub fn category<T: std::fmt::Debug>(result: Result<T, ReadError>) -> Category {
    match result {
        Err(ReadError::Exception(exception)) => exception.category,
        other => panic!("expected an exception, got {other:?}"),
    }
}

/// What every text must hold, whatever the file.
pub fn check(text: &Text) {
    // Text::slice walks from the start each time; over every word of a book that adds up.
    let all: Vec<char> = text.text.chars().collect();
    let scalars = domain::text::scalars(&text.text);
    assert!(!text.text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "control characters");
    let mut at = 0;
    for (page, number) in text.pages.iter().zip(1..) {
        assert_eq!(page.number, number);
        assert!(page.start >= at && page.end >= page.start && page.end <= scalars, "page {number} out of place");
        at = page.end;
        let mut word_at = page.start;
        for word in &page.words {
            assert!(
                word.start >= word_at && word.end > word.start && word.end <= page.end,
                "word out of place on page {number}"
            );
            assert!(!all[word.start as usize..word.end as usize].iter().any(|scalar| scalar.is_whitespace()));
            word_at = word.end;
        }
    }
    for heading in &text.headings {
        assert!(heading.start < heading.end && heading.end <= scalars, "heading out of place");
    }
}

#[derive(Debug, Default)]
pub struct Members(pub Vec<(MemberHead, Vec<u8>, Option<Exception>)>);

impl MemberSink for Members {
    fn begin(&mut self, member: &MemberHead) -> io::Result<()> {
        self.0.push((member.clone(), Vec::new(), None));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().unwrap().1.extend(bytes);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn failed(&mut self, exception: Exception) -> io::Result<()> {
        self.0.last_mut().unwrap().2 = Some(exception);
        Ok(())
    }
}

pub fn unpack(reader: &Reader, format: Format, bytes: &[u8]) -> (Result<Unpacked, ReadError>, Members) {
    let mut members = Members::default();
    let result = reader.unpack(format, "container", &mut &bytes[..], &mut members, &NEVER);
    (result, members)
}
