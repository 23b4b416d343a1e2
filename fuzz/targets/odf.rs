//! OpenDocument texts and slides: a whole package, or the XML of its content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    let others = [("mimetype", "application/vnd.oasis.opendocument.text")];
    fuzz::read(Format::Odt, "", &fuzz::package("content.xml", data, &others));
});
