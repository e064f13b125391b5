use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let delays = env.from_collection([(1.5, 1), (2.5, 1)]);
    delays.key_by(|(delay, _)| *delay).reduce(|(delay, a), (_, b)| (delay, a + b)).print();
}
