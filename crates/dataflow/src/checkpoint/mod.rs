//! Checkpoints: when they are taken ([`coordinator`], pure), what they look like ([`manifest`]), and where they are
//! kept ([`storage`]); [`savepoint`]s, which belong to the user, and what a user can name ([`location`]).
//!
//! A checkpoint becomes durable in this order, each step before the next: state, manifest, pointer, sinks' commits. What
//! the pointer names is complete; anything else in the directory is garbage of an attempt that died.

pub mod coordinator;
pub mod location;
pub mod manifest;
pub mod requests;
pub mod savepoint;
pub mod storage;
