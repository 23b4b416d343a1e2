//! Groups of near-duplicates. The longest text is a pivot; whatever is alike enough to it, and is not yet in a group, is of its
//! group; then the longest of the rest. So every member says how alike it is to its pivot, and nothing drifts away from it
//! by small steps. The result depends on the texts alone, not on the order in which they came.
//!
//! Candidates are found by bands (locality-sensitive hashing, Indyk and Motwani, 1998): texts that share all values of one
//! band are compared. Memory: what the members take and at most 200 bytes each.

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{VALUES, similarity};

/// From this similarity on, in percent, bands of [`WIDE`] values find at least 99 of 100 pairs; below it bands of [`NARROW`] do, down
/// to 60 percent.
const WIDE_FROM: u8 = 85;
const WIDE: usize = 8;
const NARROW: usize = 4;
/// Texts of one band compared with a pivot in vain before the rest of the band is passed over. Only where thousands of texts
/// share a passage without being alike does that leave one out.
const MOST_MISSES: u32 = 1_000;

/// A text to be grouped.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its signature's values.
    pub values: [u8; VALUES],
    /// Its words.
    pub words: u32,
    /// What settles the order of texts that look the same; from the document's bytes, not from when it came.
    pub tie: u64,
}

impl AsRef<Self> for Member {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Where a text belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of its group's pivot.
    pub pivot: u32,
    /// How alike it is to the pivot, in percent.
    pub similarity: u8,
}

/// Groups texts that are at least `threshold` percent alike (60 to 100). `None` for a text that is like no other. Stops early, with
/// nothing, when `stop` is raised.
pub fn groups<M: AsRef<Member>>(members: &[M], threshold: u8, stop: &AtomicBool) -> Option<Vec<Option<Place>>> {
    let mut order: Vec<u32> = (0..u32::try_from(members.len()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by_key(|at| {
        let member = members[*at as usize].as_ref();
        (Reverse(member.words), member.tie, member.values, *at)
    });
    let width = if threshold >= WIDE_FROM { WIDE } else { NARROW };
    let mut bands = Vec::with_capacity(VALUES / width);
    for band in 0..VALUES / width {
        if stop.load(Ordering::SeqCst) {
            return None;
        }
        bands.push(Band::new(members, &order, band * width..(band + 1) * width));
    }
    let mut work =
        Work { members, order: &order, threshold, places: vec![None; members.len()], seen: vec![0; members.len()] };
    for rank in 0..order.len() {
        if rank % 1_024 == 0 && stop.load(Ordering::SeqCst) {
            return None;
        }
        work.gather(rank, &mut bands);
    }
    Some(work.places)
}

/// Ranks of texts in buckets of equal values, those that stand alone left out.
struct Band {
    values: std::ops::Range<usize>,
    /// Key, where the bucket begins, how many are left in it; ascending by key.
    buckets: Vec<(u64, u32, u32)>,
    ranks: Vec<u32>,
}

impl Band {
    fn new<M: AsRef<Member>>(members: &[M], order: &[u32], values: std::ops::Range<usize>) -> Self {
        let mut all: Vec<(u64, u32)> =
            (0_u32..).zip(order).map(|(rank, at)| (key(members[*at as usize].as_ref(), &values), rank)).collect();
        all.sort_unstable();
        let (mut buckets, mut ranks) = (Vec::new(), Vec::new());
        for bucket in all.chunk_by(|one, other| one.0 == other.0).filter(|bucket| bucket.len() > 1) {
            let size = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
            buckets.push((bucket[0].0, size(ranks.len()), size(bucket.len())));
            ranks.extend(bucket.iter().map(|(_, rank)| *rank));
        }
        Self { values, buckets, ranks }
    }
}

fn key(member: &Member, values: &std::ops::Range<usize>) -> u64 {
    member.values[values.clone()].iter().fold(0, |key, value| (key << 8) | u64::from(*value))
}

struct Work<'a, M> {
    members: &'a [M],
    order: &'a [u32],
    threshold: u8,
    places: Vec<Option<Place>>,
    /// The last pivot, by rank from 1, each text was compared with.
    seen: Vec<u32>,
}

impl<M: AsRef<Member>> Work<'_, M> {
    /// Makes a pivot of the text at `rank`, if it is in no group and others are like it.
    fn gather(&mut self, rank: usize, bands: &mut [Band]) {
        let pivot = self.order[rank];
        if self.places[pivot as usize].is_some() {
            return;
        }
        let mut found = false;
        for band in bands {
            let key = key(self.members[pivot as usize].as_ref(), &band.values);
            let Ok(bucket) = band.buckets.binary_search_by_key(&key, |bucket| bucket.0) else { continue };
            let (_, start, left) = &mut band.buckets[bucket];
            let ranks = &mut band.ranks[*start as usize..][..*left as usize];
            let (kept, some) = self.compare(rank, ranks);
            (*left, found) = (kept, found || some);
        }
        if found {
            self.places[pivot as usize] = Some(Place { pivot, similarity: 100 });
        }
    }

    /// Compares those of a bucket that are in no group with the pivot; drops from the bucket whoever has had their turn. How many
    /// are left, and whether any is like the pivot.
    fn compare(&mut self, rank: usize, ranks: &mut [u32]) -> (u32, bool) {
        let pivot = self.order[rank];
        let stamp = u32::try_from(rank + 1).unwrap_or(u32::MAX);
        let (mut kept, mut misses, mut found) = (0, 0, false);
        for at in 0..ranks.len() {
            let other = ranks[at];
            let member = self.order[other as usize] as usize;
            if other < stamp || self.places[member].is_some() {
                continue;
            }
            if misses < MOST_MISSES && self.seen[member] != stamp {
                self.seen[member] = stamp;
                let (one, two) = (self.members[pivot as usize].as_ref(), self.members[member].as_ref());
                let similarity = similarity(&one.values, &two.values);
                if similarity >= self.threshold {
                    self.places[member] = Some(Place { pivot, similarity });
                    found = true;
                    continue;
                }
                misses += 1;
            }
            ranks[kept] = other;
            kept += 1;
        }
        (u32::try_from(kept).unwrap_or(u32::MAX), found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{fingerprint::FingerprintKey, similarity::Signature};

    static NEVER: AtomicBool = AtomicBool::new(false);

    /// Words `from..until`, with every `every`th another (0: none).
    fn member(name: u64, from: u32, until: u32, every: u32) -> Member {
        let word = |at: u32| {
            if every > 0 && at.is_multiple_of(every) { format!("other{name}x{at} ") } else { format!("word{at} ") }
        };
        let text: String = (from..until).map(word).collect();
        let signature = Signature::new(&text, &FingerprintKey::new([3; 16]), 1).unwrap();
        Member { values: signature.values, words: signature.words, tie: name }
    }

    fn found(members: &[Member], threshold: u8) -> Vec<Option<Place>> {
        groups(members, threshold, &NEVER).unwrap()
    }

    #[test]
    fn the_longest_is_the_pivot_and_the_unlike_have_none() {
        let members = [
            member(1, 0, 990, 0),
            member(2, 5_000, 5_800, 0),
            member(3, 0, 1_000, 0),
            member(4, 0, 1_000, 150),
            member(5, 0, 500, 0),
            member(6, 0, 1_000, 0),
        ];
        let places = found(&members, 85);
        assert_eq!(places[1], None);
        assert_eq!(places[4], None, "half of it is not nine tenths of it");
        assert!(places[0].is_some_and(|place| place.pivot == 2 && place.similarity >= 95));
        assert_eq!(places[2], Some(Place { pivot: 2, similarity: 100 }));
        assert!(places[3].is_some_and(|place| place.pivot == 2 && place.similarity >= 85));
        assert_eq!(places[5], Some(Place { pivot: 2, similarity: 100 }));
        assert_eq!(found(&[], 85), []);
        assert_eq!(groups(&members, 85, &AtomicBool::new(true)), None);
    }

    /// Small steps do not lead far: what stands between two texts is of one group, and the others stay apart.
    #[test]
    fn nothing_drifts() {
        let steps: Vec<Member> = (0..10).map(|step| member(9, step * 60, step * 60 + 1_000, 0)).collect();
        let places = found(&steps, 85);
        for (at, place) in (0_u32..).zip(&places) {
            if let Some(Place { pivot, similarity }) = place {
                assert!(*similarity >= 85, "{at}");
                assert!(at.abs_diff(*pivot) <= 2, "{at} is far from {pivot}");
            }
        }
        assert!(places.iter().flatten().map(|place| place.pivot).collect::<BTreeSet<_>>().len() > 1);
    }

    #[test]
    fn a_crowd_of_equals_takes_no_long_time() {
        let one = member(1, 0, 200, 0);
        let crowd: Vec<Member> = (0..50_000).map(|tie| Member { values: one.values, words: one.words, tie }).collect();
        assert!(found(&crowd, 85).iter().all(|place| *place == Some(Place { pivot: 0, similarity: 100 })));
    }

    /// A crowd that shares one band and nothing else with a pivot is passed over after so many comparisons in vain.
    #[test]
    fn a_crowd_of_strangers_is_passed_over() {
        let mut state = 1;
        let mut stranger = |words, tie| {
            let mut values = [(); VALUES].map(|()| crate::similarity::next(&mut state).to_be_bytes()[0]);
            values[..WIDE].fill(0);
            Member { values, words, tie }
        };
        for (between, is_found) in [(MOST_MISSES - 1, true), (MOST_MISSES, false)] {
            let pivot = stranger(3, 0);
            // Alike in all but one value of every other band.
            let mut twin = Member { values: pivot.values, words: 1, tie: 1 };
            for band in 1..VALUES / WIDE {
                twin.values[band * WIDE] ^= 1;
            }
            let crowd = (0..between).map(|tie| stranger(2, tie.into()));
            let members: Vec<Member> = [pivot, twin].into_iter().chain(crowd).collect();
            assert_eq!(found(&members, 85)[1].is_some(), is_found, "{between}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// The same texts in any order are the same groups with the same pivots.
        #[test]
        fn the_order_of_arrival_does_not_matter(order in Just((0_usize..24).collect::<Vec<_>>()).prop_shuffle(), threshold in prop::sample::select(vec![70_u8, 80, 85, 95])) {
            // Three families of texts; in each some steps bridge others.
            let texts: Vec<Member> = (0..24_u32)
                .map(|name| member(name.into(), (name % 3) * 10_000 + (name / 3) * 12, (name % 3) * 10_000 + 400 + (name / 5) * 9, 0))
                .collect();
            let straight = found(&texts, threshold);
            let shuffled: Vec<Member> = order.iter().map(|at| texts[*at]).collect();
            let again = found(&shuffled, threshold);
            for (place, at) in again.iter().zip(&order) {
                let named = place.map(|place| Place { pivot: u32::try_from(order[place.pivot as usize]).unwrap(), ..place });
                prop_assert_eq!(named, straight[*at]);
            }
        }
    }
}
