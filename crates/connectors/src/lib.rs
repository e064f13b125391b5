//! What a job reads from and writes to: connectors (filesystem, datagen, print, blackhole) and formats (csv, json,
//! raw), and the types that describe their rows ([`schema`]).
pub mod schema;
