//! Load files: what is read of each kind, and what is refused.

use std::ops::ControlFlow;

use encoding_rs::{UTF_16LE, WINDOWS_1252};
use pipeline::load_file::{self, Described, Item, LoadFileError, Record};
use proptest::prelude::*;

fn records(mut bytes: &[u8]) -> (Vec<(u64, Record)>, Result<Described, LoadFileError>) {
    let mut records = Vec::new();
    let read = load_file::read(&mut bytes, &mut |line, record| {
        records.push((line, record));
        ControlFlow::Continue(())
    });
    (records, read)
}

/// The items and their lines, of a file that is read to its end and refuses nothing.
fn items(bytes: &[u8]) -> (Vec<(u64, Item)>, Described) {
    let (records, read) = records(bytes);
    let item = |(line, record)| match record {
        Record::Item(item) => (line, item),
        Record::Refused(why) => panic!("line {line}: {why}"),
    };
    (records.into_iter().map(item).collect(), read.unwrap())
}

fn refused(bytes: &[u8]) -> Vec<(u64, &'static str)> {
    let (records, _) = records(bytes);
    let refusals = records.into_iter().filter_map(|(line, record)| match record {
        Record::Refused(why) => Some((line, why)),
        Record::Item(_) => None,
    });
    refusals.collect()
}

const DAT: &str = "þBEGBATESþ\u{14}þBEGATTACHþ\u{14}þCUSTODIANþ\u{14}þEmail Subjectþ\u{14}þNATIVEFILEþ\u{14}þTEXTPATHþ\u{14}þSHA256þ\r\n\
    þABC0001þ\u{14}þABC0001þ\u{14}þDoe, Janeþ\u{14}þRe: the \"lease\" ® second lineþ\u{14}þ.\\VOL001\\NATIVES\\ABC0001.msgþ\u{14}þ.\\VOL001\\TEXT\\ABC0001.txtþ\u{14}þþ\r\n\
    þABC0003þ\u{14}þABC0001þ\u{14}þMüllerþ\u{14}þþ\u{14}þþ\u{14}þ.\\VOL001\\TEXT\\ABC0003.txtþ\u{14}þE3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855þ\r\n";

fn is_the_production(bytes: &[u8], encoding: &str) {
    let (items, described) = items(bytes);
    assert_eq!((described.kind.name(), described.encoding, described.damaged), ("concordance", encoding, false));
    assert_eq!(described.columns.len(), 7);
    let [(2, first), (3, second)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(first.path, r".\VOL001\NATIVES\ABC0001.msg");
    assert_eq!((first.control_number.as_deref(), first.parent.as_deref()), (Some("ABC0001"), None));
    assert_eq!(first.custodian.as_deref(), Some("Doe, Jane"));
    assert_eq!(first.fields["Email Subject"], "Re: the \"lease\" \n second line");
    assert_eq!(first.fields["TEXTPATH"], r".\VOL001\TEXT\ABC0001.txt");
    assert_eq!(second.path, r".\VOL001\TEXT\ABC0003.txt");
    assert_eq!((second.parent.as_deref(), second.custodian.as_deref()), (Some("ABC0001"), Some("Müller")));
    assert_eq!(second.sha256.as_deref(), Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
}

#[test]
fn concordance_in_every_encoding_it_comes_in() {
    is_the_production(DAT.as_bytes(), "UTF-8");
    is_the_production(format!("\u{feff}{DAT}").as_bytes(), "UTF-8");
    is_the_production(&WINDOWS_1252.encode(DAT).0, "windows-1252");
    let utf16: Vec<u8> = DAT.encode_utf16().flat_map(u16::to_le_bytes).collect();
    is_the_production(&[&[0xFF, 0xFE][..], &utf16].concat(), UTF_16LE.name());
    let big: Vec<u8> = format!("\u{feff}{DAT}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    is_the_production(&big, "UTF-16BE");
}

#[test]
fn delimited_text_with_whatever_stands_between() {
    for (delimiter, quote) in [(',', '"'), (';', '"'), ('\t', '"'), ('|', '^'), ('~', '"'), (',', 'þ')] {
        let row = |cells: [&str; 3]| cells.map(|cell| format!("{quote}{cell}{quote}")).join(&delimiter.to_string());
        let doubled = format!("say {quote}{quote}no{quote}{quote}{delimiter} or\nnot");
        let text = [row(["Control Number", "Path", "Note"]), row(["7", "a b.txt", &doubled]), String::new()].join("\n");
        let (items, described) = items(text.as_bytes());
        assert_eq!(described.kind.name(), "csv", "{text}");
        let (2, item) = &items[0] else { panic!("{items:?}") };
        assert_eq!((item.path.as_str(), item.control_number.as_deref()), ("a b.txt", Some("7")));
        assert_eq!(item.fields["Note"], format!("say {quote}no{quote}{delimiter} or\nnot"));
    }
    // Without quotes, with a blank line, and with a quote that belongs to the text.
    let (items, _) = items(b"path,size\nplan 5\" pipe.pdf,3\n\nb.pdf,\"4\n");
    assert_eq!(
        items.iter().map(|(line, item)| (*line, item.path.as_str())).collect::<Vec<_>>(),
        [(2, "plan 5\" pipe.pdf"), (4, "b.pdf"),]
    );
    assert_eq!(items[1].1.fields["size"], "4");
}

#[test]
fn opticon_names_pages_and_the_document_they_belong_to() {
    let text = "ABC0001,VOL001,.\\IMAGES\\001\\ABC0001.tif,Y,,,2\r\nABC0002,VOL001,.\\IMAGES\\001\\ABC0002.tif,,,,\r\nABC0003,VOL001,.\\IMAGES\\001\\ABC0003.jpg,Y,,,1\r\n";
    let (items, described) = items(text.as_bytes());
    assert_eq!(described.kind.name(), "opticon");
    let told: Vec<_> = items.iter().map(|(_, i)| (i.control_number.as_deref().unwrap(), i.parent.as_deref())).collect();
    assert_eq!(told, [("ABC0001", None), ("ABC0002", Some("ABC0001")), ("ABC0003", None)]);
    assert_eq!(items[0].1.fields["Volume"], "VOL001");
    assert_eq!(
        refused(b"A1,V,a.tif,Y,,,1\nA2,V,b.tif,Y,,,1\nA3,V,c.tif,,,,\nA4,V,d.tif,,,,\nA5,V,e.tif,,,,\nnonsense\n")
            .len(),
        1
    );
}

#[test]
fn edrm_xml_is_read_document_by_document() {
    let text = r##"<?xml version="1.0" encoding="UTF-8"?>
<Root DataInterchangeType="Update" xmlns="http://www.edrm.net"><Batch><Documents>
 <Document DocID="ABC0001" DocType="Message" MimeType="application/vnd.ms-outlook">
  <Tags><Tag TagName="#Subject" TagDataType="Text" TagValue="Rent &amp; rates &gt; 5"/></Tags>
  <Files><File FileType="Text"><ExternalFile FilePath="TEXT" FileName="1.txt"/></File>
   <File FileType="Native"><ExternalFile FilePath="NATIVES\001\" FileName="1.msg" Hash="d41d8cd9"/></File></Files>
  <Locations><Location><Custodian>Jane Doe</Custodian></Location></Locations>
 </Document>
 <Document DocID="ABC0002"><Tags><Tag TagName="#ParentDocID" TagValue="ABC0001"/></Tags>
  <Files><File FileType="Native"><ExternalFile FilePath="" FileName="2.pdf"/></File></Files></Document>
 <Document DocID="ABC0003"/>
</Documents></Batch></Root>"##;
    let (all, read) = records(text.as_bytes());
    assert_eq!(read.unwrap().kind.name(), "edrm_xml");
    let [(3, Record::Item(first)), (_, Record::Item(second)), (_, Record::Refused(_))] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!((first.path.as_str(), first.custodian.as_deref()), (r"NATIVES\001/1.msg", Some("Jane Doe")));
    assert_eq!((first.fields["Subject"].as_str(), first.fields["Hash"].as_str()), ("Rent & rates > 5", "d41d8cd9"));
    assert_eq!((second.path.as_str(), second.parent.as_deref()), ("2.pdf", Some("ABC0001")));
}

#[test]
fn newline_delimited_json() {
    let text = r#"{"path":"a/1.pdf","control_number":"A1","custodian":"Jane","fields":{"Privileged":true},"pages":3}
{"source":"https://files.example.com/box/2.eml?sig=x","parent":"A1"}

{"nothing":1}
not json
[1]
"#;
    let (all, read) = records(text.as_bytes());
    assert_eq!(read.unwrap().kind.name(), "ndjson");
    let [
        (1, Record::Item(first)),
        (2, Record::Item(second)),
        (4, Record::Refused(_)),
        (5, Record::Refused(_)),
        (6, Record::Refused(_)),
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    assert_eq!((first.path.as_str(), first.control_number.as_deref()), ("a/1.pdf", Some("A1")));
    assert_eq!((first.fields["Privileged"].as_str(), first.fields["pages"].as_str()), ("true", "3"));
    assert_eq!((second.path.as_str(), second.parent.as_deref()), ("box/2.eml", Some("A1")));
}

#[test]
fn what_cannot_be_a_load_file_is_refused_with_what_to_do() {
    for (bytes, says) in [
        (&b""[..], "no header line"),
        (b"just,some,words\n1,2,3\n", "no column says where"),
        (b"<html><body>hello</body></html>", "no Document element"),
        (b"<Root><Document DocID=\"1\"><Files>", "ends within"),
    ] {
        let message = records(bytes).1.unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
    let short = records(b"path,note\na.pdf,1,2,3\nb.pdf,ok\n").0;
    assert!(matches!(&short[..], [(2, Record::Refused(_)), (3, Record::Item(_))]), "{short:?}");
}

#[test]
fn endless_fields_take_bounded_memory_and_one_record() {
    // A quote that is never closed swallows the rest: it ends as one refused record, not as gigabytes.
    let mut text = b"path,note\n\"".to_vec();
    text.resize(24 << 20, b'x');
    assert_eq!(refused(&text).len(), 1);
    let mut xml = b"<Root><Document DocID=\"1\">".to_vec();
    xml.resize(16 << 20, b'x');
    xml.extend_from_slice(
        b"</Document><Document DocID=\"2\"><File><ExternalFile FileName=\"a\"/></File></Document></Root>",
    );
    let (all, _) = records(&xml);
    assert!(matches!(&all[..], [(_, Record::Refused(_)), (_, Record::Item(_))]));
    let wide = format!("path{}\na.pdf\n", ",x".repeat(3_000));
    assert!(records(wide.as_bytes()).1.is_err());
}

#[test]
fn who_takes_the_records_can_stop() {
    let mut bytes = &b"path\na\nb\nc\n"[..];
    let mut seen = 0;
    let read = load_file::read(&mut bytes, &mut |_, _| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(read, Err(LoadFileError::Stopped)));
    assert_eq!(seen, 2);
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), head in "(þa?þ\u{14}|path[,;|]|<Document|\\{|a,b,c.tif,Y,,,)?") {
        let all = [head.as_bytes(), &bytes].concat();
        let _ = records(&all);
    }

    #[test]
    fn what_is_written_is_read(rows in proptest::collection::vec(("[a-z]{1,8}\\.pdf", "[^\r\u{14}®]{0,30}"), 1..20)) {
        let cell = |text: &str| format!("þ{}þ", text.replace('þ', "þþ").replace('\n', "®"));
        let mut text = format!("{}\u{14}{}\n", cell("path"), cell("Note"));
        for (path, note) in &rows {
            text += &format!("{}\u{14}{}\n", cell(path), cell(note));
        }
        let (read, _) = items(text.as_bytes());
        prop_assert_eq!(read.len(), rows.len());
        for ((_, item), (path, note)) in read.iter().zip(&rows) {
            prop_assert_eq!(&item.path, path);
            prop_assert_eq!(item.fields.get("Note").map_or("", String::as_str), note.trim());
        }
    }
}
