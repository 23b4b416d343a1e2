//! Web pages, other XML, JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    fuzz::read(Format::Html, "", data);
    fuzz::read(Format::Xml, "", data);
    fuzz::read(Format::Text, "a.json", data);
});
