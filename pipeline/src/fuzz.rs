//! The parsers on bytes, in this process and outside the sandbox, with small limits: what the targets in `fuzz/` call.
//! Nothing else may: hostile bytes belong into a child ([`crate::Reader`]).

use domain::{outcome::Exception, text::Text};

use crate::{
    extract::{self, Engines},
    format::Format,
    limits::Limits,
    passwords::KeyRing,
    reader::Unpacked,
    settings::Settings,
    unpack,
};

/// Reads the members of a container and throws them away.
pub fn unpack(format: Format, bytes: Vec<u8>) -> Result<Unpacked, Exception> {
    unpack::members(format, "", bytes, &settings().limits, &KeyRing::default(), &mut |_| Ok(()))
}

/// Reads a document without engines beside the built-in ones; what would have to be recognised stays empty.
pub fn extract(format: Format, name: &str, bytes: Vec<u8>) -> Result<Text, Exception> {
    extract::document(format, name, bytes, &settings(), &Engines::none(), &KeyRing::default(), &mut |_| Ok(()))
}

fn settings() -> Settings {
    let limits = Limits {
        max_members: 1_000,
        max_unpacked_bytes: 32 << 20,
        max_pages: 200,
        max_text_bytes: 1 << 20,
        max_pixels: 4_000_000,
        ..Limits::default()
    };
    Settings { limits, ..Settings::default() }
}
