//! Formats: how rows look as bytes. A decoder appends whole records to columns, an encoder appends rows to bytes.
pub(crate) mod cells;
pub(crate) mod column;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod raw;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use streamkeeper_dataflow::OperatorResult;

use crate::error::ConnectorError;
use crate::options::Options;
use crate::schema::{Field, to_arrow_schema};

/// Rows of a decoded batch, at most.
pub(crate) const BATCH_ROWS: usize = 8192;

/// A record that does not have the form it should have.
#[derive(Debug)]
pub(crate) struct RecordError {
    /// Where the record starts in the bytes that were decoded.
    pub(crate) offset: usize,
    /// Where it ends, as far as could be told.
    pub(crate) end: usize,
    /// What is wrong with it, naming the column where there is one.
    pub(crate) reason: String,
}

/// Reads records from bytes.
pub(crate) trait Decoder: Send {
    /// Appends the records of `bytes` that are complete and start before `stop_at` (and go on up to the next line
    /// end when a record that ends without one stands there), as long as fewer than `max_rows` rows are collected.
    /// Returns how many bytes they took. `eof`: the last record may lack its line end.
    ///
    /// # Errors
    /// At a malformed record, unless those are skipped; the rows before it stay collected.
    fn decode(
        &mut self,
        bytes: &[u8],
        eof: bool,
        stop_at: usize,
        max_rows: usize,
    ) -> Result<usize, RecordError>;

    /// Rows collected since the last `finish`.
    fn rows(&self) -> usize;

    /// Bytes held by the rows collected.
    fn num_bytes(&self) -> usize;

    /// The rows collected, in the order of the projection.
    ///
    /// # Errors
    /// When a string is not UTF-8.
    fn finish(&mut self) -> OperatorResult<RecordBatch>;

    /// Whether what was decoded last ended with `\n`; a split ends only there.
    fn at_line_start(&self) -> bool {
        true
    }

    /// Malformed records and fields that were skipped since the last call.
    fn take_skipped(&mut self) -> u64;
}

/// Writes rows as bytes.
pub(crate) trait Encoder: Send {
    /// Appends all rows of a batch (without row kinds).
    ///
    /// # Errors
    /// When a value has no text form.
    fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> OperatorResult<()>;
}

/// A format with its options, as a table names it.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Csv(csv::CsvOptions),
    Json(json::JsonOptions),
    Raw(raw::RawOptions),
}

impl Format {
    /// The format that the option `format` names; takes all options that begin with its name.
    pub(crate) fn from_options(options: &Options<'_>) -> Result<Self, ConnectorError> {
        match options.required("format")? {
            "csv" => Ok(Self::Csv(csv::CsvOptions::from_options(options)?)),
            "json" => Ok(Self::Json(json::JsonOptions::from_options(options)?)),
            "raw" => Ok(Self::Raw(raw::RawOptions::from_options(options)?)),
            other => Err(ConnectorError::invalid(format!(
                "Could not find any format that matches '{other}'. Available formats are: csv, json, raw"
            ))),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::Json(_) => "json",
            Self::Raw(_) => "raw",
        }
    }

    /// Refuses columns of types that the format has no form for.
    pub(crate) fn check(&self, columns: &[Field]) -> Result<(), ConnectorError> {
        match self {
            Self::Csv(_) => csv::check(columns),
            Self::Json(_) => json::check(columns),
            Self::Raw(_) => raw::check(columns),
        }
    }

    /// A decoder of records with these columns, of which the projection is kept.
    pub(crate) fn decoder(&self, columns: &[Field], projection: &[usize]) -> Box<dyn Decoder> {
        match self {
            Self::Csv(options) => Box::new(csv::CsvDecoder::new(options.clone(), columns, projection)),
            Self::Json(options) => Box::new(json::JsonDecoder::new(options.clone(), columns, projection)),
            Self::Raw(options) => Box::new(raw::RawDecoder::new(options.clone(), columns, projection)),
        }
    }

    /// An encoder of rows with these columns.
    pub(crate) fn encoder(&self, columns: &[Field]) -> Box<dyn Encoder> {
        match self {
            Self::Csv(options) => Box::new(csv::CsvEncoder::new(options.clone(), columns)),
            Self::Json(options) => Box::new(json::JsonEncoder::new(options.clone(), columns)),
            Self::Raw(options) => Box::new(raw::RawEncoder::new(options.clone())),
        }
    }

    /// The byte that, found in a file, means that a line end may be part of a value.
    pub(crate) fn quote(&self) -> Option<u8> {
        match self {
            Self::Csv(options) => options.quote,
            Self::Json(_) | Self::Raw(_) => None,
        }
    }
}

/// At most 200 bytes of malformed text, readable.
pub(crate) fn shorten(value: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
    if value.len() > 200 { format!("{shown}…") } else { shown }
}

/// The Arrow schema of a projection.
pub(crate) fn projected_schema(columns: &[Field], projection: &[usize]) -> SchemaRef {
    let fields: Vec<Field> = projection.iter().map(|i| columns[*i].clone()).collect();
    to_arrow_schema(&fields)
}
