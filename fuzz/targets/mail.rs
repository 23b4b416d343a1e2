//! Messages and stores of messages, by what their bytes say they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    fuzz::read_as_found(&[Format::Eml, Format::Msg, Format::Tnef, Format::Pst, Format::Pkcs7], data);
});
