//! The working days of aircraft: flights of one aircraft with less than eight hours between them are a session, kept as keyed
//! state; a timer of event time ends it.
//!
//!     cargo run --example flight_sessions

use chrono::{DateTime, NaiveDateTime};
use streamkeeper::prelude::*;

/// Tail number and time of departure.
type Flight = (String, i64);

const GAP_MS: i64 = 8 * 3_600_000;

#[derive(Clone)]
struct Sessions;

impl KeyedProcessFunction<String, Flight> for Sessions {
    type Out = String;
    /// First and last departure, and how many there were.
    type State = ValueState<(i64, i64, u32)>;

    fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<Self::State> {
        context.value_state("session")
    }

    fn process_element(
        &mut self,
        (_, time): Flight,
        session: &mut Self::State,
        context: &mut KeyedContext<'_, String>,
        _: &mut Collector<String>,
    ) -> Result {
        let (first, last, flights) = session.value().unwrap_or((time, time, 0));
        context.delete_event_time_timer(last + GAP_MS);
        context.register_event_time_timer(last.max(time) + GAP_MS);
        session.update((first.min(time), last.max(time), flights + 1));
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        _: TimeDomain,
        session: &mut Self::State,
        context: &mut KeyedContext<'_, String>,
        out: &mut Collector<String>,
    ) -> Result {
        let (first, last, flights) = session.take().ok_or("a timer without a session")?;
        let time = |ms| DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%d %H:%M");
        let key = context.current_key();
        out.collect(format!("{key}: {flights} flights, {} to {}", time(first), time(last)));
        Ok(())
    }
}

/// `None` for a flight that was cancelled.
fn parse(line: String) -> Option<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    let departure = NaiveDateTime::parse_from_str(fields[1], "%Y-%m-%d %H:%M:%S").ok()?;
    Some((fields[4].to_owned(), departure.and_utc().timestamp_millis()))
}

fn main() -> Result {
    let env = StreamExecutionEnvironment::from_args()?;
    let time = WatermarkStrategy::for_monotonous_timestamps();
    env.from_source(FileSource::text_lines("examples/flights/data/flights"))
        .flat_map(parse)
        .assign_timestamps_and_watermarks(time.with_timestamp_assigner(|flight: &Flight, _| flight.1))
        .key_by_ref(|(tail_number, _)| tail_number.as_str())
        .process(Sessions)
        .print();
    env.execute("flight sessions")?;
    Ok(())
}
