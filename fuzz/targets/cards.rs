//! Calendars and business cards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    fuzz::read(Format::Ics, "", data);
    fuzz::read(Format::Vcf, "", data);
});
