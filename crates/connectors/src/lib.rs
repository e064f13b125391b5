//! What a job reads from and writes to: connectors (filesystem, datagen, print, blackhole, zookeeper) and formats (csv, json,
//! raw), the types that describe their rows ([`schema`]), and structs as rows ([`record`]).
//!
//! [`table`] is the door for a planner: it makes a source, a sink or something to look up in ([`lookup`]) of a
//! table's definition. Behind it stand the
//! connectors, the formats, and the text forms of values that they share.
mod blackhole;
mod datagen;
mod error;
mod filesystem;
mod formats;
pub mod lookup;
mod options;
mod pace;
mod print;
pub mod record;
pub mod schema;
pub mod table;
mod text;
pub mod zookeeper;

pub use error::ConnectorError;
pub use filesystem::lines::FileSource;
