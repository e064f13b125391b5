use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let factor = 10;
    env.from_collection([1, 2, 3]).map(|n| n * factor).print();
}
