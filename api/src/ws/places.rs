//! How many WebSockets are open. A place is taken with the handshake and given back when the socket is gone: connections are
//! counted while they are HTTP, and a socket no longer is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::ids::UserId;

/// The places of one process.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Nobody stands here with none.
    of: HashMap<UserId, usize>,
}

/// A place of one socket; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    holder: Option<UserId>,
}

impl Places {
    /// `most` sockets at once, `most_of_one` of one person.
    pub fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: Mutex::default() }
    }

    /// A place for somebody who has not proved anything yet; `None` when all are taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken();
        if taken.all >= self.most {
            return None;
        }
        taken.all += 1;
        metrics::gauge!("dia_websockets_open").increment(1.0);
        Some(Place { places: Arc::clone(self), holder: None })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Makes it a place of `user`'s; false when they have as many as one person may.
    pub(crate) fn hold(&mut self, user: UserId) -> bool {
        let mut taken = self.places.taken();
        let own = taken.of.entry(user).or_default();
        if *own >= self.places.most_of_one {
            return false;
        }
        *own += 1;
        self.holder = Some(user);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(user) = self.holder
            && let Some(own) = taken.of.get_mut(&user)
        {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&user);
            }
        }
        drop(taken);
        metrics::gauge!("dia_websockets_open").decrement(1.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_person_and_given_back() {
        let places = Arc::new(Places::new(3, 2));
        let (ann, bob) = (UserId::new(), UserId::new());
        let (mut one, mut two, mut three) = (places.take().unwrap(), places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        assert!(one.hold(ann) && two.hold(ann) && !three.hold(ann) && three.hold(bob));
        drop(one);
        let mut four = places.take().unwrap();
        assert!(four.hold(ann));
        drop((two, three, four));
        let taken = places.taken();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }
}
