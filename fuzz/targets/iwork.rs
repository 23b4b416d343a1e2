//! Pages, Numbers and Keynote: a whole document, bare XML, or bare objects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    let part = if data.starts_with(b"<") { "index.apxl" } else { "Index/Document.iwa" };
    fuzz::read(Format::Iwork, "", &fuzz::package(part, data, &[]));
});
