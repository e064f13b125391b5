//! Streamkeeper on many processes.
//!
//! - [`network`]: batches, watermarks and barriers between the tasks of different processes
mod error;
pub mod network;

pub use error::Error;
