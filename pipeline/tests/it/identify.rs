//! Formats by their bytes, whatever the name says.

use pipeline::{Format, identify};

use crate::machine::file;

#[test]
fn real_files_without_their_names() {
    let cases = [
        ("fake_memo.pdf", Format::Pdf),
        ("testOCR.png", Format::Png),
        ("testTIFF_multipage.tif", Format::Tiff),
        ("category-level.docx", Format::Docx),
        ("simple.pptx", Format::Pptx),
        ("excel_multi_sheet.xlsx", Format::Xlsx),
        ("testEXCEL.xls", Format::Xls),
        ("testFooter.ods", Format::Ods),
        ("test-columnar.xlsb", Format::Xlsb),
        ("simple.doc", Format::Doc),
        ("testPPT_macros.ppt", Format::Ppt),
        ("mailgun_pdf_attachment.eml", Format::Eml),
        ("complex.mbox", Format::Mbox),
        ("fake_email_attachment.msg", Format::Msg),
        ("testPST_variousBodyTypes.pst", Format::Pst),
        ("testPPT_protected_passtika.pptx", Format::EncryptedOffice),
    ];
    for (name, format) in cases {
        let bytes = file(name);
        assert_eq!(identify(&bytes, "").format, format, "{name}");
        let named = identify(&bytes, name);
        assert_eq!((named.format, named.extension_mismatch), (format, false), "{name}");
        assert!(identify(&bytes, "holiday.jpg").extension_mismatch, "{name}");
    }
}

#[test]
fn text_by_its_grammar() {
    let cases: [(&[u8], &str, Format); 18] = [
        (b"", "a.pdf", Format::Empty),
        (b"<!DOCTYPE html><p>x", "a.txt", Format::Html),
        (b"\xef\xbb\xbf  <HTML><body>", "", Format::Html),
        (b"<?xml version='1.0'?><a/>", "", Format::Xml),
        (b"From: a@b.c\nSubject: x\n\nbody", "", Format::Eml),
        (b"Content-Type: multipart/signed; boundary=b\n\n--b\n", "smime.p7m", Format::Eml),
        (b"Subject: minutes of the meeting\n\nNote: nothing", "notes.txt", Format::Text),
        (b"From a@b.c Mon Jun 1\nFrom: a@b.c\nTo: b\n\nx", "", Format::Mbox),
        (b"From here on the parties agree:\nNothing", "", Format::Text),
        (b"a,b\n1,2\n3,4\n", "", Format::Csv),
        (b"a,b\n\"x, n=1\",2\n3,4\n", "", Format::Csv),
        (b"<h3 class=\"x\">Bilanz</h3>", "", Format::Html),
        (b"{\\pard \\ql words\\par}", "", Format::Rtf),
        (b"# Title\n\ntext", "readme.md", Format::Markdown),
        (b"It was agreed, as follows.\nSecond line, too.\nThird.", "", Format::Text),
        (b"\0\x01\x02\x03\x04", "a.txt", Format::Unknown),
        (b"BMW is a car maker", "", Format::Text),
        (b"\xff\xfeh\0e\0l\0l\0o\0", "", Format::Text),
    ];
    for (bytes, name, format) in cases {
        assert_eq!(identify(bytes, name).format, format, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn formats_have_distinct_names() {
    for format in Format::ALL {
        assert_eq!(Format::parse(format.name()), Some(*format));
        assert_eq!(
            serde_json::to_value(format).unwrap().as_str().and_then(|_| Format::parse(format.name())),
            Some(*format)
        );
    }
}

#[test]
fn what_has_no_reader_has_a_name() {
    let cases: [(&[u8], Format); 13] = [
        (b"ID3\x03\0\0\0\0\0\x21TIT2", Format::Audio),
        (b"RIFF\x24\0\0\0WAVEfmt ", Format::Audio),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Format::Video),
        (b"AC1015\0\0\0\0\0\0", Format::Cad),
        (b"  0\nSECTION\n  2\nHEADER\n", Format::Cad),
        (b"ISO-10303-21;\nHEADER;", Format::Cad),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", Format::Executable),
        (b"\0\x01\0\0\0\x0f\0\x80\0\x03\0\x70DSIG", Format::Font),
        (b"SQLite format 3\0\x10\0\x01\x01", Format::Data),
        (b"%!PS-Adobe-3.0\n", Format::PostScript),
        (b"Rar!\x1a\x07\x01\0", Format::Rar),
        (b"RE~^\x07\0", Format::Rar),
        (b"\x09\x04\x06\0\0\0\x10\0", Format::Xls),
    ];
    for (bytes, format) in cases {
        assert_eq!(identify(bytes, "").format, format, "{:?}", String::from_utf8_lossy(bytes));
    }
    assert!(Format::Archive.unsupported().contains("unpack it"));
    assert_eq!(identify(b"ID3\x03\0\0\0\0\0\x21TIT2", "").media_type, "audio/mpeg");
}
