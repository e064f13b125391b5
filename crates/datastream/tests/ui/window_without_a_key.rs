use std::time::Duration;

use streamkeeper_datastream::StreamExecutionEnvironment;
use streamkeeper_datastream::window::TumblingEventTimeWindows;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let numbers = env.from_collection([1u64, 2]);
    numbers.window(TumblingEventTimeWindows::of(Duration::from_secs(1))).reduce(|a, b| a + b).print();
}
