use serde::{Deserialize, Serialize};
use streamkeeper_datastream::StreamExecutionEnvironment;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Route {
    from: String,
    to: String,
}

fn main() {
    let env = StreamExecutionEnvironment::new();
    let route = Route { from: "JFK".to_owned(), to: "LAX".to_owned() };
    let routes = env.from_collection([(route, 1)]);
    routes.key_by_ref(|(route, _)| route).reduce(|(route, a), (_, b)| (route, a + b)).discard();
}
