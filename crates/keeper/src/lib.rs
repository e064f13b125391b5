//! The keeper: a ZooKeeper-compatible server.
//!
//! A request of a client ([`proto`], encoded as [`jute`]) that writes becomes a transaction ([`txn`]), is logged, and is applied.

pub mod acl;
pub mod jute;
pub mod proto;
pub mod txn;
