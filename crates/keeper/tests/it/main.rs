//! Tests of the keeper as its users see it.

mod disk_full;
#[path = "../../examples/durability/driver/mod.rs"]
mod driver;
mod durability;
mod half_open;
mod hostile;
mod hostile_frames;
mod limits;
mod power_loss;
mod storage;
mod storage_recovery;
