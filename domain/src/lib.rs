//! The vocabulary of dia: identifiers, actors, access rules, job payloads, events, errors, text. Pure: no I/O, no clock
//! of its own, no database. Every other room depends on this one; this one depends on none.

pub mod access;
pub mod actor;
pub mod alerts;
pub mod cite;
pub mod clock;
pub mod error;
pub mod events;
pub mod files;
pub mod fingerprint;
pub mod ids;
pub mod jobs;
pub mod limits;
pub mod outbound;
pub mod outcome;
pub mod page;
pub mod provenance;
pub mod scope;
pub mod similarity;
pub mod text;
pub mod threads;
pub mod webhooks;
