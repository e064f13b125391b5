//! The source as tables have it: rows with kinds, metadata, options.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_connectors::table::{MetadataColumn, ScanRequest, TableDescriptor, create_source};
use streamkeeper_dataflow::source::Source;
use streamkeeper_keeper::server::Keeper;

use super::server::{Following, Other, quorum, server};

fn table(keeper: &Keeper, columns: Vec<Field>, more: &[(&str, &str)]) -> TableDescriptor {
    let quorum = quorum(keeper);
    let options = [("connector", "zookeeper"), ("zookeeper.quorum", quorum.as_str()), ("path", "/t")];
    let options: BTreeMap<_, _> =
        options.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TableDescriptor { name: "t".into(), columns, options, ..TableDescriptor::default() }
}

fn source(table: &TableDescriptor, projection: &[usize]) -> Result<Arc<dyn Source<RecordBatch>>, String> {
    let request = ScanRequest { projection: projection.to_vec(), limit: None };
    create_source(table, &request).map(|table| table.source).map_err(|error| error.to_string())
}

/// The rows as Flink prints them.
fn rows(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let (kinds, columns) = batch.columns().split_last().unwrap();
    let cells: Vec<_> =
        columns.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    let kinds = kinds.as_primitive::<Int8Type>();
    let row = |row: usize| {
        let kind = ["+I", "-U", "+U", "-D"][kinds.value(row) as usize];
        let cells: Vec<String> = cells.iter().map(|cell| cell.value(row).to_string()).collect();
        format!("{kind}[{}]", cells.join(", "))
    };
    (0..kinds.len()).map(row).collect()
}

fn keyed() -> Vec<Field> {
    vec![
        Field::new("n", TypeKind::BigInt.into()),
        Field::new("name", DataType::string().not_null()),
        Field::new("s", DataType::string()),
    ]
}

#[test]
fn children_are_rows_that_are_updated_and_deleted() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/t", "");
    other.create("/t/a", "{\"n\": 1,\n \"s\": \"x\"}\n");
    other.create("/t/empty", "");
    let mut table = table(&keeper, keyed(), &[("mode", "children"), ("format", "json")]);
    table.primary_key = vec![1];
    let metadata = |name: &str, key: &str, kind: TypeKind| MetadataColumn {
        name: name.into(),
        key: key.into(),
        data_type: DataType::from(kind),
    };
    table.metadata_columns =
        vec![metadata("v", "version", TypeKind::Int), metadata("p", "path", DataType::string().kind)];
    let source = source(&table, &[1, 3, 0, 4]).unwrap();
    let mut following = Following::start(source.as_ref(), None);
    let first = following.next().unwrap();
    assert_eq!(rows(&first), ["+I[a, 0, 1, /t/a]", "+I[empty, 0, NULL, /t/empty]"]);
    other.set("/t/a", r#"{"n": 2}"#);
    assert_eq!(rows(&following.next().unwrap()), ["-U[a, 0, 1, /t/a]", "+U[a, 1, 2, /t/a]"]);
    let checkpoint = following.checkpoint();
    other.delete("/t/a");
    assert_eq!(rows(&following.next().unwrap()), ["-D[a, 1, 2, /t/a]"]);
    // What is taken back after a restore is the row that was given before.
    let mut restored = Following::start(source.as_ref(), Some(checkpoint));
    assert_eq!(rows(&restored.next().unwrap()), ["-D[a, 1, 2, /t/a]"]);
}

#[test]
fn a_node_is_one_row_of_its_whole_text() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/t", "two\nlines");
    let table = table(&keeper, vec![Field::new("v", DataType::string())], &[("format", "raw")]);
    let mut following = Following::start(source(&table, &[0]).unwrap().as_ref(), None);
    assert_eq!(rows(&following.next().unwrap()), ["+I[two\nlines]"]);
}

#[test]
fn malformed_documents_fail_or_are_no_rows() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    other.create("/t", "{nonsense");
    let columns = || vec![Field::new("n", TypeKind::BigInt.into())];
    let strict = table(&keeper, columns(), &[("format", "json")]);
    let error = Following::start(source(&strict, &[0]).unwrap().as_ref(), None).next().unwrap_err();
    assert!(error.to_string().starts_with("/t: malformed document") && !error.is_recoverable(), "{error}");
    let lenient = table(&keeper, columns(), &[("format", "json"), ("json.ignore-parse-errors", "true")]);
    let mut following = Following::start(source(&lenient, &[0]).unwrap().as_ref(), None);
    other.set("/t", r#"{"n": 1}"#);
    assert_eq!(rows(&following.next().unwrap()), ["+I[1]"]);
    other.set("/t", "[");
    assert_eq!(rows(&following.next().unwrap()), ["-D[1]"]);
}

#[test]
fn wrong_definitions_say_what_is_wrong() {
    let keeper = server(None, None);
    let text = || vec![Field::new("v", DataType::string())];
    for (columns, key, more, expected) in [
        (text(), vec![], vec![("format", "csv")], "one of json, raw"),
        (text(), vec![], vec![("format", "raw"), ("mode", "all")], "one of node, children, tree"),
        (text(), vec![], vec![("format", "raw"), ("path", "t/")], "a znode's path"),
        (text(), vec![0], vec![("format", "raw")], "has no key"),
        (text(), vec![], vec![("format", "raw"), ("zookeeper.digest", "secret")], "user:password"),
        (
            text(),
            vec![],
            vec![("format", "raw"), ("zookeeper.sesion-timeout", "1 s")],
            "zookeeper.session-timeout",
        ),
        (keyed(), vec![0], vec![("format", "json"), ("mode", "tree")], "one STRING column"),
        (keyed(), vec![], vec![("format", "raw")], "single physical column"),
    ] {
        let mut table = table(&keeper, columns, &more);
        table.primary_key = key;
        let error = source(&table, &[0]).err().unwrap();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }
}
