//! What Streamkeeper keeps in ZooKeeper. The only crate that names a znode path.
//!
//! - [`layout`]: where things are
//! - [`config`]: configuration documents, which jobs read while they run

pub mod config;
pub mod error;
pub mod layout;

pub use error::{Error, Result};
