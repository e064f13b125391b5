//! Tables as a planner sees them: from a definition to a source or a sink, with all options checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use streamkeeper_dataflow::sink::Sink;
use streamkeeper_dataflow::source::Source;

use crate::blackhole::Blackhole;
use crate::datagen::DataGenSource;
use crate::error::ConnectorError;
use crate::filesystem::files;
use crate::filesystem::sink::FileSink;
use crate::filesystem::source::FileSource;
use crate::formats::Format;
use crate::lookup::LookupSource;
use crate::options::Options;
use crate::print::PrintSink;
use crate::schema::{DataType, Field};
use crate::zookeeper;

/// The name of the last column of a changelog: Int8, 0 `+I`, 1 `-U`, 2 `+U`, 3 `-D`.
pub const ROW_KIND_COLUMN: &str = "$row_kind";

/// A table's definition in the catalog.
#[derive(Debug, Clone, Default)]
pub struct TableDescriptor {
    /// Its name, for messages.
    pub name: String,
    /// The physical columns in order: those that the connector reads or writes.
    pub columns: Vec<Field>,
    /// Columns that the connector knows of a row beside what is in it.
    pub metadata_columns: Vec<MetadataColumn>,
    /// The `WITH` clause.
    pub options: BTreeMap<String, String>,
    /// Columns of the primary key, as indices into `columns`; empty: none.
    pub primary_key: Vec<usize>,
    /// `PARTITIONED BY`, as indices into `columns`.
    pub partition_keys: Vec<usize>,
    /// What relative paths are relative to; empty: the current directory.
    pub base_dir: PathBuf,
}

/// A `METADATA` column.
#[derive(Debug, Clone)]
pub struct MetadataColumn {
    /// The column's name.
    pub name: String,
    /// The connector's name for it (`METADATA FROM`).
    pub key: String,
    /// The column's type.
    pub data_type: DataType,
}

/// What a query reads of a table.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// The columns of the batches, as indices into the physical columns and, behind them, the metadata columns.
    pub projection: Vec<usize>,
    /// No more rows than this are needed; a source may give more.
    pub limit: Option<u64>,
}

/// What a statement writes to a table.
#[derive(Debug, Clone, Default)]
pub struct SinkRequest {
    /// The batches have a row-kind column at their end.
    pub changelog: bool,
    /// Stable id of the sink within the job; files of two sinks of one directory are told apart by it.
    pub uid: String,
}

/// A table to read from.
pub struct ScanTable {
    /// Gives batches of the projected columns.
    pub source: Arc<dyn Source<RecordBatch>>,
    /// Whether it ends.
    pub bounded: bool,
    /// For a person: connector and what it reads.
    pub description: String,
}

/// The type of what a connector knows of a row beside what is in it, by its key in `METADATA FROM`; `None`: it knows no such thing.
pub fn metadata_type(connector: &str, key: &str) -> Option<DataType> {
    if connector == "zookeeper" { zookeeper::metadata_type(key) } else { None }
}

/// The keys that [`metadata_type`] knows, for messages; `None`: the connector has no metadata.
pub fn metadata_keys(connector: &str) -> Option<&'static str> {
    (connector == "zookeeper").then_some(zookeeper::METADATA_KEYS)
}

/// Whether what is read of such a table is updated and deleted: its batches have a row-kind column at their end.
pub fn is_changelog_source(connector: &str) -> bool {
    connector == "zookeeper"
}

/// Whether rows can be looked up in such a table, by [`create_lookup`].
pub fn is_lookup_source(connector: &str) -> bool {
    connector == "zookeeper"
}

/// The connectors of [`is_lookup_source`], for messages.
pub const LOOKUP_SOURCES: &str = "'zookeeper'";

/// A table to write to.
pub struct SinkTable {
    /// Takes batches of the physical columns, and the row kind where asked for.
    pub sink: Arc<dyn Sink<RecordBatch>>,
    /// Which changes it takes.
    pub accepts: ChangelogSupport,
    /// For a person: connector and where it writes to.
    pub description: String,
}

/// Which changes a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangelogSupport {
    /// Only new rows.
    InsertOnly,
    /// New rows, later versions and deletions by key.
    Upsert,
    /// All four kinds.
    All,
}

const SOURCES: &str = "datagen, filesystem, zookeeper";
const SINKS: &str = "blackhole, filesystem, print, zookeeper";
const CONNECTORS: &str = "blackhole, datagen, filesystem, print, zookeeper";

/// The source of a table.
///
/// # Errors
/// When the connector, the format or an option is unknown, missing or malformed, or a file is not there.
pub fn create_source(table: &TableDescriptor, request: &ScanRequest) -> Result<ScanTable, ConnectorError> {
    let connector = connector(table)?;
    let options = Options::new(&table.name, connector, &table.options);
    check_projection(table, request)?;
    if let Some(column) = table.metadata_columns.first().filter(|_| metadata_keys(connector).is_none()) {
        return Err(ConnectorError::invalid(format!(
            "Invalid metadata key '{}' in column '{}' of table `{}`: connector '{connector}' gives no metadata here",
            column.key, column.name, table.name
        )));
    }
    match connector {
        "filesystem" => file_source(table, request, &options),
        "zookeeper" => zookeeper::table_source(table, request, &options),
        "datagen" => {
            let source = DataGenSource::from_options(&table.columns, &request.projection, &options)?;
            options.finish()?;
            let bounded = source.is_bounded();
            Ok(ScanTable { source: Arc::new(source), bounded, description: "datagen".into() })
        }
        "print" | "blackhole" => Err(ConnectorError::invalid(format!(
            "Connector '{connector}' can only be used as a sink. It cannot be used as a source (table `{}`).",
            table.name
        ))),
        other => Err(unknown(other, SOURCES)),
    }
}

/// A table to look up rows in, which are those that [`create_source`] would give, as they are now.
///
/// # Errors
/// As for [`create_source`], and when the connector cannot be looked up in.
pub fn create_lookup(
    table: &TableDescriptor,
    request: &ScanRequest,
) -> Result<Arc<dyn LookupSource>, ConnectorError> {
    let connector = connector(table)?;
    if !is_lookup_source(connector) {
        return Err(ConnectorError::invalid(format!(
            "Connector '{connector}' (table `{}`) cannot be used for lookups; {LOOKUP_SOURCES} can",
            table.name
        )));
    }
    let options = Options::new(&table.name, connector, &table.options);
    check_projection(table, request)?;
    zookeeper::table_lookup(table, request, &options)
}

fn check_projection(table: &TableDescriptor, request: &ScanRequest) -> Result<(), ConnectorError> {
    let width = table.columns.len() + table.metadata_columns.len();
    match request.projection.iter().find(|i| **i >= width) {
        Some(bad) => Err(ConnectorError::invalid(format!("table `{}` has no column {bad}", table.name))),
        None => Ok(()),
    }
}

/// The sink of a table.
///
/// # Errors
/// As for [`create_source`], and when the connector does not take the changes.
pub fn create_sink(table: &TableDescriptor, request: &SinkRequest) -> Result<SinkTable, ConnectorError> {
    let accepts = sink_accepts(table)?;
    let connector = connector(table)?;
    if request.changelog && accepts == ChangelogSupport::InsertOnly {
        return Err(ConnectorError::invalid(format!(
            "Table sink `{}` doesn't support consuming update and delete changes: connector '{connector}' takes only \
             new rows",
            table.name
        )));
    }
    let options = Options::new(&table.name, connector, &table.options);
    let (sink, description): (Arc<dyn Sink<RecordBatch>>, String) = match connector {
        "filesystem" => file_sink(table, request, &options)?,
        "zookeeper" => zookeeper::table_sink(table, request, &options)?,
        "print" => {
            let sink = PrintSink {
                identifier: options.get("print-identifier").unwrap_or_default().to_owned(),
                standard_error: options.bool("standard-error", false)?,
                columns: table.columns.len(),
            };
            options.get("sink.parallelism");
            (Arc::new(sink), "print".into())
        }
        _ => (Arc::new(Blackhole), "blackhole".into()),
    };
    options.finish()?;
    Ok(SinkTable { sink, accepts, description })
}

/// Which changes the sink of a table takes.
///
/// # Errors
/// When the connector is unknown or cannot be written to.
pub fn sink_accepts(table: &TableDescriptor) -> Result<ChangelogSupport, ConnectorError> {
    match connector(table)? {
        "filesystem" => Ok(ChangelogSupport::InsertOnly),
        "zookeeper" => Ok(ChangelogSupport::All),
        "print" | "blackhole" => Ok(ChangelogSupport::All),
        "datagen" => Err(ConnectorError::invalid(format!(
            "Connector 'datagen' can only be used as a source. It cannot be used as a sink (table `{}`).",
            table.name
        ))),
        other => Err(unknown(other, SINKS)),
    }
}

/// By which physical columns rows must meet in a subtask of the sink, for their order to count; of none: all in one. `None`: they need
/// not.
pub fn sink_keys(table: &TableDescriptor) -> Option<Vec<usize>> {
    (table.options.get("connector").map(String::as_str) == Some("zookeeper"))
        .then(|| table.primary_key.clone())
}

fn connector(table: &TableDescriptor) -> Result<&str, ConnectorError> {
    table.options.get("connector").map(String::as_str).ok_or_else(|| {
        ConnectorError::invalid(format!(
            "Table options of `{}` do not contain an option key 'connector' for discovering a connector. Available \
             connectors are: {CONNECTORS}",
            table.name
        ))
    })
}

fn unknown(connector: &str, available: &str) -> ConnectorError {
    ConnectorError::invalid(format!(
        "Could not find any connector that matches '{connector}'. Available connectors are: {available}"
    ))
}

/// Takes the options of a file table that are the other direction's business.
fn file_options(options: &Options<'_>) -> Result<(), ConnectorError> {
    for name in [
        "sink.rolling-policy.file-size",
        "sink.rolling-policy.rollover-interval",
        "sink.rolling-policy.check-interval",
        "sink.rolling-policy.inactivity-interval",
        "sink.parallelism",
        "source.max-rows-per-second",
        "source.report-statistics",
    ] {
        options.get(name);
    }
    options.refuse("source.monitor-interval", "watching a directory for new files is not there yet")?;
    options.refuse("source.path.regex-pattern", "use a path with * and ? instead")?;
    options.refuse("auto-compaction", "files are not compacted")?;
    options.refuse("partition.default-name", "partitioned file tables are not there yet")?;
    options.refuse("sink.partition-commit.trigger", "partitioned file tables are not there yet")?;
    options.refuse("sink.partition-commit.policy.kind", "partitioned file tables are not there yet")
}

fn no_partitions(table: &TableDescriptor) -> Result<(), ConnectorError> {
    if table.partition_keys.is_empty() {
        return Ok(());
    }
    Err(ConnectorError::invalid(format!(
        "PARTITIONED BY is not supported yet for connector 'filesystem' (table `{}`); drop the clause",
        table.name
    )))
}

fn file_source(
    table: &TableDescriptor,
    request: &ScanRequest,
    options: &Options<'_>,
) -> Result<ScanTable, ConnectorError> {
    no_partitions(table)?;
    let path = files::local_path(options.required("path")?, &table.base_dir)?;
    let format = Format::from_options(options)?;
    format.check(&table.columns)?;
    let max_rows_per_second = options.number::<f64>("source.max-rows-per-second")?;
    if let Some(rate) = max_rows_per_second.filter(|rate| !(*rate > 0.0 && rate.is_finite())) {
        return Err(options.invalid("source.max-rows-per-second", &rate.to_string(), "greater than 0"));
    }
    file_options(options)?;
    options.finish()?;
    // A path that is not there is better told now than by a failing job.
    files::list(&path)?;
    let description = format!("filesystem {} ({})", path.display(), format.name());
    let source = FileSource {
        path,
        format,
        columns: table.columns.clone(),
        projection: request.projection.clone(),
        max_rows_per_second,
        split_bytes: FileSource::DEFAULT_SPLIT_BYTES,
    };
    Ok(ScanTable { source: Arc::new(source), bounded: true, description })
}

fn file_sink(
    table: &TableDescriptor,
    request: &SinkRequest,
    options: &Options<'_>,
) -> Result<(Arc<dyn Sink<RecordBatch>>, String), ConnectorError> {
    no_partitions(table)?;
    let directory = files::local_path(options.required("path")?, &table.base_dir)?;
    let format = Format::from_options(options)?;
    format.check(&table.columns)?;
    let roll_bytes = options.memory_size("sink.rolling-policy.file-size", 128 << 20)?;
    let interval = options.duration("sink.rolling-policy.rollover-interval", Duration::from_secs(30 * 60))?;
    file_options(options)?;
    let description = format!("filesystem {} ({})", directory.display(), format.name());
    let sink = FileSink {
        directory,
        format,
        columns: table.columns.clone(),
        roll_bytes,
        roll_interval_ms: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX),
        uid: request.uid.clone(),
    };
    Ok((Arc::new(sink), description))
}
