//! Checkpoints: when they are taken ([`coordinator`], pure), what they look like ([`manifest`]), and where they are
//! kept ([`storage`]).
//!
//! A checkpoint becomes durable in this order, each step before the next: state, manifest, pointer, sinks' commits. What
//! the pointer names is complete; anything else in the directory is garbage of an attempt that died.

pub mod coordinator;
pub mod manifest;
pub mod storage;
