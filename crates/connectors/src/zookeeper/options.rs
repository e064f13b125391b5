//! `'connector' = 'zookeeper'`: a table's options, and what they make.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use streamkeeper_dataflow::sink::Sink;
use streamkeeper_zookeeper::Options as SessionOptions;

use crate::error::ConnectorError;
use crate::formats::Format;
use crate::lookup::LookupSource;
use crate::options::Options;
use crate::schema::{Field, TypeKind};
use crate::table::{MetadataColumn, ScanRequest, ScanTable, SinkRequest, TableDescriptor};
use crate::zookeeper::commit::OnConflict;
use crate::zookeeper::mirror::Limits;
use crate::zookeeper::rows::{Cell, Metadata, TableSource, metadata_type};
use crate::zookeeper::sink::{SinkOptions, ZooKeeperSink};
use crate::zookeeper::source::ZooKeeperSource;
use crate::zookeeper::znode::Mode;

/// The keys of `METADATA FROM`.
pub(crate) const METADATA_KEYS: &str = "path, version, czxid, mzxid, ctime, mtime, ephemeral-owner";

/// What both directions need.
struct Place {
    session: SessionOptions,
    root: String,
    mode: Mode,
    format: Format,
    /// The column that names the znode, as an index into the physical columns.
    key: Option<usize>,
    /// The columns of the format.
    values: Vec<usize>,
}

impl Place {
    fn from_options(table: &TableDescriptor, options: &Options<'_>) -> Result<Self, ConnectorError> {
        let quorum = options.required("zookeeper.quorum")?;
        let mut session = SessionOptions::new(quorum);
        session.session_timeout = options.duration("zookeeper.session-timeout", session.session_timeout)?;
        session.connection_timeout =
            options.duration("zookeeper.connection-timeout", session.connection_timeout)?;
        session.operation_timeout = session.operation_timeout.max(session.connection_timeout);
        if session.session_timeout < Duration::from_millis(1) {
            return Err(options.invalid("zookeeper.session-timeout", "0", "at least 1 ms"));
        }
        if let Some(digest) = options.get("zookeeper.digest") {
            let Some((user, password)) = digest.split_once(':') else {
                return Err(options.invalid("zookeeper.digest", "(hidden)", "user:password"));
            };
            session.digest = Some((user.to_owned(), password.to_owned()));
        }
        let root = options.required("path")?;
        let is_path = root == "/" || (root.starts_with('/') && !root.ends_with('/') && !root.contains("//"));
        if !is_path {
            return Err(options.invalid("path", root, "a znode's path such as /a/b"));
        }
        let mode = match options.get("mode").unwrap_or("node") {
            "node" => Mode::Node,
            "children" => Mode::Children,
            "tree" => Mode::Tree,
            other => return Err(options.invalid("mode", other, "one of node, children, tree")),
        };
        let key = key_column(table, mode)?;
        let values: Vec<usize> = (0..table.columns.len()).filter(|column| Some(*column) != key).collect();
        let format = Format::from_options(options)?;
        if matches!(format, Format::Csv(_)) {
            return Err(options.invalid("format", "csv", "one of json, raw: a znode holds one document"));
        }
        format.check(&values.iter().map(|column| table.columns[*column].clone()).collect::<Vec<_>>())?;
        Ok(Self { session, root: root.to_owned(), mode, format, key, values })
    }

    fn value_fields(&self, table: &TableDescriptor) -> Vec<Field> {
        self.values.iter().map(|column| table.columns[*column].clone()).collect()
    }
}

fn key_column(table: &TableDescriptor, mode: Mode) -> Result<Option<usize>, ConnectorError> {
    let name = &table.name;
    match (mode, table.primary_key.as_slice()) {
        (Mode::Node, []) | (_, []) => Ok(None),
        (Mode::Node, _) => Err(ConnectorError::invalid(format!(
            "table `{name}`: 'mode' = 'node' is one row and has no key; drop the PRIMARY KEY, or read 'children'"
        ))),
        (_, [key])
            if matches!(table.columns[*key].data_type.kind, TypeKind::Char(_) | TypeKind::Varchar(_)) =>
        {
            Ok(Some(*key))
        }
        _ => Err(ConnectorError::invalid(format!(
            "table `{name}`: the PRIMARY KEY of a 'zookeeper' table is one STRING column, which holds the znode's name \
             seen from 'path'"
        ))),
    }
}

/// The options of the other direction are no mistake.
fn skip(options: &Options<'_>, names: &[&str]) {
    names.iter().for_each(|name| {
        options.get(name);
    });
}

const SCAN_OPTIONS: [&str; 2] = ["scan.max-znodes", "scan.max-bytes"];
const SINK_OPTIONS: [&str; 4] =
    ["sink.max-document-size", "sink.on-conflict", "sink.fence-path", "sink.parallelism"];

fn metadata_cell(table: &TableDescriptor, column: &MetadataColumn) -> Result<(Field, Cell), ConnectorError> {
    let wrong = |what: String| {
        ConnectorError::invalid(format!(
            "Invalid metadata key '{}' in column '{}' of table `{}`: {what}",
            column.key, column.name, table.name
        ))
    };
    let metadata = Metadata::of(&column.key)
        .ok_or_else(|| wrong(format!("connector 'zookeeper' has {METADATA_KEYS}")))?;
    let given = metadata_type(&column.key).map(|given| given.kind);
    if given.as_ref() != Some(&column.data_type.kind) {
        return Err(wrong(format!("its type is {}, not {}", metadata.kind(), column.data_type)));
    }
    Ok((Field::new(column.name.clone(), column.data_type.clone()), Cell::Metadata(metadata)))
}

/// The source of a table.
pub(crate) fn table_source(
    table: &TableDescriptor,
    request: &ScanRequest,
    options: &Options<'_>,
) -> Result<ScanTable, ConnectorError> {
    let (source, description) = followed(table, request, options)?;
    Ok(ScanTable { source: Arc::new(source), bounded: false, description })
}

/// A table that is looked up in.
pub(crate) fn table_lookup(
    table: &TableDescriptor,
    request: &ScanRequest,
    options: &Options<'_>,
) -> Result<Arc<dyn LookupSource>, ConnectorError> {
    Ok(Arc::new(followed(table, request, options)?.0))
}

fn followed(
    table: &TableDescriptor,
    request: &ScanRequest,
    options: &Options<'_>,
) -> Result<(TableSource, String), ConnectorError> {
    let place = Place::from_options(table, options)?;
    let defaults = Limits::default();
    let max_znodes = options.number::<usize>("scan.max-znodes")?.unwrap_or(defaults.max_znodes);
    let max_bytes = options.memory_size("scan.max-bytes", defaults.max_bytes as u64)?;
    skip(options, &SINK_OPTIONS);
    options.finish()?;
    let mut projection = Vec::new();
    let mut columns = Vec::new();
    for column in &request.projection {
        columns.push(if let Some(metadata) = column.checked_sub(table.columns.len()) {
            metadata_cell(table, &table.metadata_columns[metadata])?
        } else {
            let cell = match place.values.iter().position(|value| value == column) {
                None => Cell::Key,
                Some(value) => {
                    projection.push(value);
                    Cell::Value(projection.len() - 1)
                }
            };
            (table.columns[*column].clone(), cell)
        });
    }
    let values = place.value_fields(table);
    let description = format!("zookeeper {}{} ({})", place.session.quorum, place.root, place.format.name());
    let source = ZooKeeperSource {
        options: place.session,
        root: place.root,
        mode: place.mode,
        limits: Limits { max_znodes, max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) },
    };
    Ok((TableSource { source, format: place.format, values, projection, columns }, description))
}

/// The sink of a table.
pub(crate) fn table_sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    options: &Options<'_>,
) -> Result<(Arc<dyn Sink<RecordBatch>>, String), ConnectorError> {
    let place = Place::from_options(table, options)?;
    if place.key.is_none() && place.mode != Mode::Node {
        return Err(ConnectorError::invalid(format!(
            "table `{}`: a 'zookeeper' sink with 'mode' = 'children' or 'tree' needs a PRIMARY KEY (one STRING column) \
             NOT ENFORCED, which names the znode",
            table.name
        )));
    }
    let max_document_bytes = options.memory_size("sink.max-document-size", 256 << 10)?;
    let on_conflict = match options.get("sink.on-conflict").unwrap_or("overwrite") {
        "overwrite" => OnConflict::Overwrite,
        "fail" => OnConflict::Fail,
        other => return Err(options.invalid("sink.on-conflict", other, "one of overwrite, fail")),
    };
    let fence = options.get("sink.fence-path").unwrap_or("/streamkeeper-sinks").to_owned();
    if !fence.starts_with('/') || fence.ends_with('/') {
        return Err(options.invalid("sink.fence-path", &fence, "a znode's path such as /a/b"));
    }
    skip(options, &SCAN_OPTIONS);
    skip(options, &["sink.parallelism"]);
    let description = format!("zookeeper {}{} ({})", place.session.quorum, place.root, place.format.name());
    let sink = ZooKeeperSink::new(SinkOptions {
        values: place.value_fields(table),
        value_columns: place.values,
        key_column: place.key,
        changelog: request.changelog.then_some(table.columns.len()),
        session: place.session,
        root: place.root,
        mode: place.mode,
        format: place.format,
        uid: request.uid.clone(),
        max_document_bytes: usize::try_from(max_document_bytes).unwrap_or(usize::MAX),
        on_conflict,
        fence,
    });
    Ok((Arc::new(sink), description))
}
