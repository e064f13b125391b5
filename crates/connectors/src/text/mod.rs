//! Values from and to text, as Java and Flink write them. Shared by all formats.
pub(crate) mod base64;
pub(crate) mod number;
pub(crate) mod time;
