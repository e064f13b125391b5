//! `filesystem`: files as a table.
//!
//! - [`files`]: which files a path stands for
//! - [`source`]: the splits of those files, and who reads which
//! - [`reader`]: a split's bytes, decoded
//! - [`sink`]: rows into files that appear when, and only when, their checkpoint is durable
//! - [`lines`]: lines of text as typed records
pub(crate) mod files;
pub(crate) mod lines;
pub(crate) mod reader;
pub(crate) mod sink;
pub(crate) mod source;
