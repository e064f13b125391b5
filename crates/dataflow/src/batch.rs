//! What flows between operators: a batch is moved, never shared, and is cut or gathered as a whole.

use arrow::buffer::Buffer;

use crate::error::OperatorError;
use crate::time::Timestamp;

/// What an operator takes at once.
pub trait Rows: 'static {
    /// Number of records.
    fn num_rows(&self) -> usize;

    /// Approximate size in memory, in bytes; channels are bounded by it.
    fn num_bytes(&self) -> usize;
}

/// How the batches of one channel are written for another process, one after the other. What all of them have in common
/// (Arrow's schema) is written once, so decoding needs all earlier frames, in order.
pub trait BatchCodec<B>: Default + Send {
    /// Appends a batch to a frame. Its parts share the batch's memory where they can.
    ///
    /// # Errors
    /// When a value has no encoding.
    fn encode(&mut self, batch: B, frame: &mut Vec<Buffer>) -> Result<(), OperatorError>;

    /// Reads a frame, whose memory the batch shares where it can.
    ///
    /// # Errors
    /// When `frame` was damaged, is of another type, or one before it is missing.
    fn decode(&mut self, frame: Buffer) -> Result<B, OperatorError>;
}

/// A group of records that move together. Typed records ([`Records`]) and Arrow's `RecordBatch` are batches.
pub trait Batch: Rows + Clone + Send {
    /// How they travel to another process.
    type Codec: BatchCodec<Self>;

    /// Rows `offset .. offset + length`.
    fn slice(&self, offset: usize, length: usize) -> Self;

    /// One batch of all rows of `batches` in order; `batches` is not empty.
    ///
    /// # Errors
    /// When the rows do not fit one batch.
    fn concat(batches: Vec<Self>) -> Result<Self, OperatorError>;

    /// Row `i` goes to part `targets[i]` (`< parts`), keeping order. Empty parts are `None`.
    fn partition(self, targets: &[u32], parts: usize) -> Vec<Option<Self>>;

    /// Appends the batch in a self-contained form that [`Batch::decode`] reads.
    ///
    /// # Errors
    /// When a value has no encoding.
    fn encode(&self, into: &mut Vec<u8>) -> Result<(), OperatorError>;

    /// Reads what [`Batch::encode`] wrote.
    ///
    /// # Errors
    /// When `bytes` were damaged or are of another type.
    fn decode(bytes: &[u8]) -> Result<Self, OperatorError>;
}

/// Typed records with their event times (one each).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Records<T> {
    /// The records.
    pub values: Vec<T>,
    /// `timestamps[i]` is the event time of `values[i]`.
    pub timestamps: Vec<Timestamp>,
}

impl<T> Records<T> {
    /// Records and their event times.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn new(values: Vec<T>, timestamps: Vec<Timestamp>) -> Self {
        assert_eq!(values.len(), timestamps.len(), "one event time per record");
        Self { values, timestamps }
    }
}

impl<T: 'static> Rows for Records<T> {
    fn num_rows(&self) -> usize {
        self.values.len()
    }

    fn num_bytes(&self) -> usize {
        self.values.len() * (size_of::<T>() + size_of::<Timestamp>())
    }
}

/// A batch, or a record, of one of the two types that an operator with two inputs takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Either<A, B> {
    /// Of the first input.
    First(A),
    /// Of the second.
    Second(B),
}

impl<A: Rows, B: Rows> Rows for Either<A, B> {
    fn num_rows(&self) -> usize {
        match self {
            Self::First(batch) => batch.num_rows(),
            Self::Second(batch) => batch.num_rows(),
        }
    }

    fn num_bytes(&self) -> usize {
        match self {
            Self::First(batch) => batch.num_bytes(),
            Self::Second(batch) => batch.num_bytes(),
        }
    }
}

impl<T> Batch for Records<T>
where
    T: Clone + Send + 'static + serde::Serialize + serde::de::DeserializeOwned,
{
    type Codec = RecordsCodec;

    fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            values: self.values[offset..offset + length].to_vec(),
            timestamps: self.timestamps[offset..offset + length].to_vec(),
        }
    }

    fn concat(batches: Vec<Self>) -> Result<Self, OperatorError> {
        let mut batches = batches.into_iter();
        let mut all = batches.next().ok_or_else(|| OperatorError::fatal("concat of no batches"))?;
        for batch in batches {
            all.values.extend(batch.values);
            all.timestamps.extend(batch.timestamps);
        }
        Ok(all)
    }

    fn partition(self, targets: &[u32], parts: usize) -> Vec<Option<Self>> {
        debug_assert_eq!(targets.len(), self.values.len());
        let mut rows = vec![0usize; parts];
        targets.iter().for_each(|target| rows[*target as usize] += 1);
        let mut out: Vec<Self> = rows
            .iter()
            .map(|rows| Self { values: Vec::with_capacity(*rows), timestamps: Vec::with_capacity(*rows) })
            .collect();
        for ((value, timestamp), target) in self.values.into_iter().zip(self.timestamps).zip(targets) {
            let part = &mut out[*target as usize];
            part.values.push(value);
            part.timestamps.push(timestamp);
        }
        out.into_iter().map(|part| (!part.values.is_empty()).then_some(part)).collect()
    }

    fn encode(&self, into: &mut Vec<u8>) -> Result<(), OperatorError> {
        *into = postcard::to_extend(self, std::mem::take(into))
            .map_err(|e| OperatorError::fatal(format!("cannot encode a batch of records: {e}")))?;
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, OperatorError> {
        let records: Self = postcard::from_bytes(bytes)
            .map_err(|e| OperatorError::fatal(format!("cannot decode a batch of records: {e}")))?;
        if records.values.len() != records.timestamps.len() {
            return Err(OperatorError::fatal("a decoded batch has other numbers of values and timestamps"));
        }
        Ok(records)
    }
}

/// Each batch of records stands for itself.
#[derive(Default)]
pub struct RecordsCodec;

impl<T> BatchCodec<Records<T>> for RecordsCodec
where
    Records<T>: Batch,
{
    fn encode(&mut self, batch: Records<T>, frame: &mut Vec<Buffer>) -> Result<(), OperatorError> {
        let mut bytes = Vec::new();
        batch.encode(&mut bytes)?;
        frame.push(Buffer::from_vec(bytes));
        Ok(())
    }

    fn decode(&mut self, frame: Buffer) -> Result<Records<T>, OperatorError> {
        Records::decode(&frame)
    }
}
