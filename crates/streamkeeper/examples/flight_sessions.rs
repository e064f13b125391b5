//! The working days of aircraft: flights of one aircraft with less than eight hours between them are a session, kept as keyed
//! state; a timer of event time ends it.
//!
//!     cargo run --example flight_sessions

use streamkeeper::prelude::*;

const GAP_MS: i64 = 8 * 3_600_000;

#[derive(Clone)]
struct Sessions;

impl KeyedProcessFunction<String, (String, i64)> for Sessions {
    type Out = String;
    /// First and last departure, and how many there were.
    type State = ValueState<(i64, i64, u32)>;

    fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<Self::State> {
        context.value_state("session")
    }

    fn process_element(
        &mut self,
        (_, time): (String, i64),
        session: &mut Self::State,
        context: &mut KeyedContext<'_, String>,
        out: &mut Collector<String>,
    ) -> Result {
        let mut running = session.take();
        let end = running.map_or(time, |(_, last, _)| last + GAP_MS);
        context.delete_event_time_timer(end);
        // The watermark comes once per batch, so the timer may be late.
        let ended = running.take_if(|_| time >= end);
        ended.into_iter().for_each(|ended| out.collect(describe(context.current_key(), ended)));
        let (first, _, flights) = running.unwrap_or((time, time, 0));
        context.register_event_time_timer(time + GAP_MS);
        session.update((first, time, flights + 1));
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
        out.collect(describe(context.current_key(), session.take().ok_or("a timer without a session")?));
        Ok(())
    }
}

fn describe(aircraft: &str, (first, last, flights): (i64, i64, u32)) -> String {
    let time = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%d %H:%M");
    format!("{aircraft}: {flights} flights, {} to {}", time(first), time(last))
}

/// Tail number and time of departure; `None` for a flight that was cancelled.
fn parse(line: String) -> Option<(String, i64)> {
    let fields: Vec<&str> = line.split(',').collect();
    let departure = chrono::NaiveDateTime::parse_from_str(fields[1], "%Y-%m-%d %H:%M:%S").ok()?;
    Some((fields[4].to_owned(), departure.and_utc().timestamp_millis()))
}

fn main() -> Result {
    let env = StreamExecutionEnvironment::from_args()?;
    let time = WatermarkStrategy::for_monotonous_timestamps();
    env.from_source(FileSource::text_lines("examples/flights/data/flights"))
        .flat_map(parse)
        .assign_timestamps_and_watermarks(time.with_timestamp_assigner(|flight: &(String, i64), _| flight.1))
        .key_by_ref(|(tail_number, _)| tail_number.as_str())
        .process(Sessions)
        .print();
    Ok(env.execute("flight sessions").map(drop)?)
}
