//! Conversations: which messages answer which (RFC 5256 "REFERENCES", after Jamie Zawinski's algorithm, with Outlook's
//! Conversation-Index where ids are missing), and which of them hold everything the others say ([`inclusive`]). Pure: the
//! caller brings all messages of a case that might belong together, each as what is left of it in keyed hashes.

mod inclusive;
mod letter;
mod subject;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    inclusive::{Body, body, inclusive},
    letter::Letter,
    subject::{Subject, base_subject},
};
use crate::clock::Timestamp;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the message that stands for its thread: the earliest of it, the first given where times are equal or
    /// missing.
    pub thread: usize,
    /// Index of the message it answers, or the nearest one before that which is here. Copies (equal ids) stand in the same
    /// place.
    pub parent: Option<usize>,
}

/// Threads messages; the answer has a place for each, in the order given. Takes about 100 bytes a message.
pub fn threads<L: AsRef<Letter>>(letters: &[L]) -> Vec<Place> {
    let mut forest = Forest::default();
    let nodes: Vec<u32> = (0_u32..).zip(letters).map(|(at, letter)| forest.add(at, letter.as_ref())).collect();
    for (letter, node) in letters.iter().zip(&nodes) {
        forest.link_by_ids(letter.as_ref(), *node);
    }
    link_by_index(letters, &nodes, &mut forest);
    link_by_subject(letters, &nodes, &mut forest);
    forest.places(letters, &nodes)
}

/// Stands for no message and no node.
const NONE: u32 = u32::MAX;

/// A message, or one that is only referred to.
#[derive(Debug)]
struct Node {
    /// The first message with this id.
    message: u32,
    parent: u32,
    has_children: bool,
}

#[derive(Debug, Default)]
struct Forest {
    nodes: Vec<Node>,
    by_id: BTreeMap<u64, u32>,
}

impl Forest {
    fn node(&mut self) -> u32 {
        self.nodes.push(Node { message: NONE, parent: NONE, has_children: false });
        u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn at(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    fn parent(&self, node: u32) -> Option<u32> {
        Some(self.nodes[node as usize].parent).filter(|parent| *parent != NONE)
    }

    fn of_id(&mut self, id: u64) -> u32 {
        if let Some(node) = self.by_id.get(&id) {
            return *node;
        }
        let node = self.node();
        self.by_id.insert(id, node);
        node
    }

    fn add(&mut self, message: u32, letter: &Letter) -> u32 {
        let node = match letter.message {
            Some(id) => self.of_id(id),
            None => self.node(),
        };
        let first = &mut self.at(node).message;
        *first = (*first).min(message);
        node
    }

    /// Hangs `child` under `parent`, unless that would close a circle.
    fn hang(&mut self, child: u32, parent: u32) {
        // A node without children cannot be above any other; that spares the climb in long conversations.
        if child == parent || (self.nodes[child as usize].has_children && self.is_above(child, parent)) {
            return;
        }
        self.at(child).parent = parent;
        self.at(parent).has_children = true;
    }

    fn is_above(&self, node: u32, other: u32) -> bool {
        let mut at = Some(other);
        while let Some(here) = at {
            if here == node {
                return true;
            }
            at = self.parent(here);
        }
        false
    }

    /// The last reference is the message answered.
    fn link_by_ids(&mut self, letter: &Letter, node: u32) {
        let chain: Vec<u32> = letter.answers.iter().map(|id| self.of_id(*id)).collect();
        for pair in chain.windows(2) {
            if self.parent(pair[1]).is_none() {
                self.hang(pair[1], pair[0]);
            }
        }
        if let Some(answered) = chain.last() {
            self.hang(node, *answered);
        }
    }

    fn places<L: AsRef<Letter>>(&self, letters: &[L], nodes: &[u32]) -> Vec<Place> {
        let roots = self.roots();
        let order = |at: u32| {
            let sent_at = letters[at as usize].as_ref().sent_at;
            (sent_at.is_none(), sent_at, at)
        };
        let mut first = vec![NONE; self.nodes.len()];
        for (at, node) in (0_u32..).zip(nodes) {
            let known = &mut first[roots[*node as usize] as usize];
            if *known == NONE || order(at) < order(*known) {
                *known = at;
            }
        }
        let message_above = |node: u32| {
            let mut above = self.parent(node);
            while let Some(here) = above {
                let message = self.nodes[here as usize].message;
                if message != NONE {
                    return Some(message as usize);
                }
                above = self.parent(here);
            }
            None
        };
        let place =
            |node: &u32| Place { thread: first[roots[*node as usize] as usize] as usize, parent: message_above(*node) };
        nodes.iter().map(place).collect()
    }

    /// The root of every node, each path climbed once.
    fn roots(&self) -> Vec<u32> {
        let mut roots = vec![NONE; self.nodes.len()];
        for start in 0..u32::try_from(self.nodes.len()).unwrap_or(NONE) {
            let mut path = Vec::new();
            let mut here = start;
            let root = loop {
                if roots[here as usize] != NONE {
                    break roots[here as usize];
                }
                path.push(here);
                match self.parent(here) {
                    Some(parent) => here = parent,
                    None => break here,
                }
            };
            for node in path {
                roots[node as usize] = root;
            }
        }
        roots
    }
}

/// Messages that ids leave without a parent: under the longest beginning of their Conversation-Index that is here, else
/// together with the others of their conversation.
fn link_by_index<L: AsRef<Letter>>(letters: &[L], nodes: &[u32], forest: &mut Forest) {
    let indexes = || letters.iter().map(|letter| &*letter.as_ref().conversation).zip(nodes);
    let mut known: BTreeMap<u64, u32> = BTreeMap::new();
    for (index, node) in indexes() {
        if let Some(whole) = index.last() {
            known.entry(*whole).or_insert(*node);
        }
    }
    let mut heads: BTreeMap<u64, u32> = BTreeMap::new();
    for (index, node) in indexes() {
        let ([head, ..], Some((whole, shorter))) = (index, index.split_last()) else { continue };
        if forest.parent(*node).is_some() {
            continue;
        }
        let above = shorter.iter().rev().filter_map(|beginning| known.get(beginning)).find(|above| *above != node);
        let above = match above {
            Some(above) => *above,
            // A first message is its own head.
            None if shorter.is_empty() && known.get(whole) == Some(node) => continue,
            None => *heads.entry(*head).or_insert_with(|| forest.node()),
        };
        forest.hang(*node, above);
    }
}

/// Answers that say of what only by their subject: under the last message before them that has it. Messages that name
/// another, or carry a Conversation-Index, are left alone: equal subjects are common and prove little.
fn link_by_subject<L: AsRef<Letter>>(letters: &[L], nodes: &[u32], forest: &mut Forest) {
    let nameless = |letter: &Letter| letter.is_answer && letter.answers.is_empty() && letter.conversation.is_empty();
    let letters = || letters.iter().map(AsRef::as_ref).zip(nodes);
    let asked: BTreeSet<u64> =
        letters().filter_map(|(letter, _)| letter.subject.filter(|_| nameless(letter))).collect();
    let mut by_subject: BTreeMap<u64, Vec<(Timestamp, u32)>> = BTreeMap::new();
    for (letter, node) in letters() {
        if let (Some(sent_at), Some(subject)) = (letter.sent_at, letter.subject.filter(|one| asked.contains(one))) {
            by_subject.entry(subject).or_default().push((sent_at, *node));
        }
    }
    for found in by_subject.values_mut() {
        found.sort_unstable();
    }
    for (letter, node) in letters() {
        let (Some(sent_at), Some(subject), true) = (letter.sent_at, letter.subject, nameless(letter)) else { continue };
        if forest.parent(*node).is_some() {
            continue;
        }
        let candidates = by_subject.get(&subject).map(Vec::as_slice).unwrap_or_default();
        let earlier = candidates.partition_point(|(time, _)| *time < sent_at);
        if let Some((_, above)) = candidates[..earlier].last() {
            forest.hang(*node, *above);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{fingerprint::FingerprintKey, text::Metadata};

    /// Threads messages that say this of themselves.
    fn threads(messages: &[Metadata]) -> Vec<Place> {
        let key = FingerprintKey::new([5; 16]);
        let letters: Vec<Letter> = messages.iter().map(|message| Letter::new(message, &key)).collect();
        super::threads(&letters)
    }

    fn ids(places: &[Place]) -> Vec<(usize, Option<usize>)> {
        places.iter().map(|place| (place.thread, place.parent)).collect()
    }

    fn letter(id: &str, references: &[String]) -> Metadata {
        Metadata { message_id: Some(id.to_owned()), references: references.to_vec(), ..Metadata::default() }
    }

    #[test]
    fn references_and_replies() {
        let missing = ["gone".to_owned()];
        let letters = [
            letter("c", &missing),
            letter("a", &[]),
            Metadata { in_reply_to: Some("a".to_owned()), ..letter("b", &[]) },
            letter("d", &missing),
            letter("b", &[]),
            letter("e", &[]),
        ];
        // The two answers to a message that is not here belong together; the copy of "b" stands where "b" does.
        assert_eq!(ids(&threads(&letters)), [(0, None), (1, None), (1, Some(1)), (0, None), (1, Some(1)), (5, None)]);
    }

    #[test]
    fn circles_are_cut() {
        let (to_b, to_a, to_c) = (["b".to_owned()], ["a".to_owned()], ["c".to_owned()]);
        let letters = [letter("a", &to_b), letter("b", &to_a), letter("c", &to_c)];
        assert_eq!(ids(&threads(&letters)), [(0, Some(1)), (0, None), (2, None)]);
    }

    #[test]
    fn outlook_s_index_where_ids_are_missing() {
        let head = "01".repeat(22);
        let (first, second) = (format!("{head}0000000001"), format!("{head}00000000010000000002"));
        let other = format!("{head}0000000003");
        let index = |digits: &str| Metadata { conversation_index: Some(digits.to_owned()), ..Metadata::default() };
        let letters = [index(&second), index(&first), index(&other), index("0102")];
        assert_eq!(ids(&threads(&letters)), [(0, Some(1)), (0, None), (0, None), (3, None)]);
        let with_head = [index(&second), index(&head)];
        assert_eq!(ids(&threads(&with_head)), [(0, Some(1)), (0, None)]);
    }

    #[test]
    fn subjects_speak_only_for_answers_that_name_nobody() {
        let of = |subject: &str, second: i64| Metadata {
            subject: Some(subject.to_owned()),
            sent_at: Some(Timestamp(second * 1_000_000)),
            ..Metadata::default()
        };
        let named = Metadata { in_reply_to: Some("gone".to_owned()), ..of("Re: Lease", 9) };
        let letters = [of("Lease", 1), of("RE: lease", 5), of("Lease", 7), of("Re: Lease", 0), named];
        assert_eq!(ids(&threads(&letters)), [(0, None), (0, Some(0)), (2, None), (3, None), (4, None)]);
    }

    #[test]
    fn a_long_conversation_takes_no_long_time() {
        let names: Vec<String> = (0..50_000).map(|at| at.to_string()).collect();
        for reversed in [false, true] {
            let mut letters: Vec<Metadata> = (0..names.len())
                .map(|at| Metadata {
                    in_reply_to: at.checked_sub(1).map(|before| names[before].clone()),
                    ..letter(&names[at], &[])
                })
                .collect();
            if reversed {
                letters.reverse();
            }
            let places = threads(&letters);
            assert!(places.iter().all(|place| place.thread == 0));
            assert_eq!(places.iter().filter(|place| place.parent.is_none()).count(), 1);
        }
    }

    proptest! {
        /// Whatever ids say, parents form no circle and stay within their thread.
        #[test]
        fn places_are_sound(wild in prop::collection::vec((0_u8..12, prop::collection::vec(0_u8..12, 0..4), 0_u8..4), 0..20)) {
            let owned: Vec<(String, Vec<String>, String)> = wild
                .iter()
                .map(|(id, references, index)| {
                    (id.to_string(), references.iter().map(ToString::to_string).collect(), format!("{index:0>44}"))
                })
                .collect();
            let letters: Vec<Metadata> = owned
                .into_iter()
                .map(|(id, references, index)| Metadata { conversation_index: Some(index), ..letter(&id, &references) })
                .collect();
            let places = threads(&letters);
            prop_assert_eq!(places.len(), letters.len());
            for place in &places {
                prop_assert_eq!(places[place.thread].thread, place.thread);
                let (mut above, mut steps) = (place.parent, 0);
                while let Some(here) = above {
                    prop_assert_eq!(places[here].thread, place.thread);
                    above = places[here].parent;
                    steps += 1;
                    prop_assert!(steps <= letters.len());
                }
            }
        }

        /// Honest references give the conversation back, in any order and with messages missing.
        #[test]
        fn honest_references_give_the_tree_back(
            parents in prop::collection::vec(any::<prop::sample::Index>(), 1..25),
            order in prop::collection::vec(any::<u32>(), 25),
            kept in prop::collection::vec(prop::bool::weighted(0.8), 25),
        ) {
            // Message 0 begins; every other answers one before it.
            let parent = |at: usize| at.checked_sub(1).map(|_| parents[at - 1].index(at));
            let total = parents.len() + 1;
            let above = |at: usize| {
                let mut chain = Vec::new();
                let mut here = parent(at);
                while let Some(next) = here {
                    chain.push(next);
                    here = parent(next);
                }
                chain
            };
            let mut present: Vec<usize> = (0..total).filter(|at| kept[at % kept.len()]).collect();
            present.sort_by_key(|at| order[at % order.len()]);
            let names: Vec<String> = (0..total).map(|at| format!("{at}@x")).collect();
            let references: Vec<Vec<String>> =
                present.iter().map(|at| above(*at).into_iter().rev().map(|one| names[one].clone()).collect()).collect();
            let letters: Vec<Metadata> =
                present.iter().zip(&references).map(|(at, references)| letter(&names[*at], references)).collect();
            let places = threads(&letters);
            for (at, place) in present.iter().zip(&places) {
                prop_assert_eq!(place.thread, 0, "all answer one message");
                let expected = above(*at).into_iter().find(|one| present.contains(one));
                prop_assert_eq!(place.parent.map(|parent| present[parent]), expected);
            }
        }
    }
}
