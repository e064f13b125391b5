//! The keeper: a ZooKeeper-compatible server.
//!
//! A request of a client ([`proto`], encoded as [`jute`]) that writes becomes a transaction ([`txn`]), is logged, and is applied to the
//! [`tree`] of znodes.
//!
//! To run it inside another process, in memory and on a free port of this machine:
//!
//! ```
//! use std::time::Duration;
//!
//! use streamkeeper_keeper::acl::OPEN_ACL_UNSAFE;
//! use streamkeeper_keeper::client::{Client, Create};
//! use streamkeeper_keeper::server::{Keeper, ServerOptions};
//!
//! let keeper = Keeper::start(ServerOptions::default())?;
//! let address = keeper.client_address().expect("the options name an address");
//!
//! let mut client = Client::connect(&address.to_string(), Duration::from_secs(10))?;
//! client.create("/config", Some(b"v1"), OPEN_ACL_UNSAFE.clone(), Create::Persistent)?;
//! let (data, stat) = client.get_data("/config", false)?;
//! assert_eq!((data.as_deref(), stat.version), (Some(&b"v1"[..]), 0));
//! client.close()?;
//!
//! keeper.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On a directory, as a `zoo.cfg` would say it:
//!
//! ```
//! use streamkeeper_keeper::config::Config;
//! use streamkeeper_keeper::server::Keeper;
//! # let directory = std::env::temp_dir().join(format!("keeper-doc-{}", std::process::id()));
//!
//! let directory = directory.display().to_string();
//! let (config, warnings) = Config::from_pairs([
//!     ("dataDir", directory.as_str()),
//!     ("clientPort", "0"),
//!     ("clientPortAddress", "127.0.0.1"),
//!     ("admin.enableServer", "false"),
//! ])?;
//! assert!(warnings.is_empty());
//! let keeper = Keeper::from_config(&config, "")?;
//! println!("clients connect to {}", keeper.client_address().expect("clientPort is set"));
//! keeper.stop()?;
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
