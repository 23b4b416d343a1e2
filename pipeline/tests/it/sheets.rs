//! Workbooks as their programs show them, and what stands beside their cells.

use domain::{outcome::Category, text::Text};
use pipeline::ReadError;

use crate::{
    containers::zip,
    machine::{NEVER, category, extract, file, reader},
};

const CONTENT: &str = "<?xml version='1.0'?><office:document-content xmlns:office='o' xmlns:text='t' xmlns:table='b' xmlns:dc='d' xmlns:draw='w'>\
    <office:automatic-styles><style:style style:name='ta2' style:family='table'><style:table-properties table:display='false'/></style:style></office:automatic-styles>\
    <office:body><office:spreadsheet>";

fn ods(tables: &str) -> Vec<u8> {
    let content = format!("{CONTENT}{tables}</office:spreadsheet></office:body></office:document-content>");
    zip(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", content.as_bytes())])
}

fn extra<'a>(text: &'a Text, name: &str) -> Option<&'a str> {
    text.metadata.extra.get(name).map(String::as_str)
}

#[test]
fn open_document_cells_as_they_are_shown() {
    let bytes = ods("<table:table table:name='Rents'><table:table-column table:number-columns-repeated='2'/>\
         <table:table-column table:visibility='collapse' table:number-columns-repeated='2'/>\
         <table:table-row><table:table-cell office:value-type='percentage' office:value='0.0323'><text:p>3.23%</text:p></table:table-cell>\
         <table:table-cell office:value-type='currency' office:value='1234.5' table:formula='of:=SUM([.A1:.B2])'><text:p>$1,234.50</text:p></table:table-cell>\
         <table:table-cell office:value-type='date' office:date-value='2024-01-31'><text:p>31/01/24</text:p>\
         <office:annotation><dc:creator>Jane Roe</dc:creator><dc:date>2024-02-01T08:00:00</dc:date><text:p>Why?</text:p></office:annotation></table:table-cell></table:table-row>\
         <table:table-row table:visibility='collapse' table:number-rows-repeated='2'><table:table-cell table:number-columns-repeated='2'><text:p>x</text:p><text:p>y</text:p></table:table-cell></table:table-row>\
         <table:table-row><table:table-cell office:value='7'/></table:table-row>\
         <table:shapes><draw:frame><text:p>A box</text:p></draw:frame></table:shapes></table:table>\
         <table:table table:name='Secret' table:style-name='ta2'><table:table-row><table:table-cell><text:p>hidden words</text:p></table:table-cell></table:table-row></table:table>");
    let text = extract(&reader(), "a.ods", &bytes).unwrap();
    assert_eq!(
        text.text,
        "Rents\n3.23%\t$1,234.50\t31/01/24\nx y\tx y\nx y\tx y\n7\nA box\n[Formula] B1: =SUM(A1:B2)\n\
         [Comment by Jane Roe, 2024-02-01] Why?\nSecret\nhidden words"
    );
    assert_eq!(text.pages[1].label.as_deref(), Some("Secret"));
    assert_eq!(
        (extra(&text, "hidden_sheets"), extra(&text, "hidden_rows"), extra(&text, "hidden_columns")),
        (Some("Secret"), Some("Rents: 2-3"), Some("Rents: C-D"))
    );
}

#[test]
fn an_open_document_workbook_in_one_file() {
    let flat = "<?xml version='1.0'?><office:document office:mimetype='application/vnd.oasis.opendocument.spreadsheet'>\
        <office:meta><dc:title>Flat</dc:title></office:meta><office:body><office:spreadsheet><table:table table:name='T'>\
        <table:table-row><table:table-cell><text:p>10 %</text:p></table:table-cell></table:table-row></table:table>\
        </office:spreadsheet></office:body></office:document>";
    let text = extract(&reader(), "a.fods", flat.as_bytes()).unwrap();
    assert_eq!((text.text.as_str(), text.metadata.title.as_deref()), ("T\n10 %", Some("Flat")));
}

#[test]
fn hostile_open_document_sheets() {
    let row = "<table:table-row table:number-rows-repeated='1048576'><table:table-cell table:number-columns-repeated='16384'><text:p>x</text:p></table:table-cell></table:table-row>";
    let text = extract(&reader(), "vast.ods", &ods(&format!("<table:table>{row}</table:table>"))).unwrap();
    assert!(text.text.len() <= 2_100_000, "{}", text.text.len());
    let deep = ods(&"<table:table><table:table-row><table:table-cell>".repeat(20_000));
    let _ = extract(&reader(), "deep.ods", &deep);
    let locked = zip(&[
        ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
        ("content.xml", b"\x01\x02\x03"),
        ("META-INF/manifest.xml", b"<manifest:encryption-data/>"),
    ]);
    assert_eq!(category(extract(&reader(), "locked.ods", &locked)), Category::Encrypted);
    let empty = zip(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet")]);
    assert_eq!(category(extract(&reader(), "empty.ods", &empty)), Category::Corrupt);
    let damaged = ods(
        "<table:table table:name='T'><table:table-row><table:table-cell><text:p>kept</text:p></table:table-cell></table:table-row><!-- never closed",
    );
    let text = extract(&reader(), "damaged.ods", &damaged).unwrap();
    assert_eq!((text.text.as_str(), text.warnings[0].category), ("T\nkept", Category::Partial));
}

#[test]
fn old_excel_shows_its_numbers() {
    let text = extract(&reader(), "displayed.xls", &file("displayed.xls")).unwrap();
    let lines: Vec<&str> = text.text.lines().collect();
    for line in ["share\t3.23%", "rent\t$1,234.50", "from\t2024-01-31", "units\t12,000", "plain\t0.25", "buried"] {
        assert!(lines.contains(&line), "{line} in {}", text.text);
    }
    assert_eq!(
        (extra(&text, "hidden_sheets"), extra(&text, "hidden_rows"), extra(&text, "hidden_columns")),
        (Some("Secret"), Some("Rents: 9"), Some("Rents: E"))
    );
    let text = extract(&reader(), "a.xls", &file("testEXCEL_extra_metadata.xls")).unwrap();
    assert_eq!(extra(&text, "hidden_sheets"), Some("hidden-sheet; very-hidden-sheet"));
    assert!(extra(&text, "hidden_rows").unwrap().starts_with("hidden-columns-and-hidden-rows: "));
    assert!(text.text.contains("[Comment"), "{}", text.text);
}

#[test]
fn hostile_old_excel() {
    let whole = file("displayed.xls");
    for at in (512..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let _ = extract(&reader(), "a.xls", &bytes);
    }
}

/// Where a compound file keeps an entry's number of that offset, and its table of sectors.
fn entry_of(bytes: &[u8], name: &str) -> usize {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.windows(name.len()).position(|window| window == name).unwrap()
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Makes the second link of the chain from `start` lead back to it.
fn tie(bytes: &mut [u8], start: usize) {
    let table = 512 * (number(bytes, 76) + 1);
    let link = table + 4 * start;
    let target = u32::try_from(start).unwrap();
    bytes[link..link + 4].copy_from_slice(&target.to_le_bytes());
}

#[test]
fn chains_of_sectors_that_go_round_are_damage() {
    for name in ["testEXCEL.xls", "displayed.xls"] {
        let whole = file(name);
        let directory = number(&whole, 48);
        let workbook = number(&whole, entry_of(&whole, "Workbook") + 116);
        for start in [directory, workbook] {
            let mut bytes = whole.clone();
            tie(&mut bytes, start);
            // What promises more than the file holds would be read round and round.
            let size = entry_of(&whole, "Workbook") + 120;
            bytes[size..size + 4].copy_from_slice(&0x7fff_0000_u32.to_le_bytes());
            let format = pipeline::Format::Xls;
            let read = reader().extract(format, "a.xls", &mut &bytes[..], &NEVER);
            assert_eq!(category(read), Category::Corrupt, "{name} {start}");
        }
    }
}

#[test]
fn a_workbook_cut_short_keeps_what_is_there() {
    let whole = file("displayed.xls");
    for length in [whole.len() - 512, whole.len() / 2, 1024, 513] {
        match extract(&reader(), "a.xls", &whole[..length]) {
            Ok(text) => assert!(!text.text.is_empty()),
            Err(ReadError::Exception(exception)) => assert_eq!(exception.category, Category::Corrupt),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn binary_excel_shows_its_numbers() {
    let text = extract(&reader(), "a.xlsb", &file("testEXCEL_various.xlsb")).unwrap();
    let lines: Vec<&str> = text.text.lines().collect();
    for line in ["percent\t20%", "integer\t13", "date\t2017-03-09"] {
        assert!(lines.contains(&line), "{line} in {}", text.text);
    }
    let whole = file("testEXCEL_various.xlsb");
    for at in (30..whole.len()).step_by(211) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let _ = extract(&reader(), "a.xlsb", &bytes);
    }
}
