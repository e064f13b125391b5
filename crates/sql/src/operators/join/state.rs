//! What the operators that buffer rows have in common: event times, and rows in a checkpoint.
//!
//! Invariant: rows come back from a checkpoint under the key group of their key columns, in their order per key; the
//! watermark is written for every key group that the subtask owns, so that it reaches every heir.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::{
    DataType as ArrowType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use chrono::{Duration, LocalResult, NaiveDateTime, Offset, TimeZone};
use streamkeeper_connectors::schema::Field;
use streamkeeper_dataflow::batch::Batch;
use streamkeeper_dataflow::key_group::{KeySelector, key_group};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::{RestoredState, StateWriter};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::operators::keys::HashKeys;

const WATERMARK: &str = "watermark";
const WATERMARK_FINGERPRINT: &str = "BIGINT";
/// Rows that are sorted into key groups at a time while a snapshot is written.
const ROWS_PER_PASS: usize = 1 << 18;

/// What an operator needs to know to write and read its state.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) max_parallelism: u16,
    pub(crate) key_groups: Range<u16>,
}

impl Snapshot {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self { max_parallelism: context.max_parallelism, key_groups: context.key_groups.clone() }
    }
}

/// Names the columns and the keys of rows in a checkpoint.
pub(crate) fn fingerprint(columns: &[Field], keys: &[usize]) -> String {
    let types = columns.iter().map(|c| c.data_type.clone().with_nullable(true).to_string());
    format!("rows({}) by {keys:?}", types.collect::<Vec<_>>().join(", "))
}

/// Writes rows under the key groups of their `keys`.
pub(crate) fn write_rows(
    writer: &mut StateWriter,
    name: &str,
    fingerprint: &str,
    keys: &[usize],
    snapshot: &Snapshot,
    batches: &[RecordBatch],
) -> OperatorResult<()> {
    let selector = HashKeys::new(keys);
    let mut hashes = Vec::new();
    let mut rest = batches;
    while !rest.is_empty() {
        let mut rows = 0;
        let mut count = 0;
        while count < rest.len() && (rows < ROWS_PER_PASS || count == 0) {
            rows += rest[count].num_rows();
            count += 1;
        }
        let (pass, others) = rest.split_at(count);
        rest = others;
        let mut by_group: Vec<Vec<(usize, usize)>> = vec![Vec::new(); usize::from(snapshot.max_parallelism)];
        for (index, batch) in pass.iter().enumerate() {
            selector.hash(batch, &mut hashes)?;
            for (row, hash) in hashes.iter().enumerate() {
                by_group[usize::from(key_group(*hash, snapshot.max_parallelism))].push((index, row));
            }
        }
        let sources = pass.iter().collect::<Vec<_>>();
        for (group, rows) in (0u16..).zip(&by_group) {
            if !rows.is_empty() {
                let mut bytes = Vec::new();
                interleave_record_batch(&sources, rows)?.encode(&mut bytes)?;
                writer.keyed(name, fingerprint, group, bytes);
            }
        }
    }
    Ok(())
}

/// Reads what [`write_rows`] wrote.
pub(crate) fn read_rows(
    restored: &RestoredState,
    name: &str,
    fingerprint: &str,
) -> OperatorResult<Vec<RecordBatch>> {
    restored.keyed(name, fingerprint)?.iter().map(|(_, bytes)| RecordBatch::decode(bytes)).collect()
}

/// Writes the watermark for each key group.
pub(crate) fn write_watermark(writer: &mut StateWriter, snapshot: &Snapshot, watermark: Timestamp) {
    for group in snapshot.key_groups.clone() {
        writer.keyed(WATERMARK, WATERMARK_FINGERPRINT, group, watermark.to_le_bytes().to_vec());
    }
}

/// The least watermark of the key groups that came back, the minimum when there are none.
pub(crate) fn read_watermark(restored: &RestoredState) -> OperatorResult<Timestamp> {
    let mut least = None;
    for (_, bytes) in restored.keyed(WATERMARK, WATERMARK_FINGERPRINT)? {
        let bytes = <[u8; 8]>::try_from(bytes.as_slice())
            .map_err(|_| OperatorError::fatal("the watermark in the checkpoint is damaged"))?;
        let watermark = Timestamp::from_le_bytes(bytes);
        least = Some(least.map_or(watermark, |least: Timestamp| least.min(watermark)));
    }
    Ok(least.unwrap_or(MIN_WATERMARK))
}

/// An event-time column in milliseconds. NULL is refused, since a row without a time can be given to no window.
pub(crate) fn millis(column: &ArrayRef, what: &str) -> OperatorResult<Vec<i64>> {
    if column.null_count() > 0 {
        return Err(OperatorError::fatal(format!(
            "{what} must not be NULL; filter such rows out before they are joined or ranked"
        )));
    }
    Ok(match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().values().to_vec()
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => column
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .iter()
            .map(|v| v.div_euclid(1000))
            .collect(),
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => column
            .as_primitive::<TimestampNanosecondType>()
            .values()
            .iter()
            .map(|v| v.div_euclid(1_000_000))
            .collect(),
        ArrowType::Timestamp(TimeUnit::Second, _) => {
            return millis(&cast(column, &ArrowType::Timestamp(TimeUnit::Millisecond, None))?, what);
        }
        other => return Err(OperatorError::fatal(format!("{what} must be a timestamp, but it is {other}"))),
    })
}

/// How the windows' local times become event times.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EventTime(Option<chrono_tz::Tz>);

impl EventTime {
    /// Windows in this IANA zone; `None`: windows of a TIMESTAMP column, which has no zone.
    pub(crate) fn new(zone: Option<&str>) -> OperatorResult<Self> {
        let zone = zone.map(|name| {
            name.parse::<chrono_tz::Tz>().map_err(|_| {
                OperatorError::fatal(format!(
                    "`{name}` is not a time zone; name one as in `Europe/Berlin` in table.local-time-zone"
                ))
            })
        });
        Ok(Self(zone.transpose()?.filter(|zone| *zone != chrono_tz::UTC)))
    }

    /// The instant of a local time. Of two, the later; a time that the clock skips counts from before the gap.
    pub(crate) fn instant(self, local_ms: i64) -> i64 {
        let Some(zone) = self.0 else { return local_ms };
        let Some(local) = chrono::DateTime::from_timestamp_millis(local_ms).map(|t| t.naive_utc()) else {
            return local_ms;
        };
        match zone.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(_, instant) => instant.timestamp_millis(),
            LocalResult::None => local_ms - offset_before(zone, local),
        }
    }
}

fn offset_before(zone: chrono_tz::Tz, gap: NaiveDateTime) -> i64 {
    let before = (1..=24).find_map(|hours| match zone.from_local_datetime(&(gap - Duration::hours(hours))) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(_, instant) => Some(instant),
        LocalResult::None => None,
    });
    before.map_or(0, |instant| i64::from(instant.offset().fix().local_minus_utc()) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_become_instants_across_both_changes_of_the_clock() {
        let berlin = EventTime::new(Some("Europe/Berlin")).unwrap();
        let local = |text: &str| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_millis()
        };
        assert_eq!(berlin.instant(local("2021-01-01 12:00")), local("2021-01-01 11:00"));
        assert_eq!(berlin.instant(local("2021-03-28 02:30")), local("2021-03-28 01:30"));
        assert_eq!(berlin.instant(local("2021-10-31 02:30")), local("2021-10-31 01:30"));
        assert_eq!(EventTime::new(None).unwrap().instant(7), 7);
        assert!(EventTime::new(Some("Mars/Olympus")).is_err());
    }
}
