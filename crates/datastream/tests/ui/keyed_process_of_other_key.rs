use streamkeeper_datastream::{
    Collector, KeyedContext, KeyedProcessFunction, OpenContext, Result, StreamExecutionEnvironment,
};

#[derive(Clone)]
struct Echo;

impl KeyedProcessFunction<String, u64> for Echo {
    type Out = u64;
    type State = ();

    fn open(&mut self, _: &mut OpenContext<'_, String>) -> Result {
        Ok(())
    }

    fn process_element(
        &mut self,
        n: u64,
        (): &mut (),
        _: &mut KeyedContext<'_, String>,
        out: &mut Collector<u64>,
    ) -> Result {
        out.collect(n);
        Ok(())
    }
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection([1u64, 2]).key_by(|n| n % 2).process(Echo).print();
}
