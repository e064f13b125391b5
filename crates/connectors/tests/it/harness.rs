//! Runs a source or a sink of a table without a runtime.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_connectors::table::{ScanRequest, TableDescriptor, create_source};
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, SplitEnumerator};

pub(crate) fn context(subtask: usize, parallelism: usize) -> OperatorContext {
    OperatorContext {
        lineage: "0123456789abcdef0123456789abcdef".into(),
        ..OperatorContext::detached("uid", subtask, parallelism)
    }
}

/// `id BIGINT, name STRING` in files below `path`.
pub(crate) fn table(path: &Path, more: &[(&str, &str)]) -> TableDescriptor {
    let path = path.to_string_lossy().into_owned();
    let options = [("connector", "filesystem"), ("path", path.as_str()), ("format", "csv")]
        .iter()
        .chain(more)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect::<BTreeMap<_, _>>();
    TableDescriptor {
        name: "t".into(),
        columns: vec![Field::new("id", TypeKind::BigInt.into()), Field::new("name", DataType::string())],
        options,
        ..TableDescriptor::default()
    }
}

pub(crate) fn source(table: &TableDescriptor) -> Arc<dyn Source<RecordBatch>> {
    let request = ScanRequest { projection: vec![0, 1], limit: None };
    create_source(table, &request).unwrap_or_else(|e| panic!("{e}")).source
}

/// The rows of a batch as text.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    use arrow::array::AsArray;
    let ids = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
    let names = batch.column(1).as_string::<i32>();
    (0..batch.num_rows()).map(|i| format!("{},{}", ids.value(i), names.value(i))).collect()
}

/// Reads until `stop` rows were given, or all.
pub(crate) fn read(
    reader: &mut dyn SourceReader<RecordBatch>,
    enumerator: &mut dyn SplitEnumerator,
    stop: usize,
) -> OperatorResult<Vec<String>> {
    let mut all = Vec::new();
    let mut now = 0;
    while all.len() < stop {
        match reader.poll(now)? {
            Poll::Batch { batch, .. } => all.extend(rows(&batch)),
            Poll::SplitEnd(_) => {}
            Poll::WaitUntil(until) => now = until,
            Poll::NeedSplit => match enumerator.next_split(0) {
                Assignment::Split(split) => reader.add_split(split)?,
                Assignment::NoMoreSplits => break,
            },
        }
    }
    Ok(all)
}

/// All rows of a table, or the error.
pub(crate) fn read_all(table: &TableDescriptor) -> Result<Vec<String>, String> {
    let request = ScanRequest { projection: vec![0, 1], limit: None };
    let source = create_source(table, &request).map_err(|e| e.to_string())?.source;
    let mut enumerator = source.enumerator(1, None).map_err(|e| e.to_string())?;
    let mut reader = source.reader(&context(0, 1)).map_err(|e| e.to_string())?;
    read(reader.as_mut(), enumerator.as_mut(), usize::MAX).map_err(|e| e.to_string())
}
