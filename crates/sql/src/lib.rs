//! Flink SQL: text becomes statements ([`parser`]), statements become bound plans, and plans become operators on Arrow
//! batches ([`operators`], [`expr`]).
pub mod catalog;
pub mod config;
pub mod error;
pub mod expr;
pub mod operators;
pub mod parser;
