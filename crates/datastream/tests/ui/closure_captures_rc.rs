use std::rc::Rc;

use streamkeeper_datastream::StreamExecutionEnvironment;

fn main() {
    let env = StreamExecutionEnvironment::new();
    let factor = Rc::new(10);
    env.from_collection([1, 2, 3]).map(move |n| n * *factor).print();
}
