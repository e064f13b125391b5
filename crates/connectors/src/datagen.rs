//! `datagen`: made-up rows, for trying things out.
//!
//! Invariant: row `n` of a run is a function of the run's seed and `n` alone (but for times, which are those at which
//! a row was made), so a restored job makes the same rows again. Split `i` of `k` makes rows `i`, `i + k`, `i + 2k` …

use std::collections::VecDeque;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::error::ConnectorError;
use crate::formats::column::Column;
use crate::formats::{BATCH_ROWS, projected_schema};
use crate::options::Options;
use crate::pace::Pace;
use crate::schema::{DataType, Field, TypeKind};

/// The longest text or byte string that can be asked for.
const MAX_TEXT: usize = 1 << 20;

/// A table of made-up rows.
pub(crate) struct DataGenSource {
    columns: Vec<Field>,
    generators: Vec<Generator>,
    projection: Vec<usize>,
    rows_per_second: f64,
    /// `None`: without end.
    rows: Option<u64>,
    seed: Option<u64>,
}

/// How the values of a column are made.
#[derive(Debug, Clone)]
struct Generator {
    kind: Kind,
    /// Of the rows, from 0 to 1.
    null_rate: f64,
}

#[derive(Debug, Clone)]
enum Kind {
    Sequence {
        start: i64,
    },
    Boolean,
    /// Both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// Unscaled.
    Decimal {
        limit: i128,
    },
    Text {
        length: usize,
        variable: bool,
    },
    /// Now, or up to so many milliseconds before.
    Time {
        max_past_ms: i64,
    },
}

impl DataGenSource {
    pub(crate) fn from_options(
        columns: &[Field],
        projection: &[usize],
        options: &Options<'_>,
    ) -> Result<Self, ConnectorError> {
        let rows_per_second = options.number::<u64>("rows-per-second")?.unwrap_or(10_000);
        if rows_per_second == 0 {
            return Err(options.invalid("rows-per-second", "0", "greater than 0"));
        }
        let mut rows = options.number::<u64>("number-of-rows")?;
        options.get("scan.parallelism");
        let seed = options.number::<u64>("seed")?;
        let mut generators = Vec::with_capacity(columns.len());
        for column in columns {
            let (generator, length) = Generator::from_options(column, options)?;
            generators.push(generator);
            rows = match (rows, length) {
                (Some(rows), Some(length)) => Some(rows.min(length)),
                (rows, length) => rows.or(length),
            };
        }
        Ok(Self {
            columns: columns.to_vec(),
            generators,
            projection: projection.to_vec(),
            rows_per_second: rows_per_second as f64,
            rows,
            seed,
        })
    }

    /// Whether there is a last row.
    pub(crate) fn is_bounded(&self) -> bool {
        self.rows.is_some()
    }
}

impl Generator {
    /// How the column is made, and for a sequence how many values it has.
    fn from_options(column: &Field, options: &Options<'_>) -> Result<(Self, Option<u64>), ConnectorError> {
        let option = |name: &str| format!("fields.{}.{name}", column.name);
        let null_name = option("null-rate");
        let null_rate = options.number::<f64>(&null_name)?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) {
            return Err(options.invalid(&null_name, &null_rate.to_string(), "between 0 and 1"));
        }
        let kind_name = option("kind");
        match options.get(&kind_name).unwrap_or("random") {
            "random" => Ok((Self { kind: random(column, options)?, null_rate }, None)),
            "sequence" => {
                let missing = |name: &str| {
                    ConnectorError::invalid(format!(
                        "Could not find required property '{}' for sequence generator.",
                        option(name)
                    ))
                };
                let start: i64 = options.number(&option("start"))?.ok_or_else(|| missing("start"))?;
                let end: i64 = options.number(&option("end"))?.ok_or_else(|| missing("end"))?;
                let length = end.checked_sub(start).and_then(|n| u64::try_from(n).ok()).map(|n| n + 1);
                let Some(length) = length else {
                    return Err(options.invalid(&option("end"), &end.to_string(), "at or after the start"));
                };
                let range = integer_range(&column.data_type);
                let text = matches!(column.data_type.kind, TypeKind::Varchar(_) | TypeKind::Char(_));
                if !text && !range.is_some_and(|(min, max)| min <= start && end <= max) {
                    return Err(ConnectorError::invalid(format!(
                        "column `{}`: type {} cannot hold the sequence from {start} to {end}",
                        column.name, column.data_type
                    )));
                }
                Ok((Self { kind: Kind::Sequence { start }, null_rate }, Some(length)))
            }
            other => Err(options.invalid(&kind_name, other, "one of random, sequence")),
        }
    }
}

/// The values of an integer type.
fn integer_range(data_type: &DataType) -> Option<(i64, i64)> {
    Some(match data_type.kind {
        TypeKind::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
        TypeKind::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        TypeKind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        TypeKind::BigInt => (i64::MIN, i64::MAX),
        _ => return None,
    })
}

fn random(column: &Field, options: &Options<'_>) -> Result<Kind, ConnectorError> {
    let option = |name: &str| format!("fields.{}.{name}", column.name);
    let ordered = |ok: bool, max: String| {
        if ok { Ok(()) } else { Err(options.invalid(&option("max"), &max, "at or above the minimum")) }
    };
    if let Some((least, greatest)) = integer_range(&column.data_type) {
        let min = options.number::<i64>(&option("min"))?.unwrap_or(least);
        let max = options.number::<i64>(&option("max"))?.unwrap_or(greatest);
        ordered(min <= max, max.to_string())?;
        if min < least || max > greatest {
            return Err(ConnectorError::invalid(format!(
                "column `{}`: type {} cannot hold values from {min} to {max}",
                column.name, column.data_type
            )));
        }
        return Ok(Kind::Integer { min, max });
    }
    match &column.data_type.kind {
        TypeKind::Boolean => Ok(Kind::Boolean),
        kind @ (TypeKind::Float | TypeKind::Double) => {
            let greatest = if *kind == TypeKind::Float { f64::from(f32::MAX) } else { f64::MAX };
            let min = options.number::<f64>(&option("min"))?.unwrap_or(-greatest);
            let max = options.number::<f64>(&option("max"))?.unwrap_or(greatest);
            ordered(min <= max, max.to_string())?;
            Ok(Kind::Float { min, max })
        }
        TypeKind::Decimal { precision, .. } => Ok(Kind::Decimal { limit: 10i128.pow(u32::from(*precision)) }),
        TypeKind::Char(n) | TypeKind::Binary(n) => {
            Ok(Kind::Text { length: (*n as usize).min(MAX_TEXT), variable: false })
        }
        TypeKind::Varchar(n) | TypeKind::Varbinary(n) => {
            let name = option("length");
            let length = options.number::<usize>(&name)?.unwrap_or_else(|| (*n as usize).min(100));
            if length > (*n as usize).min(MAX_TEXT) {
                return Err(options.invalid(
                    &name,
                    &length.to_string(),
                    &format!("at most the type's length or {MAX_TEXT}"),
                ));
            }
            Ok(Kind::Text { length, variable: options.bool(&option("var-len"), false)? })
        }
        TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_) => {
            let past = options.duration(&option("max-past"), std::time::Duration::ZERO)?;
            Ok(Kind::Time { max_past_ms: i64::try_from(past.as_millis()).unwrap_or(i64::MAX / 4) })
        }
        other => Err(ConnectorError::invalid(format!(
            "column `{}`: connector 'datagen' makes no values of type {other} here",
            column.name
        ))),
    }
}

/// A well-mixed number of each number (splitmix64).
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// From 0 up to, but without, 1.
fn unit(n: u64) -> f64 {
    (n >> 11) as f64 / (1u64 << 53) as f64
}

impl Generator {
    fn push(&self, column: &mut Column, random: u64, row: u64, now_ms: i64) {
        if self.null_rate > 0.0 && unit(mix(random ^ 1)) < self.null_rate {
            return column.push_null();
        }
        match &self.kind {
            Kind::Sequence { start } => {
                let value = start.wrapping_add(row as i64);
                if let Column::Text(c) = column {
                    crate::text::number::write_i64(value, &mut c.values);
                    c.close();
                } else {
                    column.push_integer(value);
                }
            }
            Kind::Boolean => {
                if let Column::Boolean(c) = column {
                    c.values.push(random & 1 == 1);
                }
            }
            Kind::Integer { min, max } => {
                let span = (i128::from(*max) - i128::from(*min) + 1) as u128;
                let value = i128::from(*min) + ((u128::from(random) * span) >> 64) as i128;
                column.push_integer(value as i64);
            }
            Kind::Float { min, max } => {
                let at = unit(random);
                let value = min * (1.0 - at) + max * at;
                match column {
                    Column::Float(c) => c.values.push(value as f32),
                    Column::Double(c) => c.values.push(value),
                    _ => column.push_null(),
                }
            }
            Kind::Decimal { limit } => {
                if let Column::Decimal { values, .. } = column {
                    let wide = i128::from(random) << 63 | i128::from(mix(random) >> 1);
                    values.values.push(wide % limit);
                }
            }
            Kind::Text { length, variable } => {
                let length = if *variable {
                    1 + (mix(random ^ 2) % (*length).max(1) as u64) as usize
                } else {
                    *length
                };
                let (bytes, hex) = match column {
                    Column::Text(c) => (c, true),
                    Column::Binary(c) => (c, false),
                    _ => return,
                };
                let end = bytes.values.len() + length;
                let mut word = random;
                while bytes.values.len() < end {
                    word = mix(word);
                    for byte in word.to_le_bytes().into_iter().take(end - bytes.values.len()) {
                        bytes.values.push(if hex {
                            b"0123456789abcdef"[usize::from(byte & 15)]
                        } else {
                            byte
                        });
                    }
                }
                bytes.close();
            }
            Kind::Time { max_past_ms } => {
                let past = if *max_past_ms > 0 { (unit(random) * *max_past_ms as f64) as i64 } else { 0 };
                let at = now_ms - past;
                match column {
                    Column::Date(c) => c.values.push(at.div_euclid(86_400_000) as i32),
                    Column::Time(c) => c.values.push(at.rem_euclid(86_400_000) as i32),
                    Column::Timestamp { values, per_second, .. } => {
                        values.values.push(at.saturating_mul(*per_second / 1000))
                    }
                    _ => column.push_null(),
                }
            }
        }
    }
}

/// Rows `index`, `index + step`, … below `rows`, of which `next` is the next.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Share {
    next: u64,
    step: u64,
    rows: Option<u64>,
    seed: u64,
}

struct ShareEnumerator(VecDeque<Split>);

impl SplitEnumerator for ShareEnumerator {
    fn next_split(&mut self, _subtask: usize) -> Assignment {
        self.0.pop_front().map_or(Assignment::NoMoreSplits, Assignment::Split)
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        for split in splits.into_iter().rev() {
            self.0.push_front(split);
        }
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        serde_json::to_vec(&self.0).map_err(|e| OperatorError::fatal(format!("cannot store the splits: {e}")))
    }
}

fn encode(share: &Share) -> OperatorResult<Vec<u8>> {
    serde_json::to_vec(share).map_err(|e| OperatorError::fatal(format!("cannot store a position: {e}")))
}

impl Source<RecordBatch> for DataGenSource {
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        if let Some(bytes) = restored {
            let splits = serde_json::from_slice(bytes).map_err(|e| {
                OperatorError::fatal(format!("the checkpoint holds no splits of a datagen source: {e}"))
            })?;
            return Ok(Box::new(ShareEnumerator(splits)));
        }
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = self.seed.unwrap_or_else(|| mix(clock.map_or(0, |d| d.as_nanos() as u64)));
        let step = parallelism.max(1) as u64;
        let splits = (0..step)
            .map(|index| {
                let payload = encode(&Share { next: index, step, rows: self.rows, seed })?;
                Ok(Split { id: format!("datagen-{index}"), payload, watermark: MIN_WATERMARK })
            })
            .collect::<OperatorResult<_>>()?;
        Ok(Box::new(ShareEnumerator(splits)))
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<RecordBatch>>> {
        Ok(Box::new(DataGenReader {
            generators: self.projection.iter().map(|i| (*i, self.generators[*i].clone())).collect(),
            columns: self.projection.iter().map(|i| Column::new(&self.columns[*i].data_type)).collect(),
            schema: projected_schema(&self.columns, &self.projection),
            pace: Pace::new(self.rows_per_second / context.parallelism.max(1) as f64),
            shares: VecDeque::new(),
        }))
    }
}

struct DataGenReader {
    /// Each with the number of its column in the table.
    generators: Vec<(usize, Generator)>,
    columns: Vec<Column>,
    schema: SchemaRef,
    pace: Pace,
    shares: VecDeque<(String, Share)>,
}

impl SourceReader<RecordBatch> for DataGenReader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        let share = serde_json::from_slice(&split.payload).map_err(|e| {
            OperatorError::fatal(format!("split {} is not one of a datagen source: {e}", split.id))
        })?;
        self.shares.push_back((split.id, share));
        Ok(())
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<RecordBatch>> {
        let Some((id, share)) = self.shares.front_mut() else { return Ok(Poll::NeedSplit) };
        if share.rows.is_some_and(|rows| share.next >= rows) {
            let id = std::mem::take(id);
            self.shares.pop_front();
            return Ok(Poll::SplitEnd(id));
        }
        let rows = match self.pace.rows(now_ms) {
            Ok(rows) => rows.min(BATCH_ROWS),
            Err(until) => return Ok(Poll::WaitUntil(until)),
        };
        let left = share.rows.map_or(u64::MAX, |all| (all - share.next).div_ceil(share.step));
        let rows = usize::try_from(left).map_or(rows, |left| rows.min(left));
        for ((index, generator), column) in self.generators.iter().zip(&mut self.columns) {
            let seed = mix(share.seed ^ mix(*index as u64));
            for i in 0..rows as u64 {
                let row = share.next + i * share.step;
                generator.push(column, mix(seed ^ row), row, now_ms);
            }
        }
        share.next += rows as u64 * share.step;
        self.pace.took(rows, now_ms);
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        // The shares of a reader take turns.
        let split = id.clone();
        self.shares.rotate_left(1);
        Ok(Poll::Batch { split, batch })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        self.shares
            .iter()
            .map(|(id, share)| {
                Ok(Split { id: id.clone(), payload: encode(share)?, watermark: MIN_WATERMARK })
            })
            .collect()
    }
}
