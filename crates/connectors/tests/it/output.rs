//! The filesystem sink: nothing is seen before its checkpoint, everything once after it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use streamkeeper_connectors::table::{
    ChangelogSupport, SinkRequest, create_sink, create_source, sink_accepts,
};
use streamkeeper_dataflow::sink::Sink;

use crate::harness::{context, table};

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<String> = ids.clone().map(|i| format!("n{i}")).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        ("name", Arc::new(StringArray::from(names))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn sink(path: &Path, uid: &str, more: &[(&str, &str)]) -> Arc<dyn Sink<RecordBatch>> {
    let request = SinkRequest { changelog: false, uid: uid.into() };
    create_sink(&table(path, more), &request).unwrap_or_else(|e| panic!("{e}")).sink
}

/// Names of visible and of hidden files.
fn listing(path: &Path) -> (Vec<String>, Vec<String>) {
    let mut names: Vec<String> =
        std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.into_iter().partition(|name| !name.starts_with('.'))
}

fn visible_rows(path: &Path) -> usize {
    let (visible, _) = listing(path);
    visible.iter().map(|name| std::fs::read_to_string(path.join(name)).unwrap().lines().count()).sum()
}

const LINEAGE: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn files_appear_on_commit_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/out");
    let sink = sink(&out, "s", &[]);
    let committer = sink.committer().unwrap();
    let mut writer = sink.writer(&context(1, 2)).unwrap();
    writer.write(batch(0..10)).unwrap();
    let first = writer.prepare_commit(1).unwrap();
    writer.write(batch(10..15)).unwrap();
    let second = writer.prepare_commit(2).unwrap();
    assert!(writer.prepare_commit(3).unwrap().is_empty(), "nothing was written");
    assert_eq!((visible_rows(&out), listing(&out).1.len()), (0, 2));
    committer.commit(&first).unwrap();
    assert_eq!(visible_rows(&out), 10);
    committer.commit(&first).unwrap();
    committer.commit(&second).unwrap();
    let (visible, hidden) = listing(&out);
    assert_eq!((visible.len(), hidden.len(), visible_rows(&out)), (2, 0, 15));
    assert!(
        visible[0].starts_with("part-0123456789abcdef-") && visible[0].ends_with("-1-1-0"),
        "{visible:?}"
    );
    std::fs::remove_file(out.join(&visible[0])).unwrap();
    let lost = committer.commit(&first).unwrap_err().to_string();
    assert!(lost.starts_with("neither ") && lost.contains(&visible[0]), "{lost}");
}

#[test]
fn recovery_commits_the_checkpoint_and_removes_what_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = sink(dir.path(), "one", &[]);
    let two = sink(dir.path(), "two", &[]);
    let mut writer = one.writer(&context(0, 1)).unwrap();
    writer.write(batch(0..10)).unwrap();
    let kept = writer.prepare_commit(1).unwrap();
    writer.write(batch(10..30)).unwrap();
    writer.prepare_commit(2).unwrap();
    writer.write(batch(30..40_000)).unwrap();
    drop(writer);
    let mut other = two.writer(&context(0, 1)).unwrap();
    other.write(batch(0..7)).unwrap();
    let others = other.prepare_commit(1).unwrap();

    one.committer().unwrap().recover(LINEAGE, Some(0), &kept).unwrap();
    assert_eq!(
        (visible_rows(dir.path()), listing(dir.path()).1.len()),
        (10, 3),
        "files of the attempt and of later ones stay"
    );
    one.committer().unwrap().recover(LINEAGE, None, &kept).unwrap();
    assert_eq!(
        (visible_rows(dir.path()), listing(dir.path()).1.len()),
        (10, 1),
        "the other sink's file stays"
    );
    one.committer().unwrap().recover(LINEAGE, None, &kept).unwrap();
    two.committer().unwrap().recover("another lineage", None, &[]).unwrap();
    two.committer().unwrap().recover(LINEAGE, None, &others).unwrap();
    assert_eq!((visible_rows(dir.path()), listing(dir.path()).1.len()), (17, 0));

    let mut writer = one.writer(&context(0, 1)).unwrap();
    writer.write(batch(10..30)).unwrap();
    one.committer().unwrap().commit(&writer.prepare_commit(3).unwrap()).unwrap();
    assert_eq!(visible_rows(dir.path()), 37);
}

#[test]
fn large_and_old_files_are_closed_before_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(
        dir.path(),
        "s",
        &[("sink.rolling-policy.file-size", "300kb"), ("sink.rolling-policy.rollover-interval", "1 min")],
    );
    let mut writer = sink.writer(&context(0, 1)).unwrap();
    for i in 0..10 {
        writer.write(batch(i * 30_000..(i + 1) * 30_000)).unwrap();
    }
    writer.write(batch(0..25_000)).unwrap();
    let due = writer.next_processing_time().unwrap();
    assert_eq!(due, 60_000);
    writer.on_processing_time(due).unwrap();
    assert_eq!(writer.next_processing_time(), None);
    let committables = writer.prepare_commit(1).unwrap();
    assert!(committables.len() >= 5, "{}", committables.len());
    sink.committer().unwrap().commit(&committables).unwrap();
    assert_eq!(visible_rows(dir.path()), 325_000);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let Err(error) = sink(&dir.path().join("file/out"), "s", &[]).writer(&context(0, 1)) else {
        panic!("a file is no directory")
    };
    assert!(error.to_string().starts_with("cannot create directory "), "{error}");
}

#[test]
fn what_a_sink_takes_is_known_when_the_job_is_planned() {
    let mut table = table(Path::new("/none"), &[]);
    assert_eq!(sink_accepts(&table).unwrap(), ChangelogSupport::InsertOnly);
    let changes = SinkRequest { changelog: true, uid: "s".into() };
    let refused = create_sink(&table, &changes).err().unwrap().to_string();
    assert!(refused.contains("doesn't support consuming update and delete changes"), "{refused}");
    table.options = [("connector".to_owned(), "print".to_owned())].into();
    assert_eq!(
        create_sink(&table, &changes).unwrap_or_else(|e| panic!("{e}")).accepts,
        ChangelogSupport::All
    );
    let source = create_source(&table, &Default::default()).err().unwrap().to_string();
    assert!(source.contains("can only be used as a sink"), "{source}");
    table.options = [("connector".to_owned(), "kafka".to_owned())].into();
    let unknown = create_sink(&table, &changes).err().unwrap().to_string();
    assert!(unknown.contains("'kafka'") && unknown.contains("blackhole, filesystem, print"), "{unknown}");
}
