//! Znodes as rows of a table: columns of the format, the key, metadata, and the row kind.
//!
//! The row that an update or a deletion takes back is decoded from the data that were told before, so it is the row that was given.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Source, SourceReader, SplitEnumerator};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::formats::column::Column;
use crate::formats::{Decoder, Format, shorten};
use crate::lookup::{LookupSource, LookupTable};
use crate::schema::{DataType, Field, TypeKind, to_arrow_schema};
use crate::table::ROW_KIND_COLUMN;
use crate::zookeeper::following::Following;
use crate::zookeeper::mirror::Change;
use crate::zookeeper::source::{Rows, ZooKeeperSource, enumerator};
use crate::zookeeper::znode::{ZNode, below};

/// What is known of a znode beside its data: the connector's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metadata {
    Path,
    Version,
    Czxid,
    Mzxid,
    Ctime,
    Mtime,
    EphemeralOwner,
}

impl Metadata {
    pub(crate) const ALL: [(&str, Self); 7] = [
        ("path", Self::Path),
        ("version", Self::Version),
        ("czxid", Self::Czxid),
        ("mzxid", Self::Mzxid),
        ("ctime", Self::Ctime),
        ("mtime", Self::Mtime),
        ("ephemeral-owner", Self::EphemeralOwner),
    ];

    pub(crate) fn of(key: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == key).map(|(_, metadata)| *metadata)
    }

    pub(crate) fn kind(self) -> TypeKind {
        match self {
            Self::Path => TypeKind::Varchar(crate::schema::MAX_LENGTH),
            Self::Version => TypeKind::Int,
            Self::Czxid | Self::Mzxid | Self::EphemeralOwner => TypeKind::BigInt,
            Self::Ctime | Self::Mtime => TypeKind::TimestampLtz(3),
        }
    }

    fn array(self, znodes: &[&ZNode]) -> ArrayRef {
        let long = |value: fn(&ZNode) -> i64| znodes.iter().map(move |z| value(z));
        match self {
            Self::Path => Arc::new(StringArray::from_iter_values(znodes.iter().map(|z| &z.path))),
            Self::Version => Arc::new(Int32Array::from_iter_values(znodes.iter().map(|z| z.version))),
            Self::Czxid => Arc::new(Int64Array::from_iter_values(long(|z| z.czxid))),
            Self::Mzxid => Arc::new(Int64Array::from_iter_values(long(|z| z.mzxid))),
            Self::EphemeralOwner => Arc::new(Int64Array::from_iter_values(long(|z| z.ephemeral_owner))),
            Self::Ctime => Arc::new(
                TimestampMillisecondArray::from_iter_values(long(|z| z.ctime_ms)).with_timezone("UTC"),
            ),
            Self::Mtime => Arc::new(
                TimestampMillisecondArray::from_iter_values(long(|z| z.mtime_ms)).with_timezone("UTC"),
            ),
        }
    }
}

/// Where a column of the rows comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell {
    /// The znode's name, seen from the table's path.
    Key,
    /// What the format makes of the data: this of the decoder's columns.
    Value(usize),
    /// The znode's stat.
    Metadata(Metadata),
}

/// A table over znodes.
pub(crate) struct TableSource {
    pub(crate) source: ZooKeeperSource,
    pub(crate) format: Format,
    /// The columns of the format.
    pub(crate) values: Vec<Field>,
    /// Those of them that are read.
    pub(crate) projection: Vec<usize>,
    /// The columns of the rows, and where each comes from.
    pub(crate) columns: Vec<(Field, Cell)>,
}

impl Source<RecordBatch> for TableSource {
    fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
        enumerator(restored)
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<RecordBatch>>> {
        Ok(self.source.read(context, TableRows::new(self)))
    }
}

impl LookupSource for TableSource {
    fn follow(&self, context: &OperatorContext) -> OperatorResult<Box<dyn LookupTable>> {
        let following = Following::start(&self.source, context, Vec::new())?;
        Ok(Box::new(Looked { following, rows: TableRows::new(self) }))
    }
}

/// A table that is looked up in.
struct Looked {
    following: Following,
    rows: TableRows,
}

impl LookupTable for Looked {
    fn changes(&mut self) -> OperatorResult<Option<RecordBatch>> {
        while let Some(changes) = self.following.changes()? {
            // Documents that the format skips are no rows.
            if let Some(batch) = self.rows.batch(&changes)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn has_changes(&self) -> bool {
        self.following.has_changes()
    }

    fn is_complete(&self) -> bool {
        self.following.is_complete()
    }
}

/// Reads the columns of the format, one znode a row.
enum Values {
    /// The whole data is the one column's value, if it is read.
    Raw(Option<Column>, usize),
    Records(Box<dyn Decoder>),
}

impl Values {
    fn new(table: &TableSource) -> Self {
        match &table.format {
            Format::Raw(_) => {
                let column = table.projection.first().map(|i| Column::new(&table.values[*i].data_type));
                Self::Raw(column, 0)
            }
            format => Self::Records(format.decoder(&table.values, &table.projection)),
        }
    }

    /// Appends the row of these data; false if the format skips them.
    fn push(&mut self, znode: &ZNode) -> OperatorResult<bool> {
        let data = znode.data.as_deref().unwrap_or_default();
        match self {
            Self::Raw(column, rows) => {
                match column {
                    // What is no UTF-8 becomes U+FFFD, as it does where Flink makes a string of bytes.
                    Some(Column::Text(column)) => column.push(String::from_utf8_lossy(data).as_bytes()),
                    Some(Column::Binary(column)) => column.push(data),
                    _ => {}
                }
                *rows += 1;
                Ok(true)
            }
            Self::Records(decoder) => {
                let before = decoder.rows();
                // A line end inside a document means nothing, and an empty document has no fields.
                let mut record: Vec<u8> = data
                    .iter()
                    .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
                    .collect();
                if record.trim_ascii().is_empty() {
                    record = b"{}".to_vec();
                }
                let wrong = |reason: String| {
                    let shown = shorten(data);
                    OperatorError::fatal(format!("{}: malformed document: {reason} in {shown}", znode.path))
                };
                decoder
                    .decode(&record, true, record.len(), before + 1)
                    .map_err(|error| wrong(error.reason))?;
                Ok(decoder.rows() > before)
            }
        }
    }

    fn finish(&mut self) -> OperatorResult<Vec<ArrayRef>> {
        match self {
            Self::Raw(column, rows) => {
                *rows = 0;
                column.as_mut().map(|column| Ok(column.finish()?)).into_iter().collect()
            }
            Self::Records(decoder) => {
                decoder.take_skipped();
                Ok(decoder.finish()?.columns().to_vec())
            }
        }
    }
}

struct TableRows {
    root: String,
    values: Values,
    cells: Vec<Cell>,
    schema: SchemaRef,
}

impl TableRows {
    fn new(table: &TableSource) -> Self {
        let fields: Vec<Field> = table.columns.iter().map(|(field, _)| field.clone()).collect();
        let mut arrow: Vec<_> = to_arrow_schema(&fields).fields().iter().cloned().collect();
        arrow.push(Arc::new(ArrowField::new(ROW_KIND_COLUMN, ArrowType::Int8, false)));
        Self {
            root: table.source.root.clone(),
            values: Values::new(table),
            cells: table.columns.iter().map(|(_, cell)| *cell).collect(),
            schema: Arc::new(Schema::new(arrow)),
        }
    }
}

impl Rows<RecordBatch> for TableRows {
    fn batch(&mut self, changes: &[Change]) -> OperatorResult<Option<RecordBatch>> {
        let mut kinds: Vec<i8> = Vec::with_capacity(changes.len() * 2);
        let mut znodes = Vec::with_capacity(changes.len() * 2);
        for change in changes {
            let mut push = |znode: &Option<ZNode>| match znode {
                Some(znode) => self.values.push(znode),
                None => Ok(false),
            };
            let (before, after) = (push(&change.before)?, push(&change.after)?);
            kinds.extend(match (before, after) {
                (false, false) => [].as_slice(),
                (false, true) => &[0i8],
                (true, true) => &[1, 2],
                (true, false) => &[3],
            });
            znodes.extend(change.before.iter().filter(|_| before));
            znodes.extend(change.after.iter().filter(|_| after));
        }
        if kinds.is_empty() {
            return Ok(None);
        }
        let values = self.values.finish()?;
        let array = |cell: &Cell| -> ArrayRef {
            match cell {
                Cell::Value(column) => values[*column].clone(),
                Cell::Metadata(metadata) => metadata.array(&znodes),
                Cell::Key => {
                    let names = znodes.iter().map(|z| below(&self.root, &z.path).unwrap_or(&z.path));
                    Arc::new(StringArray::from_iter_values(names))
                }
            }
        };
        let mut columns: Vec<ArrayRef> = self.cells.iter().map(array).collect();
        columns.push(Arc::new(Int8Array::from(kinds)));
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

/// The type of a metadata column, NOT NULL as all of them are.
pub(crate) fn metadata_type(key: &str) -> Option<DataType> {
    Metadata::of(key).map(|metadata| DataType::from(metadata.kind()).not_null())
}
