//! Flights that left late, by a rule that is changed while the job runs: the minutes in the znode `/alerts/late`.
//!
//!     cargo run -- keeper --data-dir target/keeper --client-port 2181
//!     cargo run -- zk create /alerts; cargo run -- zk create /alerts/late 600
//!     cargo run --example alert_rules
//!     cargo run -- zk set /alerts/late 900

use streamkeeper::prelude::*;

/// Origin, line and minutes.
type Flight = (String, String, i64);

/// Keeps the flights of an origin; a new rule is applied to those as well.
#[derive(Clone)]
struct Late;

impl KeyedBroadcastProcessFunction<String, Flight, ZNode> for Late {
    type Out = String;
    type State = ListState<Flight>;
    type Broadcast = BroadcastState<(), i64>;

    fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<Self::State> {
        context.list_state("flights")
    }

    fn process_element(
        &mut self,
        flight: Flight,
        flights: &mut Self::State,
        rule: &Self::Broadcast,
        _: &mut KeyedContext<'_, String>,
        out: &mut Collector<String>,
    ) -> Result {
        if rule.get(&()).is_some_and(|minutes| flight.2 >= *minutes) {
            out.collect(flight.1.clone());
        }
        flights.add(flight);
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        node: ZNode,
        rule: &mut Self::Broadcast,
        context: &mut KeyedBroadcastContext<'_, String, Self::State>,
        out: &mut Collector<String>,
    ) -> Result {
        // What is no number, and a rule that is deleted, leave the last one in force.
        let Ok(minutes) = node.text().trim().parse() else { return Ok(()) };
        rule.put((), minutes);
        context.apply_to_keyed_state(|origin, flights| {
            let late = flights.list().iter().filter(|flight| flight.2 >= minutes).count();
            out.collect(format!("{origin}: {late} flights were {minutes} minutes late or more"));
            Ok(())
        })
    }
}

fn parse(line: String) -> Option<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    Some((fields.get(5)?.to_string(), line.clone(), fields.get(7)?.parse().ok()?))
}

fn main() -> Result {
    let env = StreamExecutionEnvironment::from_args()?;
    let rules = env.from_source(ZooKeeperSource::node("127.0.0.1:2181", "/alerts/late"));
    let flights = env.from_source(FileSource::text_lines("examples/flights/data/flights")).flat_map(parse);
    let rules = rules.broadcast_state(MapStateDescriptor::new("rule"));
    flights.key_by_ref(|flight| flight.0.as_str()).connect(rules).process(Late).print();
    env.execute("alert rules")?;
    Ok(())
}
