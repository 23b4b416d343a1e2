//! Identification: any bytes under any name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::identify;

fuzz_target!(|data: &[u8]| {
    for name in ["", "a.txt", "b.csv", "c.docx", "d.eml", "e.doc"] {
        let _ = identify(data, name);
    }
});
