use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let numbers = env.from_collection([1u64, 2]);
    let words = env.from_collection(["to".to_owned()]);
    numbers.union(words).print();
}
