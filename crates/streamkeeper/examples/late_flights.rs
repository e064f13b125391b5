//! Departures per origin and hour of schedule. A departure is known when it has happened: what is more than half an hour behind goes
//! to a side output.
//!
//!     cargo run --example late_flights

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};
use streamkeeper::prelude::*;

/// Origin and scheduled departure.
type Flight = (String, i64);

/// `None` for a flight that was cancelled.
fn parse(line: String) -> Option<Flight> {
    let fields: Vec<&str> = line.split(',').collect();
    let scheduled = NaiveDateTime::parse_from_str(fields[0], "%Y-%m-%d %H:%M:%S").ok()?;
    (!fields[1].is_empty()).then(|| (fields[5].to_owned(), scheduled.and_utc().timestamp_millis()))
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%d %H:%M").to_string()
}

fn main() -> Result {
    let env = StreamExecutionEnvironment::from_args()?;
    let late = OutputTag::new("late");
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1800));
    let departures = env
        .from_source(FileSource::text_lines("examples/flights/data/flights"))
        .flat_map(parse)
        .assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(|flight: &Flight, _| flight.1))
        .key_by_ref(|(origin, _)| origin.as_str())
        .window(TumblingEventTimeWindows::of(Duration::from_secs(3600)))
        .side_output_late_data(&late)
        .apply(|origin: &String, window: &TimeWindow, flights: &[Flight], out: &mut Collector<String>| {
            out.collect(format!("{origin} {}: {} departures", time(window.start), flights.len()));
        })
        .shared();
    departures.side_output(&late).map(|(origin, at)| format!("late: {origin} {}", time(at))).print();
    departures.print();
    env.execute("late flights")?;
    Ok(())
}
