//! What documents hold around their text: forms, comments, bookmarks, embedded files, hidden parts, formulas.

use domain::{outcome::Category, text::Text};
use pipeline::{Format, Reader, Settings};

use crate::{
    containers::zip,
    machine::{category, extract, file, reader, reader_with, settings, unpack},
};

fn headings(text: &Text) -> Vec<(u8, &str)> {
    text.headings.iter().map(|heading| (heading.level, text.slice(heading.start..heading.end).unwrap())).collect()
}

fn extra<'a>(text: &'a Text, name: &str) -> Option<&'a str> {
    text.metadata.extra.get(name).map(String::as_str)
}

fn pdf_engines() -> Vec<Reader> {
    let found = settings();
    let builtin = reader_with(Settings { pdfium_library: None, ..found.clone() });
    let library = found.pdfium_library.is_some().then(|| reader_with(found));
    [builtin].into_iter().chain(library).collect()
}

/// A PDF of these objects, numbered from 1; the first is the catalog.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (object, number) in objects.iter().zip(1..) {
        places.push(bytes.len());
        bytes.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).bytes());
    for place in &places {
        bytes.extend(format!("{place:010} 00000 n \n").bytes());
    }
    bytes.extend(format!("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", places.len() + 1).bytes());
    bytes
}

fn stream(content: &str, entries: &str) -> String {
    format!("<< /Length {} {entries} >>\nstream\n{content}\nendstream", content.len())
}

fn full_pdf(extra_catalog: &str) -> Vec<u8> {
    let text = |lines: &[&str]| {
        let shown: String = lines.iter().map(|line| format!("({line}) Tj 0 -20 Td ")).collect();
        stream(&format!("BT /F1 12 Tf 50 700 Td {shown} ET"), "")
    };
    let page = |content: u32, annotations: &str| {
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {content} 0 R /Annots [{annotations}] \
             /Resources << /Font << /F1 5 0 R >> >> >>"
        )
    };
    pdf(&[
        format!("<< /Type /Catalog /Pages 2 0 R /Outlines 8 0 R /AcroForm << /Fields [12 0 R 14 0 R] >> /Names << /EmbeddedFiles << /Names [(a) 15 0 R (b) 17 0 R] >> >> {extra_catalog} >>"),
        "<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>".to_owned(),
        page(6, "11 0 R 12 0 R 13 0 R 14 0 R"),
        page(7, "19 0 R"),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        text(&["1. Introduction", "We agree on the terms."]),
        text(&["Liability", "None at all."]),
        "<< /Type /Outlines /First 9 0 R /Last 9 0 R >>".to_owned(),
        // The second entry is the first one's child and leads back to it: a circle.
        "<< /Title (INTRODUCTION) /Dest [3 0 R /Fit] /First 10 0 R /Parent 8 0 R >>".to_owned(),
        "<< /Title <FEFF004C0069006100620069006C006900740079> /A << /S /GoTo /D [4 0 R /Fit] >> /Next 9 0 R /Parent 9 0 R >>".to_owned(),
        "<< /Type /Annot /Subtype /Text /Rect [0 0 9 9] /Contents (Really?) /T (Jane Roe) /M (D:20240131093000Z) >>".to_owned(),
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /TU (Your name) /V (John Doe) /Rect [100 100 300 120] >>".to_owned(),
        "<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /Contents (a link) >>".to_owned(),
        "<< /Type /Annot /Subtype /Widget /FT /Btn /T (agree) /V /Yes /AS /Yes /Rect [100 200 120 220] >>".to_owned(),
        "<< /Type /Filespec /F (x) /UF <FEFF00FC002E007400780074> /EF << /F 16 0 R >> >>".to_owned(),
        stream("embedded words", "/Type /EmbeddedFile /Params << /ModDate (D:20240131093000Z) >>"),
        "<< /Type /Filespec /F (broken.bin) /EF << /F 18 0 R >> >>".to_owned(),
        stream("not deflated", "/Type /EmbeddedFile /Filter /FlateDecode"),
        "<< /Type /Annot /Subtype /FileAttachment /Rect [0 0 9 9] /FS << /Type /Filespec /F (pinned.txt) /EF << /F 20 0 R >> >> >>".to_owned(),
        stream("pinned words", "/Type /EmbeddedFile"),
    ])
}

#[test]
fn pdf_bookmarks_comments_and_forms() {
    for reader in pdf_engines() {
        let text = extract(&reader, "full.pdf", &full_pdf("")).unwrap();
        assert_eq!(headings(&text), [(1, "1. Introduction"), (2, "Liability")], "{}", text.text);
        assert!(text.text.contains("[Comment by Jane Roe, 2024-01-31] Really?"), "{}", text.text);
        assert!(text.text.contains("John Doe") && !text.text.contains("a link"), "{}", text.text);
        let first = &text.pages[0];
        assert!(text.slice(first.asides.unwrap()..first.end).unwrap().starts_with("[Comment"));
        assert_eq!(text.pages[1].asides, None);
        if reader.settings().pdfium_library.is_some() {
            assert!(text.text.contains("[Field] Your name: John Doe\n[Field] agree: Yes"), "{}", text.text);
            assert_eq!(extra(&text, "form_fields"), Some("2"));
        }
    }
}

#[test]
fn pdf_embedded_files() {
    let (result, found) = unpack(&reader(), Format::Pdf, &full_pdf(""));
    assert_eq!(result.unwrap().members, 3);
    let names: Vec<&str> = found.0.iter().map(|(head, ..)| head.path.as_str()).collect();
    assert_eq!(names, ["\u{fc}.txt", "broken.bin", "pinned.txt"]);
    assert_eq!(found.0[0].1, b"embedded words");
    assert_eq!(found.0[0].0.modified.unwrap().rfc3339(), "2024-01-31T09:30:00Z");
    assert_eq!(found.0[2].1, b"pinned words");
    for (name, bytes) in
        [("memo", file("fake_memo.pdf")), ("locked", file("locked.pdf")), ("broken", b"%PDF-1.7 /EF".to_vec())]
    {
        assert_eq!(unpack(&reader(), Format::Pdf, &bytes).0.unwrap().members, 0, "{name}");
    }
}

#[test]
fn pdf_portfolios() {
    // Its files stand in the tree of names; the cover says what to open it with.
    let portfolio = full_pdf(
        "/Collection << /Type /Collection /View /D /D (a) /Schema << /from << /Type /CollectionField /Subtype /S /N (From) >> >> >>",
    );
    let (result, found) = unpack(&reader(), Format::Pdf, &portfolio);
    assert_eq!(result.unwrap().members, 3);
    assert_eq!((found.0[0].0.path.as_str(), found.0[0].1.as_slice()), ("\u{fc}.txt", &b"embedded words"[..]));
    for reader in pdf_engines() {
        let text = extract(&reader, "portfolio.pdf", &portfolio).unwrap();
        assert!(text.text.contains("Introduction"), "{}", text.text);
    }
}

/// A page with words in a font of that alphabet that is not embedded: their codes are those of an encoding that every reader
/// of PDF must know (ISO 32000-1, 9.7.5.2), and nothing in the file says what they mean.
fn predefined(encoding: &str, ordering: &str, codes: &str) -> Vec<u8> {
    pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        stream(&format!("BT /F1 12 Tf 50 700 Td <{codes}> Tj ET"), ""),
        format!("<< /Type /Font /Subtype /Type0 /BaseFont /Ming-{encoding} /Encoding /{encoding} /DescendantFonts [6 0 R] >>"),
        format!(
            "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Ming /DW 1000 /FontDescriptor 7 0 R \
             /CIDSystemInfo << /Registry (Adobe) /Ordering ({ordering}) /Supplement 2 >> >>"
        ),
        "<< /Type /FontDescriptor /FontName /Ming /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 880 \
         /Descent -120 /CapHeight 880 /StemV 80 >>"
            .to_owned(),
    ])
}

#[test]
fn pdf_of_the_far_east_without_a_table_of_characters() {
    let cases = [
        ("90ms-RKSJ-H", "Japan1", "93fa967b8cea", "日本語"),
        ("UniJIS-UCS2-H", "Japan1", "65e5672c8a9e", "日本語"),
        ("GBK-EUC-H", "GB1", "d6d0cec4", "中文"),
        ("UniGB-UCS2-H", "GB1", "4e2d6587", "中文"),
        ("ETen-B5-H", "CNS1", "a4a4a4e5", "中文"),
        ("UniCNS-UCS2-H", "CNS1", "4e2d6587", "中文"),
        ("KSCms-UHC-H", "Korea1", "c7d1b1db", "한글"),
        ("UniKS-UCS2-H", "Korea1", "d55cae00", "한글"),
    ];
    for (encoding, ordering, codes, words) in cases {
        for reader in pdf_engines() {
            let read = extract(&reader, "a.pdf", &predefined(encoding, ordering, codes)).unwrap();
            assert_eq!(read.text, words, "{encoding}");
        }
    }
}

#[test]
fn pdf_dynamic_forms() {
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>";
    let form = "<xdp:xdp xmlns:xdp='x'><template><subform><draw><value><text>Claim form</text></value></draw></subform></template>\
        <xfa:datasets><xfa:data><form><claimant>Jane Roe</claimant></form></xfa:data></xfa:datasets></xdp:xdp>";
    let bytes = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R /NeedsRendering true /AcroForm << /Fields [] /XFA 6 0 R >> >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        page.to_owned(),
        stream("BT /F1 12 Tf 50 700 Td (Please wait...) Tj ET", ""),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        stream(form, ""),
    ]);
    for reader in pdf_engines() {
        let text = extract(&reader, "form.pdf", &bytes).unwrap().text;
        assert_eq!(text, "Please wait...\nClaim form\n[Field] claimant: Jane Roe");
    }
}

#[test]
fn pdfs_cut_short() {
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>";
    let whole = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        page.to_owned(),
        stream(&"BT (lost) Tj ET ".repeat(300), ""),
    ]);
    for reader in pdf_engines() {
        let short = &whole[..whole.len() - 4900];
        assert_eq!(category(extract(&reader, "short.pdf", short)), Category::Corrupt);
        let empty = pdf(&[
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>".to_owned(),
        ]);
        assert_eq!(category(extract(&reader, "empty.pdf", &empty)), Category::NoText);
        let full = full_pdf("");
        let text = extract(&reader, "tail.pdf", &full[..full.len() - 600]).unwrap();
        assert_eq!(
            text.warnings.last().map(|warning| warning.category),
            Some(Category::Partial),
            "{:?}",
            text.warnings
        );
    }
}

#[test]
fn pdf_words_can_be_quoted() {
    // Code 1 of the font is the ligature of f and i; a hyphen ends the second line.
    let map = "/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <FF> endcodespacerange \
        1 beginbfchar <01> <FB01> endbfchar 1 beginbfrange <20> <7E> <0020> endbfrange endcmap end";
    let bytes = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        stream("BT /F1 12 Tf 50 700 Td (The \\001nal sum of the agree-) Tj 0 -14 Td (ment is well-known to both) Tj ET", ""),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>".to_owned(),
        stream(map, ""),
    ]);
    for reader in pdf_engines() {
        let text = extract(&reader, "quoted.pdf", &bytes).unwrap().text;
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat, "The final sum of the agreement is well-known to both");
    }
}

#[test]
fn pdf_circles_end() {
    let bytes = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R /Names << /EmbeddedFiles 6 0 R >> /AcroForm << /Fields [5 0 R] >> >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R 2 0 R] /Count 2 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Annots [5 0 R 5 0 R] >>".to_owned(),
        "<< /Type /Outlines /First 4 0 R /Next 4 0 R /Title (circle) /Dest [3 0 R] >>".to_owned(),
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (x) /V (y) /Parent 5 0 R /Rect [0 0 9 9] >>".to_owned(),
        "<< /Kids [6 0 R 6 0 R] /Names [(a) 6 0 R] /EF << /F 6 0 R >> >>".to_owned(),
    ]);
    for reader in pdf_engines() {
        let _ = extract(&reader, "circle.pdf", &bytes);
    }
    assert_eq!(unpack(&reader(), Format::Pdf, &bytes).0.unwrap().members, 1);
}

pub(crate) fn docx(document: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let types = b"<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'><Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/><Default Extension='xml' ContentType='application/xml'/><Override PartName='/word/document.xml' ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>";
    let relations = b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='word/document.xml'/></Relationships>";
    let document = format!(
        "<?xml version='1.0'?><w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body>{document}</w:body></w:document>"
    );
    let mut parts: Vec<(&str, &[u8])> =
        vec![("[Content_Types].xml", types), ("_rels/.rels", relations), ("word/document.xml", document.as_bytes())];
    parts.extend(more);
    zip(&parts)
}

#[test]
fn word_changes_comments_and_hidden_text() {
    let styles = b"<w:styles xmlns:w='w'><w:style w:styleId='Secret'><w:rPr><w:vanish/></w:rPr></w:style></w:styles>";
    let comments = b"<w:comments xmlns:w='w'><w:comment w:id='0' w:author='John' w:date='2024-02-01T08:00:00Z'><w:p><w:r><w:t>Why?</w:t></w:r></w:p></w:comment></w:comments>";
    let bytes = docx(
        "<w:p><w:r><w:t xml:space='preserve'>We are </w:t></w:r>\
         <w:del w:author='Jane Roe' w:date='2024-01-31T10:00:00Z'><w:r><w:delText xml:space='preserve'>not </w:delText></w:r><w:r><w:delText>at all </w:delText></w:r></w:del>\
         <w:ins w:author='Jane Roe' w:date='2024-01-31T10:00:00Z'><w:r><w:t>fully </w:t></w:r></w:ins><w:r><w:t>liable.</w:t></w:r>\
         <w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r><w:r><w:rPr><w:rStyle w:val='Secret'/></w:rPr><w:t> also</w:t></w:r>\
         <w:r><w:rPr><w:vanish w:val='0'/></w:rPr><w:t xml:space='preserve'> shown</w:t></w:r></w:p>",
        &[("word/styles.xml", styles), ("word/comments.xml", comments)],
    );
    let text = extract(&reader(), "a.docx", &bytes).unwrap();
    assert!(text.text.starts_with("We are fully liable."), "{}", text.text);
    assert!(
        text.text.ends_with(
            "[Deleted by Jane Roe, 2024-01-31] not at all\n[Inserted by Jane Roe, 2024-01-31] fully\n[Hidden text] secret also\n\
             [Comment by John, 2024-02-01] Why?"
        ),
        "{}",
        text.text
    );
    assert_eq!((extra(&text, "insertions"), extra(&text, "hidden_passages")), (Some("1"), Some("1")));
}

#[test]
fn headers_and_footers_come_once() {
    let relations = b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='h1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/header' Target='header1.xml'/></Relationships>";
    let header = b"<w:hdr xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:p><w:r><w:t>Privileged</w:t></w:r></w:p></w:hdr>";
    let section = "<w:sectPr xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'><w:headerReference w:type='default' r:id='h1'/></w:sectPr>";
    let document = format!(
        "<w:p><w:pPr>{section}</w:pPr><w:r><w:t>one</w:t></w:r></w:p><w:p><w:r><w:t>two</w:t></w:r></w:p>{section}"
    );
    let bytes = docx(&document, &[("word/_rels/document.xml.rels", relations), ("word/header1.xml", header)]);
    let text = extract(&reader(), "a.docx", &bytes).unwrap().text;
    assert_eq!(text, "Privileged\none\ntwo");
}

#[test]
fn right_to_left() {
    // The built-in engine gives some lines of this file in visual order, so it is not asked.
    for reader in pdf_engines().into_iter().filter(|reader| reader.settings().pdfium_library.is_some()) {
        let text = extract(&reader, "rtl.pdf", &file("right_to_left_01.pdf")).unwrap().text;
        let words: Vec<&str> = text.split_whitespace().collect();
        let python = words.iter().filter(|word| word.trim_matches(|c: char| !c.is_alphabetic()) == "Python").count();
        assert!(python >= 5, "{text}");
        assert!(words.contains(&"تعتبر") && words.contains(&"البرمجة"), "letters stand in reading order: {text}");
    }
}

#[test]
fn office_embedded_objects() {
    let bytes = file("test_recursive_embedded.docx");
    let (result, found) = unpack(&reader(), Format::Docx, &bytes);
    assert_eq!(result.unwrap().members as usize, found.0.len());
    assert!(!found.0.is_empty());
    let inner = pipeline::identify(&found.0[0].1, &found.0[0].0.path);
    assert!(inner.format.is_readable() && !inner.extension_mismatch, "{:?} {}", inner, found.0[0].0.path);
    let text = extract(&reader(), "outer.docx", &bytes).unwrap();
    assert_eq!(text.warnings, []);
    assert_eq!(unpack(&reader(), Format::Docx, &file("category-level.docx")).0.unwrap().members, 0);
}

#[test]
fn office_packaged_files() {
    let mut native = vec![0, 0, 0, 0, 2, 0];
    native.extend(b"note.txt\0C:\\temp\\note.txt\0\0\0\x03\0");
    native.extend(5_u32.to_le_bytes());
    native.extend(b"path\0");
    native.extend(5_u32.to_le_bytes());
    native.extend(b"hello and more");
    let mut object = cfb::CompoundFile::create(std::io::Cursor::new(Vec::new())).unwrap();
    std::io::Write::write_all(&mut object.create_stream("/\u{1}Ole10Native").unwrap(), &native).unwrap();
    let object = object.into_inner().into_inner();
    let parts: [(&str, &[u8]); 3] = [
        ("word/embeddings/oleObject1.bin", &object),
        ("word/embeddings/oleObject2.bin", &object[..600]),
        ("word/embeddings/Sheet.bin", b"%PDF-1.4"),
    ];
    let (result, found) = unpack(&reader(), Format::Docx, &docx("<w:p/>", &parts));
    assert_eq!(result.unwrap().members, 3);
    let seen: Vec<(&str, usize)> = found.0.iter().map(|(head, bytes, _)| (head.path.as_str(), bytes.len())).collect();
    assert_eq!(seen, [("note.txt", 5), ("oleObject2.bin", 600), ("Sheet.pdf", 8)]);
}

fn xlsx(sheet: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let types = b"<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'><Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/><Default Extension='xml' ContentType='application/xml'/></Types>";
    let root = b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='xl/workbook.xml'/></Relationships>";
    let relations = b"<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/sheet1.xml'/><Relationship Id='r2' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/sheet2.xml'/><Relationship Id='r3' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles' Target='styles.xml'/></Relationships>";
    let workbook = b"<workbook xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main' xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'><sheets><sheet name='Costs' sheetId='1' r:id='r1'/><sheet name='Quiet' sheetId='2' state='hidden' r:id='r2'/></sheets></workbook>";
    let styles = b"<styleSheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><numFmts><numFmt numFmtId='164' formatCode='#,##0.00'/></numFmts><cellXfs><xf numFmtId='0'/><xf numFmtId='10'/><xf numFmtId='164'/><xf numFmtId='14'/></cellXfs></styleSheet>";
    let space = "xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'";
    let sheet = format!("<worksheet {space}>{sheet}</worksheet>");
    let quiet = format!(
        "<worksheet {space}><sheetData><row r='1'><c r='A1' t='inlineStr'><is><t>whisper</t></is></c></row></sheetData></worksheet>"
    );
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("[Content_Types].xml", types),
        ("_rels/.rels", root),
        ("xl/workbook.xml", workbook),
        ("xl/_rels/workbook.xml.rels", relations),
        ("xl/styles.xml", styles),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ("xl/worksheets/sheet2.xml", quiet.as_bytes()),
    ];
    parts.extend(more);
    zip(&parts)
}

#[test]
fn workbooks_as_shown_and_what_they_hide() {
    let relations = b"<Relationships xmlns='r'><Relationship Id='r1' Type='http://x/comments' Target='../comments1.xml'/></Relationships>";
    let comments = b"<comments xmlns='c'><authors><author>Jane Roe</author><author>tc={1}</author></authors><commentList><comment ref='A1' authorId='0'><text><r><t>Too </t></r><r><t>much</t></r></text></comment><comment ref='B1' authorId='1'><text><t>again</t></text></comment></commentList></comments>";
    let bytes = xlsx(
        "<cols><col min='2' max='3' hidden='1'/></cols><sheetData>\
         <row r='1'><c r='A1' s='1'><v>0.125</v></c><c r='B1' s='2'><v>1234.5</v></c><c r='C1' s='3'><v>45322</v></c><c r='D1'><v>7</v></c></row>\
         <row r='1000000' hidden='1'><c r='A1000000'><f>SUM(B1:D1)</f><v>42</v></c></row></sheetData>",
        &[("xl/worksheets/_rels/sheet1.xml.rels", relations), ("xl/comments1.xml", comments)],
    );
    let text = extract(&reader(), "a.xlsx", &bytes).unwrap();
    assert_eq!(
        text.text,
        "Costs\n12.50%\t1,234.50\t2024-01-31\t7\n42\n[Formula] A1000000: =SUM(B1:D1)\n[Comment by Jane Roe] A1: Too much\nQuiet\nwhisper"
    );
    assert_eq!(extra(&text, "hidden_sheets"), Some("Quiet"));
    assert_eq!(extra(&text, "hidden_rows"), Some("Costs: 1000000"));
    assert_eq!(extra(&text, "hidden_columns"), Some("Costs: B-C"));
}

#[test]
fn damaged_workbooks_are_named() {}

#[test]
fn xml_attributes_and_json_escapes() {
    let xml = "<?xml version='1.0'?><a xmlns='x' id='1'><person name='Jane &amp; Roe' class='c'/>text</a>";
    assert_eq!(extract(&reader(), "a.xml", xml.as_bytes()).unwrap().text, "name: Jane & Roe\ntext");
    let latin = b"<?xml version=\"1.0\" encoding=\"iso-8859-5\"?><a>\xb4\xde\xd3\xde\xd2\xde\xe0</a>";
    assert_eq!(extract(&reader(), "a.xml", latin).unwrap().text, "Договор");
    let json = br#"{"name": "Gr\u00fc\u00dfe \ud83d\ude00", "path": "C:\\x", "broken": "\u12"}"#;
    assert_eq!(
        extract(&reader(), "a.json", json).unwrap().text,
        "{\"name\": \"Grüße 😀\", \"path\": \"C:\\x\", \"broken\": \"12\"}"
    );
}

const PICTURE: &str = "<mc:AlternateContent xmlns:mc='mc'><mc:Choice><w:drawing><wp:inline xmlns:wp='wp'><wp:docPr id='1' name='a' descr='A lease, signed'/></wp:inline></w:drawing></mc:Choice>\
    <mc:Fallback><w:pict><wp:docPr xmlns:wp='wp' descr='A lease, signed'/></w:pict></mc:Fallback></mc:AlternateContent>";

#[test]
fn descriptions_of_pictures() {
    let bytes = docx(&format!("<w:p><w:r><w:t>See:</w:t></w:r><w:r>{PICTURE}</w:r></w:p>"), &[]);
    let text = extract(&reader(), "a.docx", &bytes).unwrap();
    assert_eq!(text.text, "See:\n[Picture] A lease, signed");
    assert_eq!(extra(&text, "described_pictures"), Some("1"));

    let deck = file("simple.pptx");
    let plain = extract(&reader(), "a.pptx", &deck).unwrap();
    let described = with_part(&deck, "ppt/slides/slide2.xml", |xml| {
        let (before, after) = xml.split_once("<p:cNvPr ").unwrap();
        format!("{before}<p:cNvPr descr=\"Two signatures\" {after}")
    });
    let text = extract(&reader(), "a.pptx", &described).unwrap();
    let page = &text.pages[1];
    assert_eq!(text.slice(page.asides.unwrap()..page.end), Some("[Picture] Two signatures"));
    assert_eq!(text.text.replace("\n[Picture] Two signatures", ""), plain.text);
}

/// The package with one of its parts changed.
fn with_part(package: &[u8], name: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(package)).unwrap();
    let mut parts = Vec::new();
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).unwrap();
        let (known, mut bytes) = (part.name().unwrap().into_owned(), Vec::new());
        std::io::Read::read_to_end(&mut part, &mut bytes).unwrap();
        if known == name {
            bytes = change(std::str::from_utf8(&bytes).unwrap()).into_bytes();
        }
        parts.push((known, bytes));
    }
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    zip(&parts)
}

#[test]
fn files_that_a_word_document_takes_in() {
    let relations = |parts: &[&str]| {
        let each = parts.iter().enumerate().map(|(at, part)| {
            format!("<Relationship Id='c{at}' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/aFChunk' Target='/word/{part}'/>")
        });
        format!("<Relationships xmlns='r'>{}</Relationships>", each.collect::<String>())
    };
    let links = relations(&["a.htm", "b.mht", "c.rtf", "d.docx", "e.bin"]);
    let mail = "From: x\nSubject: y\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p>saved page</p>";
    // It takes itself in: a circle.
    let circle = relations(&["d.docx"]);
    let own =
        docx("<w:p><w:r><w:t>inner words</w:t></w:r></w:p>", &[("word/_rels/document.xml.rels", circle.as_bytes())]);
    let parts: [(&str, &[u8]); 6] = [
        ("word/_rels/document.xml.rels", links.as_bytes()),
        ("word/a.htm", b"<html><body><p>web <b>words</b></p></body></html>"),
        ("word/b.mht", mail.as_bytes()),
        ("word/c.rtf", b"{\\rtf1 rich words}"),
        ("word/d.docx", &own),
        ("word/e.bin", b"\0\x01\x02"),
    ];
    let text = extract(&reader(), "a.docx", &docx("<w:p><w:r><w:t>outer</w:t></w:r></w:p>", &parts)).unwrap();
    assert_eq!(text.text, "outer\nweb words\nsaved page\nrich words\ninner words");
    assert_eq!(text.warnings.iter().map(|warning| warning.category).collect::<Vec<_>>(), [Category::Partial]);
    let text = extract(&reader(), "mht.docx", &file("testAltChunkMHT.docx")).unwrap();
    assert!(text.text.len() > 20 && text.warnings.is_empty(), "{} {:?}", text.text, text.warnings);
}
