//! The integration tests of `storage`, in one binary.

mod objects;
mod vault;
