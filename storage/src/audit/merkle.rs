//! The arithmetic of a Merkle log: RFC 6962 §2.1 (the tree) and RFC 9162 §2.1.3 and §2.1.4 (proofs). Nothing here reads a row: a
//! proof is a list of ranges of leaves, whoever has the hashes says what the roots of those ranges are.

use std::{fmt, ops::Range};

use sha2::{Digest as _, Sha256};

/// SHA-256 of a leaf, or of two subtrees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The hash of a leaf: SHA-256(0x00 ‖ bytes).
pub fn leaf(bytes: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(bytes).finalize().into())
}

/// The hash of two subtrees: SHA-256(0x01 ‖ left ‖ right).
pub fn node(left: Hash, right: Hash) -> Hash {
    Hash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// A complete subtree: the leaves from `index · 2^level` to `(index + 1) · 2^level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Its height.
    pub level: u32,
    /// Which of its height, from the left.
    pub index: u64,
}

/// The complete subtrees that leaves `range` consist of, left to right. The range begins where one of its size may begin, as all
/// ranges of proofs do.
pub fn subtrees(range: Range<u64>) -> Vec<Subtree> {
    let (mut parts, mut start) = (Vec::new(), range.start);
    while start < range.end {
        let level = (range.end - start).ilog2();
        parts.push(Subtree { level, index: start >> level });
        start += 1 << level;
    }
    parts
}

/// The root over complete subtrees from left to right, none smaller than the next. That of nothing is SHA-256 of nothing.
pub fn root(parts: &[Hash]) -> Hash {
    let Some((last, larger)) = parts.split_last() else { return Hash(Sha256::digest([]).into()) };
    larger.iter().rev().fold(*last, |right, left| node(*left, right))
}

/// A log as far as it must be known to add to it: the complete subtrees it consists of, largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    edge: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the whole log.
    pub fn root(&self) -> Hash {
        root(&self.edge)
    }

    /// Adds a leaf; `made` hears of every complete subtree that ends with it, the leaf itself first.
    pub fn push(&mut self, leaf: Hash, mut made: impl FnMut(Subtree, Hash)) {
        let (mut subtree, mut hash) = (Subtree { level: 0, index: self.size }, leaf);
        made(subtree, hash);
        while subtree.index % 2 == 1
            && let Some(left) = self.edge.pop()
        {
            hash = node(left, hash);
            subtree = Subtree { level: subtree.level + 1, index: subtree.index / 2 };
            made(subtree, hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// Size (8 bytes, big-endian) and the edge.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.edge.iter().flat_map(|hash| hash.0));
        bytes
    }

    /// What [`Frontier::to_bytes`] wrote; `None` when it cannot be that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, edge) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (hashes, rest) = edge.as_chunks::<32>();
        let edge: Vec<Hash> = hashes.iter().map(|hash| Hash(*hash)).collect();
        (rest.is_empty() && edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }
}

/// The largest power of two below `n`, for `n` of two and more.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// What proves that leaf `index` is in a log of `size`: the ranges whose roots are the proof, in its order (RFC 9162 §2.1.3.1).
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut proof, mut start, mut end) = (Vec::new(), 0, size);
    while end - start > 1 && (start..end).contains(&index) {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(middle..end);
            end = middle;
        } else {
            proof.push(start..middle);
            start = middle;
        }
    }
    proof.reverse();
    proof
}

/// What proves that a log of `size` begins with one of `old` leaves, as ranges like those of [`inclusion`] (RFC 9162 §2.1.4.1).
pub fn consistency(old: u64, size: u64) -> Vec<Range<u64>> {
    if old == 0 || old >= size {
        return Vec::new();
    }
    let (mut proof, mut start, mut end, mut is_whole) = (Vec::new(), 0, size, true);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(middle..end);
            end = middle;
        } else {
            proof.push(start..middle);
            start = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        proof.push(start..end);
    }
    proof.reverse();
    proof
}

/// True when `proof` shows that `leaf` stands at `index` in the log of `size` leaves with this root (RFC 9162 §2.1.3.2).
pub fn is_included(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut position, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if position % 2 == 1 || position == last {
            hash = node(*sibling, hash);
            while position % 2 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(hash, *sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}

/// True when `proof` shows that the log of `size` leaves with root `root` begins with the one of `old` leaves with root `old_root`
/// (RFC 9162 §2.1.4.2).
pub fn is_consistent(old: u64, size: u64, old_root: Hash, new_root: Hash, proof: &[Hash]) -> bool {
    if old > size {
        return false;
    }
    if old == size {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && old_root == root(&[]);
    }
    let mut proof = proof.iter().copied();
    let first = if old.is_power_of_two() { Some(old_root) } else { proof.next() };
    let Some(first) = first else { return false };
    let (mut position, mut last) = (old - 1, size - 1);
    while position % 2 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if position % 2 == 1 || position == last {
            old_hash = node(sibling, old_hash);
            new_hash = node(sibling, new_hash);
            while position % 2 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node(new_hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == old_root && new_hash == new_root
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]
mod tests {
    use super::*;

    /// MTH of RFC 6962 §2.1, word for word.
    fn tree(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => root(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node(tree(left), tree(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    fn of(leaves: &[Hash], ranges: &[Range<u64>]) -> Vec<Hash> {
        ranges.iter().map(|r| tree(&leaves[r.start as usize..r.end as usize])).collect()
    }

    #[test]
    fn known_answers() {
        // The tree of the tests of Certificate Transparency (google/certificate-transparency, merkletree tests).
        let inputs =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let mut log = Frontier::default();
        for input in inputs {
            log.push(leaf(&hex::decode(input).unwrap()), |_, _| ());
        }
        let expected = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
        assert_eq!(hex::encode(log.root().0), expected);
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex::encode(Frontier::default().root().0), nothing);
    }

    #[test]
    fn every_small_tree_proves_itself_and_nothing_else() {
        let leaves = leaves(70);
        let mut log = Frontier::default();
        for size in 0..=leaves.len() as u64 {
            let all = &leaves[..size as usize];
            assert_eq!(log.root(), tree(all));
            assert_eq!(Frontier::from_bytes(&log.to_bytes()), Some(log.clone()));
            for index in 0..size {
                let ranges = inclusion(index, size);
                for range in &ranges {
                    let parts: Vec<Hash> = subtrees(range.clone())
                        .iter()
                        .map(|s| tree(&leaves[(s.index << s.level) as usize..((s.index + 1) << s.level) as usize]))
                        .collect();
                    assert_eq!(root(&parts), tree(&leaves[range.start as usize..range.end as usize]));
                }
                let proof = of(all, &ranges);
                assert!(is_included(leaves[index as usize], index, size, &proof, log.root()));
                assert!(!is_included(leaves[index as usize], index + 1, size, &proof, log.root()));
                assert!(!is_included(leaf(b"other"), index, size, &proof, log.root()));
                if !proof.is_empty() {
                    assert!(!is_included(leaves[index as usize], index, size, &proof[1..], log.root()));
                }
            }
            for old in 0..=size {
                let before = tree(&all[..old as usize]);
                let proof = of(all, &consistency(old, size));
                assert!(is_consistent(old, size, before, log.root(), &proof), "{old} of {size}");
                assert!(!is_consistent(old, size, leaf(b"other"), log.root(), &proof));
                assert!(size == old || old == 0 || !is_consistent(old, size, before, leaf(b"other"), &proof));
                let longer: Vec<Hash> = proof.iter().copied().chain([before]).collect();
                assert!(!is_consistent(old, size, before, log.root(), &longer));
            }
            if let Some(next) = leaves.get(size as usize) {
                log.push(*next, |subtree, hash| {
                    let range =
                        (subtree.index << subtree.level) as usize..((subtree.index + 1) << subtree.level) as usize;
                    assert_eq!(hash, tree(&leaves[range]));
                });
            }
        }
        assert_eq!(Frontier::from_bytes(&[0; 7]), None);
        assert_eq!(Frontier::from_bytes(&[0, 0, 0, 0, 0, 0, 0, 1]), None);
    }
}
