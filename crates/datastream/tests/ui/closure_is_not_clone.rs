use streamkeeper_datastream::StreamExecutionEnvironment;

struct Connection(String);

impl Connection {
    fn ask(&self, n: i32) -> String {
        format!("{} {n}", self.0)
    }
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    let connection = Connection("localhost".to_owned());
    env.from_collection([1, 2, 3]).map(move |n| connection.ask(n)).print();
}
