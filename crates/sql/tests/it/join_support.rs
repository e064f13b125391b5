//! What the tests of joins and ranks share: expressions made by hand, a seeded generator, and an operator that runs at
//! several subtasks with its input partitioned by key.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp;
use arrow::datatypes::Int64Type;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_dataflow::batch::Batch;
use streamkeeper_dataflow::key_group::{DEFAULT_MAX_PARALLELISM, KeySelector, key_group, subtask_of};
use streamkeeper_dataflow::operator::Operator;
use streamkeeper_dataflow::time::Timestamp;
use streamkeeper_sql::expr::{ColumnarValue, EvalError, Expr};
use streamkeeper_sql::operators::harness::Harness;
use streamkeeper_sql::operators::keys::HashKeys;

/// A column of the input.
#[derive(Debug)]
pub(crate) struct Column(pub(crate) usize, pub(crate) DataType);

impl Expr for Column {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        Ok(ColumnarValue::Array(batch.column(self.0).clone()))
    }

    fn data_type(&self) -> &DataType {
        &self.1
    }
}

/// `left < right` of two BIGINT columns.
#[derive(Debug)]
pub(crate) struct Less(usize, usize, DataType);

impl Less {
    pub(crate) fn new(left: usize, right: usize) -> Self {
        Self(left, right, TypeKind::Boolean.into())
    }
}

impl Expr for Less {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        let (left, right) = (batch.column(self.0), batch.column(self.1));
        let result = cmp::lt(left.as_primitive::<Int64Type>(), right.as_primitive::<Int64Type>());
        let result: BooleanArray = result.map_err(|e| EvalError(e.to_string()))?;
        Ok(ColumnarValue::Array(std::sync::Arc::new(result)))
    }

    fn data_type(&self) -> &DataType {
        &self.2
    }
}

pub(crate) fn bigint(name: &str) -> Field {
    Field::new(name, TypeKind::BigInt.into())
}

pub(crate) fn string(name: &str) -> Field {
    Field::new(name, DataType::string())
}

pub(crate) fn timestamp(name: &str) -> Field {
    Field::new(name, TypeKind::Timestamp(3).into())
}

/// A time of day on 1970-01-01 as text that casts to a timestamp.
pub(crate) fn at(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .expect("small")
        .naive_utc()
        .format("%Y-%m-%dT%H:%M:%S%.3f")
        .to_string()
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An operator at some parallelism.
pub(crate) struct Cluster<F> {
    make: F,
    keys: Vec<HashKeys>,
    subtasks: Vec<Harness>,
}

impl<F: Fn() -> O, O: Operator<RecordBatch, RecordBatch> + 'static> Cluster<F> {
    /// `keys[i]` are the key columns of input `i`.
    pub(crate) fn new(make: F, keys: &[&[usize]], parallelism: usize) -> Self {
        let subtasks = (0..parallelism).map(|i| Harness::restore(make(), &[], i, parallelism).unwrap());
        let subtasks = subtasks.collect();
        Self { keys: keys.iter().map(|k| HashKeys::new(*k)).collect(), make, subtasks }
    }

    pub(crate) fn push(&mut self, input: usize, batch: RecordBatch) {
        let mut hashes = Vec::new();
        self.keys[input].hash(&batch, &mut hashes).unwrap();
        let parallelism = self.subtasks.len();
        let target = |hash: &u64| {
            subtask_of(key_group(*hash, DEFAULT_MAX_PARALLELISM), parallelism, DEFAULT_MAX_PARALLELISM) as u32
        };
        let targets = hashes.iter().map(target).collect::<Vec<_>>();
        for (subtask, part) in self.subtasks.iter_mut().zip(batch.partition(&targets, parallelism)) {
            if let Some(part) = part {
                subtask.push(input, part).unwrap();
            }
        }
    }

    pub(crate) fn watermark(&mut self, watermark: Timestamp) -> Timestamp {
        self.subtasks.iter_mut().map(|s| s.watermark(watermark).unwrap()).min().unwrap()
    }

    /// Takes a checkpoint, throws the subtasks away and restores at another parallelism. The answer is what had been
    /// emitted.
    pub(crate) fn rescale(&mut self, parallelism: usize) -> Vec<String> {
        let mut segments = Vec::new();
        for subtask in &mut self.subtasks {
            segments.extend(subtask.snapshot().unwrap());
        }
        let emitted = self.take();
        self.subtasks = (0..parallelism)
            .map(|i| Harness::restore((self.make)(), &segments, i, parallelism).unwrap())
            .collect();
        emitted
    }

    pub(crate) fn take_batches(&mut self) -> Vec<RecordBatch> {
        self.subtasks.iter_mut().flat_map(Harness::take_batches).collect()
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        self.subtasks.iter_mut().flat_map(Harness::take).collect()
    }
}

pub(crate) fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

pub(crate) fn lines(rows: &[String]) -> Vec<&str> {
    rows.iter().map(String::as_str).collect()
}
