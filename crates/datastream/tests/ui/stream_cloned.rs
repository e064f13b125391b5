use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let numbers = env.from_collection([1, 2, 3]).map(|n| n * 10);
    numbers.clone().filter(|n| *n < 15).print();
    numbers.print();
}
