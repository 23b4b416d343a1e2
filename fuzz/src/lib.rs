//! What the targets share: reading bytes as a format, and what must hold of every text and every passage, whatever the bytes.

use std::{
    io::{Cursor, Write as _},
    panic,
    sync::Once,
};

use domain::text::{Chunk, Text};
use pipeline::{Format, fuzz, identify};
use zip::{ZipWriter, write::SimpleFileOptions};

/// Reads `bytes` as `format`, both ways a child reads them.
pub fn read(format: Format, name: &str, bytes: &[u8]) {
    let_caught_panics_pass();
    let _ = fuzz::unpack(format, bytes.to_vec());
    if let Ok(text) = fuzz::extract(format, name, bytes.to_vec()) {
        check(&text);
    }
}

/// libFuzzer's hook ends the process at every panic, also at those of a foreign parser that the pipeline catches and names
/// `corrupt`. With this one only those end it that come out of the target.
fn let_caught_panics_pass() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
}

/// Reads `bytes` as what they are, if that is one of `formats`.
pub fn read_as_found(formats: &[Format], bytes: &[u8]) {
    let found = identify(bytes, "").format;
    if formats.contains(&found) {
        read(found, "", bytes);
    }
}

/// A package of one part, and `others`, so that the fuzzer need not guess checksums. What is a package already stays as it is.
pub fn package(part: &str, content: &[u8], others: &[(&str, &str)]) -> Vec<u8> {
    if content.starts_with(b"PK") {
        return content.to_vec();
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in others.iter().map(|(name, text)| (*name, text.as_bytes())).chain([(part, content)]) {
        writer.start_file(name, stored).expect("a name");
        writer.write_all(bytes).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

/// What holds of every text.
pub fn check(text: &Text) {
    let all: Vec<char> = text.text.chars().collect();
    let scalars = all.len() as u32;
    assert!(!all.iter().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "control characters");
    let mut at = 0;
    for (page, number) in text.pages.iter().zip(1..) {
        assert_eq!(page.number, number);
        assert!(page.start >= at && page.end >= page.start && page.end <= scalars, "page {number} is out of place");
        assert!(page.asides.is_none_or(|asides| (page.start..page.end).contains(&asides)), "asides of page {number}");
        at = page.end;
    }
    for heading in &text.headings {
        assert!(heading.start < heading.end && heading.end <= scalars, "a heading is out of place");
    }
    check_passages(text, &all, &pipeline::chunk::chunks(text, 800));
}

/// What holds of the passages of a text: every scalar that is not blank stands in one of them, in order.
pub fn check_passages(text: &Text, all: &[char], passages: &[Chunk]) {
    let blank = |from: usize, to: usize| all[from..to].iter().all(|scalar| scalar.is_whitespace());
    let mut at = 0;
    for (passage, ordinal) in passages.iter().zip(0..) {
        let (start, end) = (passage.start as usize, passage.end as usize);
        assert_eq!(passage.ordinal, ordinal);
        assert!(start >= at && end > start, "passage {ordinal} is out of place");
        assert!(blank(at, start), "words are left out before passage {ordinal}");
        assert!(passage.text.chars().eq(all[start..end].iter().copied()), "passage {ordinal} says something else");
        let pages = text.pages.len().max(1) as u32;
        assert!(passage.first_page >= 1 && passage.first_page <= passage.last_page && passage.last_page <= pages);
        at = end;
    }
    assert!(blank(at, all.len()), "words are left out at the end");
}
