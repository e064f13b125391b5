//! Prints what the znode `/flink-demo` holds, and each new value from then on, until cancelled.
//!
//!     cargo run -- keeper --data-dir target/keeper --client-port 2181
//!     cargo run --example zookeeper_to_print
//!     cargo run -- zk set /flink-demo hello

use streamkeeper::prelude::*;

fn main() -> Result {
    let env = StreamExecutionEnvironment::from_args()?;
    env.from_source(ZooKeeperSource::node("127.0.0.1:2181", "/flink-demo")).map(|node| node.text()).print();
    env.execute("zookeeper-to-print")?;
    Ok(())
}
