//! Tests of the keeper as its users see it.

mod storage;
mod storage_recovery;
