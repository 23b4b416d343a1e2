//! Content that the library decodes, with its panics turned into damage. The methods of PKZIP before 2.0 (APPNOTE.TXT 5.1 to 5.3) run
//! through tables that the stream fills, and the library takes some of what it finds there for granted.

use std::{
    io::{self, Read},
    panic::{self, AssertUnwindSafe},
};

/// Reads `inner` until it panics; after that there is nothing but the error.
pub(super) struct Guarded<R> {
    inner: Option<R>,
}

impl<R> Guarded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner: Some(inner) }
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else { return Err(io::ErrorKind::InvalidData.into()) };
        panic::catch_unwind(AssertUnwindSafe(|| inner.read(buffer))).unwrap_or_else(|_| {
            self.inner = None;
            Err(io::ErrorKind::InvalidData.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Once(bool);

    impl Read for Once {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!std::mem::replace(&mut self.0, true), "read again");
            buffer.fill(7);
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_panic_is_damage_and_stays_it() {
        let mut guarded = Guarded::new(Once(false));
        let mut buffer = [0; 3];
        assert_eq!((guarded.read(&mut buffer).ok(), buffer), (Some(3), [7; 3]));
        for _ in 0..2 {
            let error = guarded.read(&mut buffer).err().map(|error| error.kind());
            assert_eq!(error, Some(io::ErrorKind::InvalidData));
        }
    }
}
