//! Tests of the keeper as its users see it.

mod disk_full;
// Shared with the example; without its path there is no such module.
#[path = "../../examples/durability/driver/mod.rs"]
mod driver;
mod durability;
mod half_open;
mod hostile;
mod hostile_frames;
mod limits;
mod power_loss;
mod server;
mod storage;
mod storage_recovery;
mod zookeeper_client;
