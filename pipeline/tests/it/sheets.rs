//! Workbooks as their programs show them, and what stands beside their cells.

use std::collections::BTreeSet;

use domain::{outcome::Category, text::Text};
use pipeline::ReadError;

use crate::{
    containers::zip,
    machine::{NEVER, category, extract, file, reader, secrets},
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
    assert!(text.text.contains("[Comment by Allison, Timothy B.] Allison, Timothy B.: test comment2"), "{}", text.text);
    assert_eq!(extra(&text, "comments"), Some("10"));
    // One of a program before its first release, which calamine panics on.
    let text = extract(&reader(), "a.xlsb", &file("testEXCEL.xlsb")).unwrap();
    assert!(text.text.contains("created with Microsoft Excel 2007 Beta 2"), "{}", text.text);
    assert_eq!(text.pages.len(), 3);
    let whole = file("testEXCEL_various.xlsb");
    for at in (30..whole.len()).step_by(211) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let _ = extract(&reader(), "a.xlsb", &bytes);
    }
}

#[test]
fn excel_4_is_read() {
    let bytes = file("testEXCEL_4.xls");
    let text = extract(&reader(), "a.xls", &bytes).unwrap();
    let lines: Vec<&str> = text.text.lines().collect();
    assert!(lines[0].starts_with("Table 10 -- Examination Coverage"), "{}", text.text);
    assert!(lines.iter().any(|line| line.starts_with("[Money amounts are in thousands")), "{}", text.text);
    for at in (0..bytes.len()).step_by(311) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        let read = reader().extract(pipeline::Format::Xls, "a.xls", &mut &bytes[..], &NEVER);
        if let Err(ReadError::Exception(exception)) = read {
            assert!(matches!(exception.category, Category::Corrupt | Category::Encrypted), "{at}: {exception:?}");
        }
    }
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [kind.to_le_bytes().as_slice(), &length.to_le_bytes(), data].concat()
}

fn words(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A place, what belongs to it, and a value.
fn cell(place: &[u16], value: &[u8]) -> Vec<u8> {
    [words(place), value.to_vec()].concat()
}

#[test]
fn excel_2_and_3_are_read() {
    let second = [
        record(0x09, &words(&[2, 0x10])),
        record(0x42, &words(&[0x8001])),
        record(0x1e, b"\x07General"),
        record(0x1e, b"\x08yyyy-m-d"),
        record(0x02, &cell(&[0, 0], b"\0\0\0\x2a\0")),
        record(0x04, &cell(&[0, 1], b"\0\0\0\x05Miete")),
        record(0x03, &cell(&[1, 0], &[b"\0\x01\0".as_slice(), &45_322_f64.to_le_bytes()].concat())),
        record(0x05, &cell(&[1, 1], b"\0\0\0\x01\0")),
        record(0x06, &cell(&[2, 0], b"\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0")),
        record(0x07, b"\x06result"),
        record(0x1c, &cell(&[0, 0, 4], b"Why?")),
        record(0x0a, &[]),
    ];
    let text = extract(&reader(), "a.xls", &second.concat()).unwrap();
    assert_eq!(text.text, "42\tMiete\n2024-01-31\tTRUE\nresult\n[Comment] Why?");
    let third = [
        record(0x0209, &words(&[3, 0x10, 0])),
        record(0x1e, b"\x07General"),
        record(0x1e, b"\x050.00%"),
        record(0x0243, b"\0\0\0\0\0\0\0\0\0\0\0\0"),
        record(0x0243, b"\0\x01\0\0\0\0\0\0\0\0\0\0"),
        record(0x0208, &words(&[4, 0, 2, 0, 0, 0, 0x20, 0])),
        record(0x0204, &cell(&[4, 0, 0], b"\x04\0Rent")),
        record(0x027e, &cell(&[4, 1, 1], &(5_u32 << 2 | 3).to_le_bytes())),
        record(0x0206, &cell(&[5, 0, 0], b"\x02\0\x07\0\0\0\xff\xff\0\0")),
        record(0x0a, &[]),
    ];
    let text = extract(&reader(), "a.xls", &third.concat()).unwrap();
    assert_eq!((text.text.as_str(), extra(&text, "hidden_rows")), ("Rent\t5.00%\n#DIV/0!", Some("Sheet1: 5")));
    let locked = [record(0x0409, &words(&[0, 0x10, 0])), record(0x2f, b"\x12\x34\x56\x78")].concat();
    assert_eq!(category(extract(&reader(), "a.xls", &locked)), Category::Encrypted);
    assert_eq!(category(extract(&reader(), "a.xls", b"\x09\x04\x06\0\0\0\x10")), Category::Corrupt);
}

/// A workbook of Excel 95: one sheet with words, a price and a comment.
fn excel_95() -> Vec<u8> {
    let globals = |place: u32| {
        let sheet = [place.to_le_bytes().as_slice(), b"\0\0\x06Mieten"].concat();
        let records = [
            record(0x0809, &words(&[0x0500, 5, 0, 0])),
            record(0x42, &words(&[1252])),
            record(0x041e, b"\xa4\0\x060.00 \x80"),
            record(0xe0, &words(&[0, 0, 0, 0, 0, 0, 0, 0])),
            record(0xe0, &words(&[0, 0xa4, 0, 0, 0, 0, 0, 0])),
            record(0x85, &sheet),
            record(0x0a, &[]),
        ];
        records.concat()
    };
    let place = u32::try_from(globals(0).len()).unwrap();
    let sheet = [
        record(0x0809, &words(&[0x0500, 0x10, 0, 0])),
        record(0x0204, &cell(&[0, 0, 0], b"\x06\0B\xfcrger")),
        record(0x0203, &cell(&[0, 1, 1], &12.5_f64.to_le_bytes())),
        record(0x1c, &cell(&[0, 0, 5], b"Gepr\xfc")),
        record(0x1c, &cell(&[0xffff, 0, 2], b"ft")),
        record(0x0a, &[]),
    ];
    [globals(place), sheet.concat()].concat()
}

#[test]
fn excel_95_is_read_with_and_without_a_compound_file() {
    let records = excel_95();
    let mut file = cfb::CompoundFile::create(std::io::Cursor::new(Vec::new())).unwrap();
    std::io::Write::write_all(&mut file.create_stream("/Book").unwrap(), &records).unwrap();
    let wrapped = file.into_inner().into_inner();
    for bytes in [records, wrapped] {
        let text = extract(&reader(), "a.xls", &bytes).unwrap();
        assert_eq!(text.text, "Mieten\nBürger\t12.50 €\n[Comment] Geprüft");
    }
}

/// A sheet of 65,536 by 256 cells of which two are used took a gigabyte; now it takes two rows.
#[test]
fn cells_far_apart_are_where_they_are() {
    let mut records = excel_95();
    let end = records.len() - 4;
    let corner = [
        record(0x0200, &words(&[0, 0xffff, 0, 0x100, 0])),
        record(0x0203, &cell(&[0xfffe, 0xff, 1], &99.0_f64.to_le_bytes())),
        record(0x00bd, &words(&[0xffff, 0xfe, 1, 0, 0x4000, 1, 0, 0x4008, 0xff])),
    ];
    records.splice(end..end, corner.concat());
    let text = extract(&reader(), "a.xls", &records).unwrap();
    assert_eq!(text.text, "Mieten\nBürger\t12.50 €\n99.00 €\n2.00 €\t3.00 €\n[Comment] Geprüft");
}

#[test]
fn workbooks_obfuscated_by_xor_open_with_their_password() {
    let bytes = file("displayed_xor.xls");
    assert_eq!(category(extract(&reader(), "a.xls", &bytes)), Category::Encrypted);
    let wrong = reader().with_passwords(secrets(&["secret1", "a password of more than fifteen", ""]));
    assert_eq!(category(extract(&wrong, "a.xls", &bytes)), Category::Encrypted);
    let right = reader().with_passwords(secrets(&["wrong", "sécret1"]));
    let opened = right.extract(pipeline::Format::Xls, "a.xls", &mut &bytes[..], &NEVER).unwrap();
    assert_eq!(opened.opened_with, BTreeSet::from([1]));
    assert_eq!(opened.text.text, extract(&reader(), "a.xls", &file("displayed.xls")).unwrap().text);
    for at in (512..bytes.len()).step_by(173) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0xff;
        let _ = extract(&right, "a.xls", &bytes);
    }
}
