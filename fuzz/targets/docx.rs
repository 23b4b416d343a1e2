//! Word documents: a whole package, or the XML of its main part.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

const TYPES: &str = "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'>\
    <Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/>\
    <Default Extension='xml' ContentType='application/xml'/><Override PartName='/word/document.xml' \
    ContentType='application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>";
const RELATIONS: &str = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship Id='r1' \
    Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='word/document.xml'/></Relationships>";

fuzz_target!(|data: &[u8]| {
    let others = [("[Content_Types].xml", TYPES), ("_rels/.rels", RELATIONS)];
    fuzz::read(Format::Docx, "", &fuzz::package("word/document.xml", data, &others));
});
