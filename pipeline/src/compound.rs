//! Compound files, read (MS-CFB). The cfb crate, which writes them here, refuses files that Outlook opens: directories that
//! are not sorted, tables or streams cut short. This reader takes what is there: every chain and tree is followed at most
//! once around, so no loop and no lie about a size costs more than the file itself.

/// An open compound file.
pub(crate) struct Compound {
    bytes: Vec<u8>,
    /// Sectors are two to this power bytes long.
    shift: u32,
    fat: Vec<u32>,
    mini_fat: Vec<u32>,
    /// The stream that holds all streams shorter than [`MINI_BELOW`].
    mini: Vec<u8>,
    /// Where the chains of the directory and of the table of short streams begin.
    starts: [u32; 2],
    entries: Vec<Entry>,
}

/// A storage or a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_storage: bool,
    pub(crate) class: [u8; 16],
    pub(crate) size: u64,
    start: u32,
    links: [u32; 3],
    children: Vec<usize>,
}

/// The root storage.
pub(crate) const ROOT: usize = 0;
const MINI_BELOW: u64 = 4096;
const MINI_SHIFT: u32 = 6;

impl Compound {
    /// Reads header, tables and directory; `None` when there is no root.
    pub(crate) fn open(bytes: Vec<u8>) -> Option<Self> {
        if !bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
            return None;
        }
        let shift = match u16::from_le_bytes(*bytes.get(30..32)?.first_chunk()?) {
            shift @ 7..=16 => u32::from(shift),
            _ => 9,
        };
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let (directory, mini_start) = (word(48)?, word(60)?);
        let mut file = Self {
            bytes,
            shift,
            fat: Vec::new(),
            mini_fat: Vec::new(),
            mini: Vec::new(),
            starts: [directory, mini_start],
            entries: Vec::new(),
        };
        file.fat = file.table();
        file.mini_fat = words(&file.chain(mini_start, u64::MAX));
        file.entries = file.chain(directory, u64::MAX).as_chunks::<128>().0.iter().map(entry).collect();
        let root = file.entries.first().filter(|root| root.is_storage)?;
        file.mini = file.chain(root.start, root.size);
        file.hang();
        Some(file)
    }

    /// Length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn entry(&self, id: usize) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// What is in a storage, sorted by name.
    pub(crate) fn children(&self, storage: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let children = self.entry(storage).map(|entry| entry.children.as_slice()).unwrap_or_default();
        children.iter().filter_map(|id| Some((*id, self.entry(*id)?)))
    }

    /// The member of a storage with that name.
    pub(crate) fn find(&self, storage: usize, name: &str) -> Option<usize> {
        self.children(storage).find(|(_, entry)| entry.name.eq_ignore_ascii_case(name)).map(|(id, _)| id)
    }

    /// The stream with that name: the one in the root, else any, because the tree of a damaged directory may lead nowhere.
    pub(crate) fn find_anywhere(&self, name: &str) -> Option<usize> {
        let named = |entry: &Entry| !entry.is_storage && entry.name.eq_ignore_ascii_case(name);
        let in_root = self.children(ROOT).find(|(_, entry)| named(entry)).map(|(id, _)| id);
        in_root.or_else(|| self.entries.iter().position(named))
    }

    /// The bytes of a stream, as many of them as there are.
    pub(crate) fn read(&self, stream: usize) -> Vec<u8> {
        match self.entry(stream) {
            Some(entry) if entry.is_storage => Vec::new(),
            Some(entry) if entry.size < MINI_BELOW => {
                follow(&self.mini, &self.mini_fat, MINI_SHIFT, 0, entry.start, entry.size)
            }
            Some(entry) => self.chain(entry.start, entry.size),
            None => Vec::new(),
        }
    }

    /// True when a chain that leads to the bytes of `stream` comes back to where it was: the file is damaged, or made to
    /// keep its readers busy.
    pub(crate) fn goes_round(&self, stream: usize) -> bool {
        let root = self.entry(ROOT).map(|root| root.start);
        let mut tables = self.starts.into_iter().chain(root);
        tables.any(|start| is_circular(&self.fat, start))
            || self.entry(stream).is_some_and(|entry| {
                let table = if entry.size < MINI_BELOW { &self.mini_fat } else { &self.fat };
                is_circular(table, entry.start)
            })
    }

    fn chain(&self, start: u32, size: u64) -> Vec<u8> {
        // The header takes the place of one sector.
        follow(&self.bytes, &self.fat, self.shift, 1, start, size)
    }

    fn sector(&self, number: u32) -> &[u8] {
        piece(&self.bytes, self.shift, 1, number)
    }

    /// The sector table, by the list of its sectors in the header and in a chain after it.
    fn table(&self) -> Vec<u32> {
        let per_sector = 1_usize.checked_shl(self.shift).unwrap_or(512) / 4;
        let most = self.bytes.len() >> self.shift;
        let header = self.bytes.get(76..512).unwrap_or_default();
        let mut places = words(header);
        let mut next = words(self.bytes.get(68..72).unwrap_or_default()).first().copied().unwrap_or(u32::MAX);
        for _ in 0..most {
            let mut list = words(self.sector(next));
            if list.len() < per_sector {
                break;
            }
            next = list.pop().unwrap_or(u32::MAX);
            places.extend(list);
        }
        // A table longer than the file has sectors says nothing.
        let sectors = places.iter().filter(|place| **place < 0xffff_fff0).map(|place| words(self.sector(*place)));
        let used = most.saturating_mul(4).checked_div(per_sector).unwrap_or(0).saturating_add(2);
        sectors.take(used).flatten().take(most.saturating_add(1)).collect()
    }

    /// Gives every storage its members, each entry to one storage only.
    fn hang(&mut self) {
        let mut hung = vec![false; self.entries.len()];
        let mut storages = vec![ROOT];
        if let Some(root) = hung.get_mut(ROOT) {
            *root = true;
        }
        while let Some(storage) = storages.pop() {
            let mut waiting: Vec<u32> = self.entries.get(storage).map(|entry| entry.links[2]).into_iter().collect();
            let mut children = Vec::new();
            while let Some(link) = waiting.pop() {
                let id = link as usize;
                let (Some(entry), Some(seen)) = (self.entries.get(id), hung.get_mut(id)) else { continue };
                if std::mem::replace(seen, true) || entry.name.is_empty() {
                    continue;
                }
                let [left, right, _] = entry.links;
                waiting.extend([left, right]);
                children.push(id);
                if entry.is_storage {
                    storages.push(id);
                }
            }
            children.sort_by_key(|id| self.entries.get(*id).map(|entry| entry.name.clone()));
            if let Some(entry) = self.entries.get_mut(storage) {
                entry.children = children;
            }
        }
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

fn piece(bytes: &[u8], shift: u32, header: u64, number: u32) -> &[u8] {
    let start = u64::from(number).saturating_add(header).checked_shl(shift).and_then(|at| usize::try_from(at).ok());
    let rest = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
    rest.get(..1_usize.checked_shl(shift).unwrap_or(0)).unwrap_or(rest)
}

/// True when the chain from `start` has more links than the table.
fn is_circular(table: &[u32], start: u32) -> bool {
    let mut next = Some(start);
    for _ in 0..=table.len() {
        let Some(sector) = next else { return false };
        next = table.get(sector as usize).copied();
    }
    next.is_some()
}

/// The sectors of a chain, cut to `size`.
fn follow(bytes: &[u8], table: &[u32], shift: u32, header: u64, start: u32, size: u64) -> Vec<u8> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
    let mut content = Vec::new();
    let mut next = start;
    for _ in 0..=table.len() {
        let part = piece(bytes, shift, header, next);
        if part.is_empty() || content.len() >= size {
            break;
        }
        content.extend_from_slice(part);
        next = table.get(next as usize).copied().unwrap_or(u32::MAX);
    }
    content.truncate(size);
    content
}

/// An entry of the directory (MS-CFB 2.6.1).
fn entry(bytes: &[u8; 128]) -> Entry {
    let word =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word));
    let length = usize::try_from(word(64) & 0xffff).unwrap_or(0).clamp(2, 64).saturating_sub(2);
    let name = encoding_rs::UTF_16LE.decode_without_bom_handling(bytes.get(..length).unwrap_or_default()).0;
    let kind = word(64) >> 16 & 0xff;
    let class = bytes.get(80..96).and_then(|class| class.first_chunk()).copied().unwrap_or_default();
    let size = u64::from(word(120)) | u64::from(word(124)) << 32;
    Entry {
        name: if matches!(kind, 1 | 2 | 5) { name.into_owned() } else { String::new() },
        is_storage: matches!(kind, 1 | 5),
        class,
        // Files with small sectors leave rubbish in the upper half (MS-CFB 2.6.3).
        size: if size >> 32 > 0xff { size & 0xffff_ffff } else { size },
        start: word(116),
        links: [word(68), word(72), word(76)],
        children: Vec::new(),
    }
}
