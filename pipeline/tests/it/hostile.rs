//! Hostile and broken files: every one ends as a named exception or a text, and the next file is read as if nothing was.

use domain::outcome::Category;
use pipeline::{Format, Limits, ReadError, Reader};

use crate::machine::{NEVER, category, check, extract, file, limited, reader, unpack};

const FILES: [&str; 22] = [
    "fake_memo.pdf",
    "locked.pdf",
    "turned.pdf",
    "category-level.docx",
    "simple.pptx",
    "excel_multi_sheet.xlsx",
    "testEXCEL.xls",
    "testFooter.ods",
    "test-columnar.xlsb",
    "simple.doc",
    "testOCR.png",
    "mailgun_pdf_attachment.eml",
    "html_only.eml",
    "complex.mbox",
    "fake_email_attachment.msg",
    "testPST_variousBodyTypes.pst",
    "signed_opaque.eml",
    "footnote.rtf",
    "testRTFTIKA_1713.rtf",
    "fake.odt",
    "LibreOfficeImpress_odp_1.3.odp",
    "eng_spa_mult.epub",
];

/// Reads and unpacks; anything but a text or an exception is a failure of ours.
fn survives(reader: &Reader, format: Format, bytes: &[u8], what: &str) {
    match reader.extract(format, what, &mut &bytes[..], &NEVER) {
        Ok(found) => check(&found.text),
        Err(ReadError::Exception(exception)) => assert!(!exception.detail.is_empty(), "{what}"),
        Err(error) => panic!("{what}: {error}"),
    }
    match unpack(reader, format, bytes).0 {
        Ok(_) | Err(ReadError::Exception(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

/// A small repeatable source of noise (xorshift).
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    }
}

fn quick() -> Reader {
    let mut settings = crate::machine::settings();
    // What damaged pictures say is not the question here.
    settings.tesseract = None;
    crate::machine::reader_with(settings)
}

#[test]
fn truncated_files() {
    let reader = quick();
    for name in FILES {
        let bytes = file(name);
        let format = pipeline::identify(&bytes, name).format;
        for part in [1, 10, 50, 90, 99] {
            survives(&reader, format, &bytes[..bytes.len() * part / 100], name);
        }
    }
}

#[test]
fn damaged_files() {
    let reader = quick();
    for (name, seed) in FILES.iter().zip(1..) {
        let bytes = file(name);
        let format = pipeline::identify(&bytes, name).format;
        for round in 0..4 {
            let mut next = noise(seed * 100 + round);
            let mut damaged = bytes.clone();
            for _ in 0..20 {
                let at = (usize::from(next()) << 16 | usize::from(next()) << 8 | usize::from(next())) % damaged.len();
                damaged[at] = next();
            }
            survives(&reader, format, &damaged, name);
        }
    }
}

#[test]
fn noise_in_every_format() {
    let reader = quick();
    for format in Format::ALL {
        for seed in 1..3 {
            let mut next = noise(seed);
            let bytes: Vec<u8> = (0..2000).map(|_| next()).collect();
            survives(&reader, *format, &bytes, format.name());
        }
        if format.is_readable() {
            assert_eq!(
                category(reader.extract(*format, "", &mut &b""[..], &NEVER)),
                Category::Empty,
                "{}",
                format.name()
            );
        }
    }
}

#[test]
fn truncated_and_broken_pdfs_are_named() {
    let bytes = file("fake_memo.pdf");
    assert_eq!(category(extract(&reader(), "a.pdf", &bytes[..200])), Category::Corrupt);
    assert_eq!(category(extract(&reader(), "a.pdf", b"%PDF-1.7\nnothing of the kind")), Category::Corrupt);
}

#[test]
fn nesting_twenty_thousand_deep() {
    let depth = 20_000;
    let reader = quick();
    let page = format!("<html>{}core{}", "<div><b>".repeat(depth), "</b></div>".repeat(depth));
    assert_eq!(extract(&reader, "deep.html", page.as_bytes()).unwrap().text, "core");
    let xml = format!("<?xml version='1.0'?>{}core", "<a>".repeat(depth));
    assert_eq!(extract(&reader, "deep.xml", xml.as_bytes()).unwrap().text, "core");
    let mut message = "From: a@x\nTo: b@x\nSubject: outermost\n".to_owned();
    for level in 0..depth {
        message.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"));
    }
    survives(&reader, Format::Eml, message.as_bytes(), "deep multipart");
    let nested =
        format!("From: a@x\nTo: b@x\n{}Subject: core\n\nhello", "Content-Type: message/rfc822\n\n".repeat(depth));
    survives(&reader, Format::Eml, nested.as_bytes(), "deep messages");
    let pdf = format!(
        "%PDF-1.4\n1 0 obj\n{}{}\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF",
        "[".repeat(depth),
        "]".repeat(depth)
    );
    survives(&reader, Format::Pdf, pdf.as_bytes(), "deep arrays");
    let dictionaries =
        format!("%PDF-1.4\n1 0 obj\n{}\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF", "<< /A ".repeat(depth));
    survives(&reader, Format::Pdf, dictionaries.as_bytes(), "deep dictionaries");
}

#[test]
fn a_gigapixel_picture_is_refused_by_its_header() {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(40_000_u32.to_be_bytes());
    header.extend(30_000_u32.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    png.extend(13_u32.to_be_bytes());
    png.extend(&header);
    png.extend(crc32(&header).to_be_bytes());
    png.extend(b"\0\0\0\x04IDAT\0\0\0\0");
    png.extend(crc32(b"IDAT\0\0\0\0").to_be_bytes());
    assert_eq!(category(extract(&reader(), "huge.png", &png)), Category::TooLarge);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[test]
fn entities_are_not_expanded() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;'><!ENTITY x SYSTEM 'file:///etc/passwd'>]><l>&b;&x;</l>";
    let text = extract(&reader(), "bomb.xml", bomb.as_bytes()).unwrap();
    assert!(!text.text.contains("lollol") && !text.text.contains("root:"), "{}", text.text);
}

#[test]
fn limits_on_size_text_and_pages() {
    let small = limited(Limits { max_document_bytes: 10, ..Limits::default() });
    assert_eq!(category(extract(&small, "a.txt", b"more than ten bytes")), Category::TooLarge);
    let brief = limited(Limits { max_text_bytes: 4, ..Limits::default() });
    let text = extract(&brief, "a.txt", b"more than four bytes").unwrap();
    assert_eq!((text.text.as_str(), text.warnings[0].category), ("more", Category::TooLarge));
    let one_page = limited(Limits { max_pages: 1, ..Limits::default() });
    let text = extract(&one_page, "a.xlsx", &file("excel_multi_sheet.xlsx")).unwrap();
    assert_eq!((text.pages.len(), text.warnings[0].category), (1, Category::TooLarge));
}

#[test]
fn a_poisoned_neighbour_changes_nothing() {
    let reader = reader();
    let before = extract(&reader, "a.docx", &file("category-level.docx")).unwrap();
    let _ = reader.probe("stack", &NEVER);
    let _ = reader.extract(Format::Docx, "x", &mut &file("simple.doc")[..], &NEVER);
    assert_eq!(extract(&reader, "a.docx", &file("category-level.docx")).unwrap(), before);
}

/// A TIFF of many pages that all show the same strip, uncompressed, one bit a pixel.
fn scan_of(pages: u32, width: u32, height: u32) -> Vec<u8> {
    let strip = vec![0xa5; (width / 8 * height) as usize];
    let mut bytes = [b"II*\0".to_vec(), vec![0; 4], strip].concat();
    let mut link = 4;
    for _ in 0..pages {
        let here = u32::try_from(bytes.len()).unwrap();
        bytes[link..link + 4].copy_from_slice(&here.to_le_bytes());
        let entries: [(u16, u32); 8] = [
            (256, width),
            (257, height),
            (258, 1),
            (259, 1),
            (262, 1),
            (273, 8),
            (278, height),
            (279, width / 8 * height),
        ];
        bytes.extend(8_u16.to_le_bytes());
        for (tag, value) in entries {
            bytes.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
            bytes.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
        }
        link = bytes.len();
        bytes.extend([0; 4]);
    }
    bytes
}

#[test]
fn a_long_scan_takes_the_memory_of_a_page() {
    // Two hundred megabytes of pixels, a page at a time, where there is room for less than half of it.
    let limits = Limits { memory_bytes: 176 << 20, max_document_bytes: 8 << 20, ..Limits::default() };
    let settings = pipeline::Settings { tesseract: None, limits, ..crate::machine::settings() };
    let reader = crate::machine::reader_with(settings);
    let scan = scan_of(200, 1_024, 1_024);
    match reader.extract(Format::Tiff, "scan.tif", &mut &scan[..], &NEVER) {
        Err(ReadError::Exception(exception)) => assert_eq!(exception.category, Category::OcrUnavailable),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reader_that_stops_at_scans_says_so() {
    let reader = reader();
    let read = |name: &str, reader: &Reader| reader.extract(Format::Png, name, &mut &file(name)[..], &NEVER);
    assert!(matches!(read("testOCR.png", &reader.stopping_at_scans()), Err(ReadError::Scanned)));
    assert!(read("testOCR.png", &reader).is_ok());
    let letter = &mut &file("category-level.docx")[..];
    assert!(reader.stopping_at_scans().extract(Format::Docx, "letter.docx", letter, &NEVER).is_ok());
}
