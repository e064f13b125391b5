//! Flink SQL: text becomes statements ([`parser`]), statements become bound plans, and plans become operators on Arrow
//! batches ([`operators`], [`expr`]). A [`session::Session`] does it all.
mod binder;
pub mod catalog;
pub mod config;
pub mod error;
mod explain;
pub mod expr;
pub mod operators;
mod optimizer;
pub mod parser;
mod physical;
mod plan;
pub mod session;
