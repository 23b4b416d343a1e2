//! The smallest PDF, DOCX, XLSX and PPTX that readers accept, with a text of one's own.

use super::zip;

const OPC: &str = "http://schemas.openxmlformats.org/package/2006";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// Package parts: content types, the relationship to the main part, then the parts themselves.
fn package(main: &str, main_type: &str, other_types: &[(&str, &str)], parts: &[(&str, String)]) -> Vec<u8> {
    let overrides = std::iter::once((main, main_type)).chain(other_types.iter().copied()).map(|(part, kind)| {
        format!(
            "<Override PartName=\"/{part}\" ContentType=\"application/vnd.openxmlformats-officedocument.{kind}+xml\"/>"
        )
    });
    let types = format!(
        "<?xml version=\"1.0\"?><Types xmlns=\"{OPC}/content-types\"><Default Extension=\"rels\" \
         ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" \
         ContentType=\"application/xml\"/>{}</Types>",
        overrides.collect::<String>(),
    );
    let root = relationships(&[("officeDocument", main)]);
    let mut members = vec![("[Content_Types].xml", types.as_bytes()), ("_rels/.rels", root.as_bytes())];
    members.extend(parts.iter().map(|(name, xml)| (*name, xml.as_bytes())));
    zip(&members)
}

fn relationships(targets: &[(&str, &str)]) -> String {
    let each = targets.iter().enumerate().map(|(n, (kind, target))| {
        format!("<Relationship Id=\"rId{}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>", n + 1)
    });
    format!(
        "<?xml version=\"1.0\"?><Relationships xmlns=\"{OPC}/relationships\">{}</Relationships>",
        each.collect::<String>()
    )
}

pub(super) fn docx(body: &str) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
         <w:body><w:p><w:r><w:t>{body}</w:t></w:r></w:p></w:body></w:document>"
    );
    package("word/document.xml", "wordprocessingml.document.main", &[], &[("word/document.xml", document)])
}

pub(super) fn xlsx(body: &str) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let workbook = format!(
        "<?xml version=\"1.0\"?><workbook xmlns=\"{main}\" xmlns:r=\"{OFFICE}\"><sheets>\
         <sheet name=\"Figures\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>"
    );
    let sheet = format!(
        "<?xml version=\"1.0\"?><worksheet xmlns=\"{main}\"><sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>{body}</t></is></c>\
         <c r=\"B1\"><v>42</v></c></row></sheetData></worksheet>"
    );
    package(
        "xl/workbook.xml",
        "spreadsheetml.sheet.main",
        &[("xl/worksheets/sheet1.xml", "spreadsheetml.worksheet")],
        &[
            ("xl/workbook.xml", workbook),
            ("xl/_rels/workbook.xml.rels", relationships(&[("worksheet", "worksheets/sheet1.xml")])),
            ("xl/worksheets/sheet1.xml", sheet),
        ],
    )
}

pub(super) fn pptx(body: &str) -> Vec<u8> {
    let spaces = format!(
        "xmlns:a=\"http://schemas.openxmlformats.org/drawingml/2006/main\" xmlns:r=\"{OFFICE}\" \
         xmlns:p=\"http://schemas.openxmlformats.org/presentationml/2006/main\""
    );
    let presentation = format!(
        "<?xml version=\"1.0\"?><p:presentation {spaces}><p:sldIdLst><p:sldId id=\"256\" r:id=\"rId1\"/></p:sldIdLst></p:presentation>"
    );
    let slide = format!(
        "<?xml version=\"1.0\"?><p:sld {spaces}><p:cSld><p:spTree><p:sp><p:txBody><a:p><a:r><a:t>{body}</a:t></a:r></a:p></p:txBody></p:sp>\
         </p:spTree></p:cSld></p:sld>"
    );
    package(
        "ppt/presentation.xml",
        "presentationml.presentation.main",
        &[("ppt/slides/slide1.xml", "presentationml.slide")],
        &[
            ("ppt/presentation.xml", presentation),
            ("ppt/_rels/presentation.xml.rels", relationships(&[("slide", "slides/slide1.xml")])),
            ("ppt/slides/slide1.xml", slide),
        ],
    )
}

/// One page of 14-point Helvetica, a sentence a line.
pub(super) fn pdf(body: &str) -> Vec<u8> {
    let lines: String = body.split(". ").map(|line| format!("({line}) Tj 0 -20 Td ")).collect();
    let content = format!("BT /F1 9 Tf 40 760 Td {lines}ET");
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>".to_owned(),
        format!("<</Length {}>>stream\n{content}\nendstream", content.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (number, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{} 0 obj{object}\nendobj\n", number + 1);
    }
    let start = file.len();
    file += &format!(
        "xref\n0 {}\n{table}trailer<</Size {}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1,
        objects.len() + 1
    );
    file.into_bytes()
}
