use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection([(1, 2)]).print();
}
