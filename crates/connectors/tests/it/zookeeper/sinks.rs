//! The sink: nothing before the checkpoint, everything once after it, whoever commits it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use streamkeeper_connectors::schema::{DataType, Field, TypeKind};
use streamkeeper_connectors::table::{SinkRequest, TableDescriptor, create_sink};
use streamkeeper_dataflow::sink::Sink;
use streamkeeper_keeper::server::Keeper;

use super::server::{Other, quorum, server};
use crate::harness::context;

const LINEAGE: &str = "0123456789abcdef0123456789abcdef";

fn table(keeper: &Keeper, more: &[(&str, &str)]) -> TableDescriptor {
    let quorum = quorum(keeper);
    let options = [
        ("connector", "zookeeper"),
        ("zookeeper.quorum", quorum.as_str()),
        ("path", "/out"),
        ("mode", "tree"),
        ("format", "json"),
    ];
    let options: BTreeMap<_, _> =
        options.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TableDescriptor {
        name: "t".into(),
        columns: vec![
            Field::new("name", DataType::string().not_null()),
            Field::new("n", TypeKind::BigInt.into()),
        ],
        primary_key: vec![0],
        options,
        ..TableDescriptor::default()
    }
}

fn sink(keeper: &Keeper, more: &[(&str, &str)]) -> Arc<dyn Sink<RecordBatch>> {
    let request = SinkRequest { changelog: true, uid: "sink".into() };
    create_sink(&table(keeper, more), &request).unwrap_or_else(|e| panic!("{e}")).sink
}

/// Rows `kind name n`.
fn batch(rows: &[(i8, &str, i64)]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("name", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)))),
        ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("$row_kind", Arc::new(Int8Array::from_iter_values(rows.iter().map(|row| row.0)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn rows_become_znodes_on_commit_and_only_then() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let sink = sink(&keeper, &[]);
    let committer = sink.committer().unwrap();
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(batch(&[(0, "a", 1), (0, "b/c", 2), (0, "gone", 3)])).unwrap();
    writer.write(batch(&[(1, "a", 1), (2, "a", 4), (3, "gone", 3)])).unwrap();
    let first = writer.prepare_commit(1).unwrap();
    assert!(writer.prepare_commit(2).unwrap().is_empty(), "nothing was written");
    assert_eq!(other.get("/out"), None);
    committer.commit(&first).unwrap();
    let read = |path| other.get(path);
    assert_eq!(read("/out/a").as_deref(), Some(r#"{"n":4}"#));
    assert_eq!(read("/out/b/c").as_deref(), Some(r#"{"n":2}"#));
    assert_eq!(read("/out/gone"), None);
    writer.write(batch(&[(3, "a", 4)])).unwrap();
    committer.commit(&writer.prepare_commit(3).unwrap()).unwrap();
    assert_eq!(read("/out/a"), None);
}

#[test]
fn committing_again_is_the_same_commit() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let sink = sink(&keeper, &[]);
    let committer = sink.committer().unwrap();
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(batch(&[(0, "a", 1)])).unwrap();
    let first = writer.prepare_commit(1).unwrap();
    writer.write(batch(&[(2, "a", 2)])).unwrap();
    let second = writer.prepare_commit(2).unwrap();
    committer.commit(&first).unwrap();
    committer.commit(&second).unwrap();
    // A zombie's, late.
    committer.commit(&first).unwrap();
    committer.commit(&second).unwrap();
    assert_eq!(other.get("/out/a").as_deref(), Some(r#"{"n":2}"#));
    let version = streamkeeper_zookeeper::block_on(other.0.get("/out/a")).unwrap().1.version;
    assert_eq!(version, 1, "created once, written once");
}

#[test]
fn a_restore_commits_what_the_checkpoint_holds_and_stops_the_attempt_before() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let killed = sink(&keeper, &[]);
    let mut writer = killed.writer(&context(0, 1)).unwrap();
    writer.write(batch(&[(0, "a", 1)])).unwrap();
    let held = writer.prepare_commit(1).unwrap();
    writer.write(batch(&[(2, "a", 2)])).unwrap();
    let aborted = writer.prepare_commit(2).unwrap();
    // Killed between prepare and commit; the next attempt restores checkpoint 1.
    let next = sink(&keeper, &[]);
    let committer = next.committer().unwrap();
    committer.recover(LINEAGE, None, &held).unwrap();
    assert_eq!(other.get("/out/a").as_deref(), Some(r#"{"n":1}"#));
    let mut writer = next.writer(&context(0, 1)).unwrap();
    // What the one before still does changes nothing.
    killed.committer().unwrap().commit(&aborted).unwrap();
    assert_eq!(other.get("/out/a").as_deref(), Some(r#"{"n":1}"#));
    // The numbers of checkpoints come again.
    writer.write(batch(&[(2, "a", 3)])).unwrap();
    let second = writer.prepare_commit(2).unwrap();
    committer.commit(&second).unwrap();
    assert_eq!(other.get("/out/a").as_deref(), Some(r#"{"n":3}"#));
    // Restored once more, before it was known that the commit had happened.
    committer.recover(LINEAGE, None, &second).unwrap();
    let version = streamkeeper_zookeeper::block_on(other.0.get("/out/a")).unwrap().1.version;
    assert_eq!(version, 1);
}

#[test]
fn a_large_checkpoint_is_written_in_parts() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let sink = sink(&keeper, &[]);
    let names: Vec<String> = (0..1200).map(|n| format!("{n:05}")).collect();
    let rows: Vec<_> = names.iter().enumerate().map(|(n, name)| (0, name.as_str(), n as i64)).collect();
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    writer.write(batch(&rows)).unwrap();
    let parts = writer.prepare_commit(1).unwrap();
    assert_eq!(parts.len(), 3);
    let committer = sink.committer().unwrap();
    committer.commit(&parts[..1]).unwrap();
    committer.commit(&parts).unwrap();
    let children = streamkeeper_zookeeper::block_on(other.0.children("/out")).unwrap().0;
    assert_eq!(children.len(), 1200);
}

#[test]
fn what_is_too_large_or_no_name_is_refused() {
    let keeper = server(None, None);
    let sink = sink(&keeper, &[("sink.max-document-size", "4 b")]);
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    let large = writer.write(batch(&[(0, "a", 1)])).unwrap_err().to_string();
    assert!(large.contains("'sink.max-document-size'") && large.contains("/out/a"), "{large}");
    for name in ["", "/a", "a/", "a//b", "../x"] {
        let error = writer.write(batch(&[(3, name, 1)])).unwrap_err().to_string();
        assert!(error.contains("is no name of a znode"), "{error}");
    }
}

#[test]
fn anothers_edit_is_written_over_or_fails_the_sink() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    for (policy, fails) in [("overwrite", false), ("fail", true)] {
        let path = format!("/{policy}");
        let sink = sink(&keeper, &[("sink.on-conflict", policy), ("path", &path)]);
        let committer = sink.committer().unwrap();
        let mut context = context(0, 1);
        context.lineage = policy.to_owned();
        let mut writer = sink.writer(&context).unwrap();
        writer.write(batch(&[(0, "a", 1)])).unwrap();
        committer.commit(&writer.prepare_commit(1).unwrap()).unwrap();
        writer.write(batch(&[(2, "a", 2)])).unwrap();
        committer.commit(&writer.prepare_commit(2).unwrap()).unwrap();
        other.set(&format!("{path}/a"), "foreign");
        writer.write(batch(&[(2, "a", 3)])).unwrap();
        let committed = committer.commit(&writer.prepare_commit(3).unwrap());
        let now = other.get(&format!("{path}/a")).unwrap();
        match committed {
            Ok(()) => assert!(!fails && now == r#"{"n":3}"#, "{policy} {now}"),
            Err(error) => {
                assert!(fails && now == "foreign" && error.to_string().contains("somebody else"), "{error}")
            }
        }
    }
}
