use streamkeeper_datastream::StreamExecutionEnvironment;

#[derive(Clone)]
struct Flight {
    carrier: String,
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(["UA".to_owned()]).map(|carrier| Flight { carrier }).discard();
}
