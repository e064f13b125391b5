//! Chains: the operators of one task, composed at compile time into one call tree.
//!
//! A [`Stage`] describes an operator; its [`Logic`] is the operator at work in one subtask. A [`Pipeline`] is where a task's
//! records come from ([`Begin`]) and the stages behind it; it can be started in any subtask. Started, stage n holds stage n+1, and a record is pushed through all
//! of them by direct calls, which the compiler inlines. Only whole batches cross the task's boundary.
mod emit;
mod feed;
mod fused;
mod linked;
mod logic;
mod pipeline;
mod running;

pub use self::emit::Emit;
pub use self::feed::Feed;
pub use self::fused::Fused;
pub use self::linked::Linked;
pub use self::logic::{Logic, OperatorMeta, Stage};
pub use self::pipeline::{Begin, Pipeline, Rest, Then};
pub use self::running::{Push, Running};
