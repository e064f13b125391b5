use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::{
    Collector, KeyedContext, KeyedProcessFunction, OpenContext, Result, StreamExecutionEnvironment,
};

#[derive(Clone)]
struct Count;

impl KeyedProcessFunction<u64, u64> for Count {
    type Out = u64;
    type State = ValueState<u64>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<ValueState<u64>> {
        context.value_state("count")
    }

    fn process_element(
        &mut self,
        _: u64,
        count: &mut ValueState<u64>,
        _: &mut KeyedContext<'_, u64>,
        out: &mut Collector<u64>,
    ) -> Result {
        *count.get_or_insert_with(|| 0) += 1;
        out.collect(count.value().unwrap_or_default());
        Ok(())
    }
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection([1u64, 2]).process(Count).print();
}
