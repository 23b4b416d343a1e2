//! Pictures: every way to compress a page, what cameras write beside it, which side is up, and how sure recognition is.

use std::io::Cursor;

use domain::{outcome::Category, text::Text};
use image::{DynamicImage, ImageFormat};
use pipeline::{Format, ReadError, Settings};

use crate::{
    around::docx,
    containers::zip,
    machine::{NEVER, category, extract, file, reader, reader_with, settings},
};

const LINES: &str = "The quick brown fox jumps\nover the lazy dog in March";

fn png(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The lines of a text as a person reads them.
fn lines(text: &Text) -> String {
    text.text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_compression_of_a_page() {
    for name in ["group3.tif", "group3_2d.tif", "run_lengths.tif", "group4.tif", "subsampled.tif", "palette.tif"] {
        let text = extract(&reader(), name, &file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(lines(&text), LINES, "{name}");
        assert_eq!(text.pages[0].size, Some((273.6, 54.0)), "{name}");
    }
    let text = extract(&reader(), "pages.tif", &file("lzw_pages.tif")).unwrap();
    assert_eq!(text.pages.len(), 2);
    assert_eq!(lines(&text), format!("{LINES}\nsecond page about rent"));
}

#[test]
fn damaged_faxes_and_palettes_end() {
    let blind = reader_with(Settings { tesseract: None, ..settings() });
    for name in ["group3.tif", "group3_2d.tif", "run_lengths.tif", "subsampled.tif", "palette.tif"] {
        let whole = file(name);
        for at in (8..whole.len()).step_by(whole.len() / 40) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _ = extract(&blind, name, &bytes);
            let _ = extract(&blind, name, &whole[..at]);
        }
    }
}

#[test]
fn what_a_camera_says() {
    let text = extract(&reader(), "sideways.jpg", &file("sideways.jpg")).unwrap();
    assert_eq!(lines(&text), LINES, "it is turned as its orientation says");
    let metadata = &text.metadata;
    assert_eq!(metadata.author.as_deref(), Some("Jane Roe"));
    assert_eq!(metadata.created_at.unwrap().rfc3339(), "2009-08-11T07:09:45Z");
    assert_eq!(metadata.modified_at.unwrap().rfc3339(), "2009-10-02T23:02:49Z");
    for (name, value) in [
        ("camera", "Canon EOS 40D"),
        ("gps", "-12.53750, -99.45750"),
        ("software", "Darkroom 3"),
        ("description", "A fox"),
    ] {
        assert_eq!(metadata.extra.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_photograph_without_words_is_found_by_what_it_says() {
    let jpeg = file("sideways.jpg");
    let mut blank = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(200, 100).write_to(&mut blank, ImageFormat::Jpeg).unwrap();
    let blank = blank.into_inner();
    assert_eq!(category(extract(&reader(), "blank.jpg", &blank)), Category::NoText);
    // The camera's segment, with its length.
    let at = jpeg.windows(2).position(|mark| mark == [0xff, 0xe1]).unwrap();
    let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    let photograph = [&blank[..2], &jpeg[at..at + 2 + length], &blank[2..]].concat();
    let text = extract(&reader(), "photograph.jpg", &photograph).unwrap();
    assert_eq!(
        text.text,
        "[Photograph] taken 2009-08-11T07:09:45Z; at -12.53750, -99.45750; Canon EOS 40D; by Jane Roe; A fox"
    );
    assert_eq!((text.pages[0].asides, text.warnings[0].category), (Some(0), Category::NoText));
}

#[test]
fn pictures_on_their_side_and_upside_down() {
    let upright = image::load_from_memory(&file("testOCR.png")).unwrap();
    let plain = extract(&reader(), "upright.png", &file("testOCR.png")).unwrap();
    let (width, height) = plain.pages[0].size.unwrap();
    for (turned, name) in
        [(upright.rotate90(), "right"), (upright.rotate180(), "upside down"), (upright.rotate270(), "left")]
    {
        let text = extract(&reader(), "turned.png", &png(&turned)).unwrap();
        assert_eq!(lines(&text), lines(&plain), "{name}");
        let expected = if name == "upside down" { (width, height) } else { (height, width) };
        assert_eq!(text.pages[0].size, Some(expected), "boxes are of the picture as it is");
        let inside = |word: &domain::text::Word| word.bbox[2] <= expected.0 + 1.0 && word.bbox[3] <= expected.1 + 1.0;
        assert!(text.pages[0].words.iter().all(inside), "{name}");
    }
}

#[test]
fn every_recognised_word_says_how_sure_it_is() {
    let text = extract(&reader(), "testOCR.png", &file("testOCR.png")).unwrap();
    let sure: Vec<u8> = text.pages[0].words.iter().map(|word| word.confidence.unwrap()).collect();
    assert!(sure.iter().all(|sure| *sure <= 100) && sure.iter().any(|sure| *sure > 80), "{sure:?}");
    let native = extract(&reader(), "memo.pdf", &file("fake_memo.pdf")).unwrap();
    assert!(native.pages[0].words.iter().all(|word| word.confidence.is_none()));
}

#[test]
fn pictures_of_telephones_and_old_letters_are_named() {
    for (bytes, said) in
        [(&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIF"), (b"\xffWPC\x95\x06\0\0\x01\x0a", "WordPerfect")]
    {
        let error = extract(&reader(), "a", bytes).unwrap_err();
        assert!(
            error.to_string().starts_with("unsupported: no reader for ") && error.to_string().contains(said),
            "{error}"
        );
    }
}

/// A letter with pictures beside its text.
fn letter(text: &str, pictures: &[(&str, &[u8])]) -> Vec<u8> {
    docx(&format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"), pictures)
}

#[test]
fn scans_in_office_documents_are_read() {
    let scan = file("testOCR.png");
    let picture = image::load_from_memory(&scan).unwrap();
    let (small, blank) = (png(&picture.thumbnail(500, 500)), png(&DynamicImage::new_rgb8(1000, 1000)));
    let said = "This file contains some words.";
    let pictures: [(&str, &[u8]); 5] = [
        ("word/media/image10.png", &scan),
        ("word/media/image2.png", &scan),
        ("word/media/image3.png", &small),
        ("word/media/image4.png", &blank),
        ("word/media/image5.png", &scan[..scan.len() / 2]),
    ];
    let bytes = letter("Exhibit A is attached.", &pictures);
    let text = extract(&reader(), "a.docx", &bytes).unwrap();
    let pages: Vec<(Option<&str>, &str)> = text
        .pages
        .iter()
        .map(|page| (page.label.as_deref(), text.slice(page.start..page.end).unwrap().trim()))
        .collect();
    assert_eq!(
        pages,
        [(None, "Exhibit A is attached."), (Some("image2.png"), said), (Some("image10.png"), said)],
        "as large as part of a page, in their order"
    );
    assert_eq!(text.warnings, []);
    // Where there is no other text, smaller ones count.
    let alone = extract(&reader(), "a.docx", &letter("", &[("word/media/image1.png", &small)])).unwrap();
    assert_eq!(lines(&alone), said);
    // The same in a presentation's package and in OpenDocument.
    let text = extract(&reader(), "a.odt", &open_document("<text:p>See below.</text:p>", &scan)).unwrap();
    assert_eq!(lines(&text), format!("See below.\n{said}"));

    let stopping = reader().stopping_at_scans();
    let first = stopping.extract(Format::Docx, "a.docx", &mut &bytes[..], &NEVER);
    assert!(matches!(first, Err(ReadError::Scanned)), "{first:?}");
    let off = reader_with(Settings { picture_pixels: 0, ..settings() });
    assert_eq!(extract(&off, "a.docx", &bytes).unwrap().text, "Exhibit A is attached.");
    let blind = reader_with(Settings { tesseract: None, ..settings() });
    assert_eq!(extract(&blind, "a.docx", &bytes).unwrap().text, "Exhibit A is attached.");
    assert_eq!(category(extract(&blind, "a.docx", &letter("", &pictures))), Category::OcrUnavailable);
    assert_eq!(category(extract(&reader(), "a.docx", &letter("", &[pictures[3]]))), Category::NoText);
}

fn open_document(body: &str, picture: &[u8]) -> Vec<u8> {
    let content = format!(
        "<office:document-content xmlns:office='o' xmlns:text='t'><office:body><office:text>{body}</office:text></office:body></office:document-content>"
    );
    zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("content.xml", content.as_bytes()),
        ("Pictures/100002010000.png", picture),
    ])
}
