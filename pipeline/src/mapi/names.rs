//! Named properties: numbers from 0x8000 on mean something else in each message; a table says what (MS-OXMSG 2.2.3).

use std::collections::BTreeMap;

/// Sets of named properties, as their bytes stand in files (MS-OXPROPS 1.3.2).
pub(crate) const APPOINTMENT: [u8; 16] = set(0x0006_2002);
pub(crate) const ADDRESS: [u8; 16] = set(0x0006_2004);
pub(crate) const TASK: [u8; 16] = set(0x0006_2003);

const fn set(first: u32) -> [u8; 16] {
    let [a, b, c, d] = first.to_le_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46]
}

/// The table of one message. Names that are strings are kept for writing, not looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// The sets that entries refer to, 16 bytes each.
    pub(crate) sets: Vec<u8>,
    /// Eight bytes for each name.
    pub(crate) entries: Vec<u8>,
    /// Names that are strings.
    pub(crate) strings: Vec<u8>,
    known: BTreeMap<([u8; 16], u32), u16>,
}

impl Names {
    /// Reads the three streams of the table.
    pub(crate) fn new(sets: Vec<u8>, entries: Vec<u8>, strings: Vec<u8>) -> Self {
        let mut known = BTreeMap::new();
        for entry in entries.as_chunks::<8>().0 {
            let [i0, i1, i2, i3, k0, k1, p0, p1] = *entry;
            let which = u16::from_le_bytes([k0, k1]);
            // Bit 0: the name is a string. Sets 0 to 2 are built in and hold nothing that is looked up here.
            let (Some(set), 0) = ((which >> 1).checked_sub(3), which & 1) else { continue };
            let place = sets.as_chunks::<16>().0.get(usize::from(set));
            if let (Some(set), Some(id)) = (place, u16::from_le_bytes([p0, p1]).checked_add(0x8000)) {
                known.insert((*set, u32::from_le_bytes([i0, i1, i2, i3])), id);
            }
        }
        Self { sets, entries, strings, known }
    }

    /// The table that says this, as if read from a file.
    pub(crate) fn of(known: BTreeMap<([u8; 16], u32), u16>) -> Self {
        let (mut sets, mut entries) = (Vec::new(), Vec::new());
        for (((set, name), id), place) in known.iter().zip(3_u16..) {
            sets.extend(set);
            entries.extend(name.to_le_bytes());
            entries.extend((place << 1).to_le_bytes());
            entries.extend(id.saturating_sub(0x8000).to_le_bytes());
        }
        Self { sets, entries, strings: Vec::new(), known }
    }

    pub(crate) fn find(&self, set: [u8; 16], id: u32) -> Option<u16> {
        self.known.get(&(set, id)).copied()
    }
}
