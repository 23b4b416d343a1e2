//! Candidate passwords for what is protected: carried to the child in the request, tried in order, and told apart by their
//! place in the list, so that neither an answer nor a log ever holds one.

use std::{cell::RefCell, collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The candidates, in the order in which they are tried. Cheap to clone; wiped with the last clone.
#[derive(Clone, Default)]
pub(crate) struct Passwords(Arc<[Zeroizing<String>]>);

impl Passwords {
    pub(crate) fn new(candidates: Vec<Zeroizing<String>>) -> Self {
        Self(candidates.into())
    }

    /// Bytes of all candidates together.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().fold(0, |size, one| size.saturating_add(one.len()))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Passwords({} withheld)", self.0.len())
    }
}

impl Serialize for Passwords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|one| one.as_str()))
    }
}

impl<'de> Deserialize<'de> for Passwords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let candidates: Vec<String> = Vec::deserialize(deserializer)?;
        Ok(Self::new(candidates.into_iter().map(Zeroizing::new).collect()))
    }
}

/// The candidates at work on one document: remembers which of them opened something.
#[derive(Debug, Default)]
pub(crate) struct KeyRing {
    passwords: Passwords,
    opened_with: RefCell<BTreeSet<u32>>,
}

impl KeyRing {
    pub(crate) fn new(passwords: Passwords) -> Self {
        Self { passwords, opened_with: RefCell::default() }
    }

    /// What `attempt` gives for the first candidate it gives something for. One that opened something of this document
    /// before is tried first: the members of an archive mostly share theirs.
    pub(crate) fn open<T>(&self, mut attempt: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let known = self.opened_with.borrow().clone();
        let numbered = || self.passwords.0.iter().zip(0_u32..);
        let first = numbered().filter(|(_, number)| known.contains(number));
        let rest = numbered().filter(|(_, number)| !known.contains(number));
        for (candidate, number) in first.chain(rest) {
            if let Some(opened) = attempt(candidate) {
                self.opened_with.borrow_mut().insert(number);
                return Some(opened);
            }
        }
        None
    }

    /// Places of the candidates that opened something.
    pub(crate) fn opened_with(&self) -> BTreeSet<u32> {
        self.opened_with.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_opens_is_remembered_and_none_is_shown() {
        let candidates = ["one", "two", "three"].map(|one| Zeroizing::new(one.to_owned())).to_vec();
        let keys = KeyRing::new(Passwords::new(candidates));
        assert!(!format!("{keys:?}").contains("two"));
        assert_eq!(keys.open(|_| None::<()>), None);
        assert!(keys.opened_with().is_empty());
        assert_eq!(keys.open(|word| (word == "two").then_some(2)), Some(2));
        let mut tried = Vec::new();
        assert_eq!(
            keys.open(|word| {
                tried.push(word.to_owned());
                None::<()>
            }),
            None
        );
        assert_eq!(tried, ["two", "one", "three"]);
        assert_eq!(keys.opened_with(), BTreeSet::from([1]));
    }
}
