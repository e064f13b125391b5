use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let words = env.from_collection([("to".to_owned(), 1)]);
    words.key_by(|(word, _)| word.as_str()).reduce(|(word, a), (_, b)| (word, a + b)).discard();
}
