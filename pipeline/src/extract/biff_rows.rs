//! Workbooks of Excel 5 to 2003 whose cells lie far apart. Their reader keeps each sheet as a whole rectangle, and makes room for one as
//! large as the sheet claims to be: two cells in opposite corners took a gigabyte. So what a sheet claims is taken out of its records, and
//! where its cells span too much its rows are numbered anew, without those that are empty.

use std::collections::{BTreeSet, HashMap};

use super::biff::word;

/// Cells of the largest rectangle that is left as it is.
const MOST: usize = 2_000_000;

/// Records (MS-XLS 2.3.2).
const BEGIN: u16 = 0x0809;
const END: u16 = 0x000a;
const DIMENSIONS: u16 = 0x0200;
const BLANK: u16 = 0x0201;
const MANY_RK: u16 = 0x00bd;
/// Records of one cell, which begin with row and column: formula, number, label, truth or error, rich text, RK, shared text.
const CELLS: [u16; 7] = [0x0006, 0x0203, 0x0204, 0x0205, 0x00d6, 0x027e, 0x00fd];

/// The rows of a sheet whose rows were numbered anew: what each number stood for.
pub(super) type Rows = Vec<u16>;

/// Changes the records in place; the sheets that were changed, by where they begin in the stream.
pub(super) fn squeeze(records: &mut [u8]) -> HashMap<usize, Rows> {
    let mut found = HashMap::new();
    let (mut at, mut depth, mut sheet) = (0_usize, 0_u32, Sheet::default());
    while let (Some(kind), Some(length)) = (word(records, at), word(records, at.saturating_add(2))) {
        let body = at.saturating_add(4);
        let next = body.saturating_add(length.into());
        match kind {
            BEGIN => {
                depth = depth.saturating_add(1);
                if depth == 1 {
                    sheet = Sheet { start: at, ..Sheet::default() };
                }
            }
            END => {
                if depth == 1
                    && let Some(rows) = sheet.squeezed(records)
                {
                    found.insert(sheet.start, rows);
                }
                depth = depth.saturating_sub(1);
            }
            // Charts lie within sheets.
            _ if depth != 1 => {}
            DIMENSIONS => put(records, at, BLANK),
            MANY_RK => sheet.cell(records, body, word(records, next.saturating_sub(2))),
            cell if CELLS.contains(&cell) => sheet.cell(records, body, word(records, body.saturating_add(2))),
            _ => {}
        }
        at = next;
    }
    found
}

fn put(records: &mut [u8], at: usize, number: u16) {
    if let Some(place) = records.get_mut(at..at.saturating_add(2)) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Where the cells of one sheet are.
#[derive(Default)]
struct Sheet {
    start: usize,
    rows: BTreeSet<u16>,
    last_column: u16,
    /// Where the rows of the cells stand in the stream.
    places: Vec<usize>,
}

impl Sheet {
    fn cell(&mut self, records: &[u8], at: usize, last_column: Option<u16>) {
        let Some((row, last_column)) = word(records, at).zip(last_column) else { return };
        self.rows.insert(row);
        self.last_column = self.last_column.max(last_column);
        self.places.push(at);
    }

    fn squeezed(&self, records: &mut [u8]) -> Option<Rows> {
        let (first, last) = (*self.rows.first()?, *self.rows.last()?);
        let cells =
            usize::from(last.saturating_sub(first)).saturating_mul(usize::from(self.last_column).saturating_add(1));
        if cells <= MOST {
            return None;
        }
        let rows: Rows = self.rows.iter().copied().collect();
        for at in &self.places {
            let rank = word(records, *at).and_then(|row| rows.binary_search(&row).ok());
            if let Some(rank) = rank.and_then(|rank| u16::try_from(rank).ok()) {
                put(records, *at, rank);
            }
        }
        Some(rows)
    }
}
