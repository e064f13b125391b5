//! What flows between operators: a batch is moved, never shared, and is cut or gathered as a whole.

use crate::error::OperatorError;
use crate::time::Timestamp;

/// A group of records that move together. Typed records ([`Records`]) and Arrow's `RecordBatch` are batches.
pub trait Batch: Clone + Send + 'static {
    /// Number of records.
    fn num_rows(&self) -> usize;

    /// Approximate size in memory, in bytes; channels are bounded by it.
    fn num_bytes(&self) -> usize;

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

impl<T> Batch for Records<T>
where
    T: Clone + Send + 'static + serde::Serialize + serde::de::DeserializeOwned,
{
    fn num_rows(&self) -> usize {
        self.values.len()
    }

    fn num_bytes(&self) -> usize {
        self.values.len() * (size_of::<T>() + size_of::<Timestamp>())
    }

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
        let mut out: Vec<Option<Self>> = (0..parts).map(|_| None).collect();
        for ((value, timestamp), target) in self.values.into_iter().zip(self.timestamps).zip(targets) {
            let part = out[*target as usize]
                .get_or_insert_with(|| Self { values: Vec::new(), timestamps: Vec::new() });
            part.values.push(value);
            part.timestamps.push(timestamp);
        }
        out
    }

    fn encode(&self, into: &mut Vec<u8>) -> Result<(), OperatorError> {
        let bytes = postcard::to_allocvec(self)
            .map_err(|e| OperatorError::fatal(format!("cannot encode a batch of records: {e}")))?;
        into.extend_from_slice(&bytes);
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
