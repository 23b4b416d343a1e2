//! Pages, Numbers and Keynote: by their preview, by their XML, by their archives of objects.

use domain::outcome::Category;
use pipeline::{Format, ReadError, identify};

use crate::{
    containers::zip,
    machine::{category, extract, file, reader},
};

#[test]
fn a_document_of_2013_is_one_document_with_its_words() {
    let bytes = file("testPages2013.pages");
    let found = identify(&bytes, "testPages2013.pages");
    assert_eq!((found.format, found.extension_mismatch), (Format::Iwork, false));
    assert!(!Format::Iwork.is_container());
    let text = extract(&reader(), "testPages2013.pages", &bytes).unwrap();
    for words in ["Sample pages document", "Some plain text to parse.", "A text box with text.", "Cell nine"] {
        assert!(text.text.contains(words), "{words} in {}", text.text);
    }
    assert!(text.text.starts_with("Sample pages document"), "{}", text.text);
    assert_eq!(text.warnings[0].category, Category::Partial);
}

#[test]
fn a_document_of_2009_is_shown_as_its_preview_with_its_comments() {
    let bytes = file("testPagesComments.pages");
    assert_eq!(identify(&bytes, "").format, Format::Iwork);
    let text = extract(&reader(), "a.pages", &bytes).unwrap();
    assert!(text.pages.iter().any(|page| !page.words.is_empty()), "the preview's words have places");
    assert!(text.text.contains("[Comment] comment about the APXL file here!!"), "{}", text.text);
    assert_eq!(text.metadata.title.as_deref(), Some("Pages test data with comments"));
    assert_eq!(text.metadata.author.as_deref(), Some("Gabriel Valencia"));
}

#[test]
fn a_document_of_2009_without_a_preview_is_read_from_its_text() {
    let text = extract(&reader(), "a.pages", &file("testPagesHeadersFootersRomanLower.pages")).unwrap();
    assert!(text.text.contains("THIS IS SOME HEADER TEXT"), "{}", text.text);
    assert!(!text.text.contains("Lorem ipsum"), "what stands where nothing was written yet");
    assert!(text.text.contains("Footnote: "), "{}", text.text);
}

#[test]
fn a_protected_document_is_named() {
    let bytes = file("testPagesPwdProtected.pages");
    assert_eq!(identify(&bytes, "a.pages").format, Format::Iwork);
    assert_eq!(category(extract(&reader(), "a.pages", &bytes)), Category::Encrypted);
    let newer = zip(&[("Index/Document.iwa", b"\x01\x02"), (".iwpv2", b"check")]);
    assert_eq!(category(extract(&reader(), "a.key", &newer)), Category::Encrypted);
}

#[test]
fn presentations_and_tables_of_2009() {
    let show = "<?xml version='1.0'?><key:presentation xmlns:key='k' xmlns:sf='s' xmlns:sfa='a'><key:metadata><key:title>\
        <key:string sfa:string='Plan'/></key:title></key:metadata><key:master-slides><sf:text-storage><sf:p>Double-click to edit</sf:p>\
        </sf:text-storage></key:master-slides><key:slide-list><key:slide><sf:text-storage sf:kind='body'><sf:text-body>\
        <sf:p>First<sf:br/>point &amp; more</sf:p></sf:text-body></sf:text-storage><key:notes><sf:text-storage sf:kind='note'>\
        <sf:text-body><sf:p>Say it slowly</sf:p></sf:text-body></sf:text-storage></key:notes></key:slide></key:slide-list>\
        <sf:grid><sf:t><sf:ct sfa:s='Rent'/></sf:t><sf:n sf:v='1250.5'/></sf:grid></key:presentation>";
    let bytes = zip(&[("index.apxl", show.as_bytes())]);
    assert_eq!(identify(&bytes, "a.key").format, Format::Iwork);
    let text = extract(&reader(), "a.key", &bytes).unwrap();
    assert_eq!(text.text, "First\npoint & more\nRent\n1250.5\nSay it slowly");
    assert_eq!(text.metadata.title.as_deref(), Some("Plan"));
}

/// An archive of one object of that kind, uncompressed within its block.
fn archive(kind: u8, message: &[u8]) -> Vec<u8> {
    // Kinds above 127 take two bytes.
    let described = [vec![0x08, 0x80 | (kind & 0x7f), 0x0f, 0x18], vec![u8::try_from(message.len()).unwrap()]].concat();
    let info = [vec![0x08, 1, 0x12, u8::try_from(described.len()).unwrap()], described].concat();
    let content = [vec![u8::try_from(info.len()).unwrap()], info, message.to_vec()].concat();
    let length = u8::try_from(content.len()).unwrap();
    let block = [vec![length, 0xf0, length - 1], content].concat();
    [vec![0, u8::try_from(block.len()).unwrap(), 0, 0], block].concat()
}

#[test]
fn slides_come_in_the_order_of_their_numbers() {
    // 2001 is 0x7d1: 0x51 and 0x0f.
    let slide = |text: &str| {
        archive(0x51, &[b"\x1a".as_slice(), &[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
    };
    let (ten, nine, master) = (slide("tenth"), slide("ninth"), slide("Double-click to edit"));
    let bytes =
        zip(&[("Index/Slide-10.iwa", &ten), ("Index/Slide-9.iwa", &nine), ("Index/MasterSlide-1.iwa", &master)]);
    assert_eq!(extract(&reader(), "a.key", &bytes).unwrap().text, "ninth\ntenth");
    // The same a level deeper.
    let deeper = zip(&[("Index.zip", &bytes), ("Metadata/BuildVersionHistory.plist", b"<plist/>")]);
    assert_eq!(identify(&deeper, "").format, Format::Iwork);
    assert_eq!(extract(&reader(), "a.key", &deeper).unwrap().text, "ninth\ntenth");
}

#[test]
fn hostile_documents() {
    let endless = [vec![0, 12, 0, 0], b"\xff\xff\xff\x7f\x00a\xfe\x01\x00\xfe\x01\x00".to_vec()].concat();
    let noise: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    for (name, content) in [("Index/Document.iwa", &endless), ("Index/Document.iwa", &noise), ("index.apxl.gz", &noise)]
    {
        let read = extract(&reader(), "a.key", &zip(&[(name, content)]));
        assert_eq!(category(read), Category::Corrupt, "{name}");
    }
    let bare = zip(&[("index.xml", b""), ("QuickLook/Thumbnail.jpg", b"")]);
    assert!(matches!(extract(&reader(), "a.pages", &bare), Err(ReadError::Exception(_))));
    let whole = file("testPages2013.pages");
    for at in (30..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        match extract(&reader(), "a.pages", &bytes) {
            Ok(_) => {}
            Err(ReadError::Exception(exception)) => assert_ne!(exception.category, Category::Crashed, "{at}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}
