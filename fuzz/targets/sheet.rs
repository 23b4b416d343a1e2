//! Workbooks: a whole package or compound file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::Format;

fuzz_target!(|data: &[u8]| {
    fuzz::read_as_found(&[Format::Xlsx, Format::Xlsb, Format::Xls, Format::Ods, Format::Csv], data);
});
