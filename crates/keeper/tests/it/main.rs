//! Tests of the keeper as its users see it.

#[path = "../../examples/durability/driver/mod.rs"]
mod driver;
mod durability;
mod power_loss;
mod storage;
mod storage_recovery;
