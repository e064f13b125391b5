//! The keeper: a ZooKeeper-compatible server.
//!
//! A request of a client ([`proto`], encoded as [`jute`]) that writes becomes a transaction ([`txn`]), is logged, and is applied to the
//! [`tree`] of znodes.

pub mod access;
pub mod acl;
pub mod admin;
pub mod authentication;
pub mod bench;
pub mod client;
pub mod config;
pub mod core;
pub mod digest;
pub mod four_letter;
pub mod jute;
pub mod metrics;
pub mod owner;
pub mod path;
pub mod proto;
pub mod sasl;
pub mod server;
pub mod session;
pub mod shell;
pub mod storage;
mod time;
pub mod tls;
pub mod tree;
pub mod txn;
pub mod watch;
pub mod x509;
