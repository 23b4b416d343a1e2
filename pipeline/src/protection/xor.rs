//! Workbooks obfuscated by XOR, as Excel 95 did and later ones still can (MS-OFFCRYPTO 2.3.7): sixteen bytes made from the password
//! go round over the stream. The file keeps two checks of sixteen bits, which one wrong password in four billion passes.

use encoding_rs::WINDOWS_1252;

/// What a password has at most; the rest of a longer one is not looked at.
const LONGEST: usize = 15;

/// What a key begins with, by the length of the password; and what its bits change in it (2.3.7.2).
const INITIAL: [u16; LONGEST] = [
    0xe1f0, 0x1d0f, 0xcc9c, 0x84c0, 0x110c, 0x0e10, 0xf1ce, 0x313e, 0x1872, 0xe139, 0xd40f, 0x84f9, 0x280c, 0xa96a,
    0x4ec3,
];
const MATRIX: [[u16; 7]; LONGEST] = [
    [0xaefc, 0x4dd9, 0x9bb2, 0x2745, 0x4e8a, 0x9d14, 0x2a09],
    [0x7b61, 0xf6c2, 0xfda5, 0xeb6b, 0xc6f7, 0x9dcf, 0x2bbf],
    [0x4563, 0x8ac6, 0x05ad, 0x0b5a, 0x16b4, 0x2d68, 0x5ad0],
    [0x0375, 0x06ea, 0x0dd4, 0x1ba8, 0x3750, 0x6ea0, 0xdd40],
    [0xd849, 0xa0b3, 0x5147, 0xa28e, 0x553d, 0xaa7a, 0x44d5],
    [0x6f45, 0xde8a, 0xad35, 0x4a4b, 0x9496, 0x390d, 0x721a],
    [0xeb23, 0xc667, 0x9cef, 0x29ff, 0x53fe, 0xa7fc, 0x5fd9],
    [0x47d3, 0x8fa6, 0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0],
    [0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec],
    [0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84, 0x3508, 0x6a10],
    [0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168],
    [0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c],
    [0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad],
    [0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc],
    [0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4],
];
/// What a short password is filled up with.
const PADDING: [u8; LONGEST] =
    [0xbb, 0xff, 0xff, 0xba, 0xff, 0xff, 0xb9, 0x80, 0x00, 0xbe, 0x0f, 0x00, 0xbf, 0x0f, 0x00];

/// The checks in the file.
pub(super) struct Obfuscation {
    key: u16,
    verifier: u16,
}

/// The bytes that go round.
pub(super) type Ring = [u8; 16];

impl Obfuscation {
    /// From the record's content, without the kind that stands before it from Excel 97 on.
    pub(super) fn parse(checks: &[u8]) -> Option<Self> {
        let [k0, k1, v0, v1] = *checks.first_chunk()?;
        Some(Self { key: u16::from_le_bytes([k0, k1]), verifier: u16::from_le_bytes([v0, v1]) })
    }

    /// The bytes that go round, when `password` fits.
    pub(super) fn ring(&self, password: &str) -> Option<Ring> {
        let (password, _, lossy) = WINDOWS_1252.encode(password);
        let password = password.get(..password.len().min(LONGEST)).filter(|password| !password.is_empty() && !lossy)?;
        (verifier(password) == self.verifier && key(password)? == self.key).then(|| ring(password, self.key))
    }
}

/// Takes the obfuscation off the content of a record of `length` bytes that stands at `start` of its stream; `from` bytes of
/// it are plain (2.3.7.3 with MS-XLS 2.2.10).
pub(super) fn uncover(ring: &Ring, start: usize, from: usize, bytes: &mut [u8]) {
    let first = start.wrapping_add(bytes.len());
    for (byte, at) in bytes.iter_mut().zip(first..).skip(from) {
        *byte = (*byte ^ ring.get(at & 15).copied().unwrap_or_default()).rotate_right(5);
    }
}

fn verifier(password: &[u8]) -> u16 {
    let length = u8::try_from(password.len()).unwrap_or_default();
    let folded = password
        .iter()
        .rev()
        .chain([&length])
        .fold(0_u16, |sum, byte| (sum >> 14 & 1 | sum << 1 & 0x7fff) ^ u16::from(*byte));
    folded ^ 0xce4b
}

fn key(password: &[u8]) -> Option<u16> {
    let mut key = *INITIAL.get(password.len().checked_sub(1)?)?;
    // The last character takes the last row, its lowest bits the last columns.
    for (byte, row) in password.iter().rev().zip(MATRIX.iter().rev()) {
        for (place, change) in (0..7_u32).zip(row.iter().rev()) {
            if byte.checked_shr(6_u32.saturating_sub(place))? & 1 == 1 {
                key ^= change;
            }
        }
    }
    Some(key)
}

fn ring(password: &[u8], key: u16) -> Ring {
    let padded = password.iter().chain(&PADDING).copied();
    let [low, high] = key.to_le_bytes();
    let mut ring = Ring::default();
    for ((place, byte), target) in (0_u8..).zip(padded).zip(&mut ring) {
        *target = (byte ^ if place % 2 == 0 { low } else { high }).rotate_right(1);
    }
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_everybody_knows() {
        let checks =
            Obfuscation::parse(&[0x59, 0xb3, 0x0a, 0x9a]).map(|checks| checks.ring("VelvetSweatshop").is_some());
        assert_eq!(checks, Some(true));
        let wrong = Obfuscation::parse(&[0x59, 0xb3, 0x0a, 0x9a]).and_then(|checks| checks.ring("velvetSweatshop"));
        assert_eq!(wrong, None);
    }
}
