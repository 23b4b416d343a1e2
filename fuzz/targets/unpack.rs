//! Archives and mailboxes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"PK") {
        fuzz::read(Format::Zip, "", data);
    } else if data.starts_with(b"Rar!") || data.starts_with(b"RE~^") {
        fuzz::read(Format::Rar, "", data);
    } else if data.starts_with(b"From ") {
        fuzz::read(Format::Mbox, "", data);
    } else {
        fuzz::read(Format::Eml, "", data);
    }
});
