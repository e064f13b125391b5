use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection([1u64, 2]).reduce(|a, b| a + b).print();
}
