//! The simplest ZIP there is: members stored as they are (APPNOTE 6.3.10 §4.3), so that what they say stands in the clear.

/// An archive of `members` (name, bytes), uncompressed.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let offset = length(archive.len());
        let mut head = Vec::new();
        // Version 2.0, no flags, stored, 2024-03-04 09:00.
        for field in [20_u16, 0, 0, 9 << 11, (44 << 9) | (3 << 5) | 4] {
            head.extend(field.to_le_bytes());
        }
        for field in [crc32(bytes), length(bytes.len()), length(bytes.len())] {
            head.extend(field.to_le_bytes());
        }
        head.extend(short(name.len()).to_le_bytes());
        head.extend(0_u16.to_le_bytes());
        archive.extend(0x0403_4b50_u32.to_le_bytes());
        archive.extend(&head);
        archive.extend(name.as_bytes());
        archive.extend(*bytes);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend(20_u16.to_le_bytes());
        directory.extend(&head);
        // No comment, disk 0, no attributes.
        directory.extend([0_u8; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = length(archive.len());
    archive.extend(&directory);
    archive.extend(0x0605_4b50_u32.to_le_bytes());
    archive.extend([0_u8; 4]);
    for _ in 0..2 {
        archive.extend(short(members.len()).to_le_bytes());
    }
    archive.extend(length(directory.len()).to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend(0_u16.to_le_bytes());
    archive
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// CRC-32 of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
