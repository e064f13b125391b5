use streamkeeper_datastream::{Collector, ProcessContext, ProcessFunction, Result, StreamExecutionEnvironment};

#[derive(Clone)]
struct Length;

impl ProcessFunction<String> for Length {
    type Out = u64;

    fn process_element(
        &mut self,
        word: String,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<u64>,
    ) -> Result {
        out.collect(word.len() as u64);
        Ok(())
    }
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection([1u64, 2]).process(Length).print();
}
