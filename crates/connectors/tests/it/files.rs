//! The filesystem source: splits, positions, compressed files, pacing, and what is said of bad input.

use std::io::Write;
use std::path::Path;

use streamkeeper_dataflow::source::Poll;

use crate::harness::{context, read, read_all, source, table};

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{i},name{}", "x".repeat(i % 37))).collect()
}

fn gzip(path: &Path, text: &str) {
    let mut out =
        flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
}

#[test]
fn a_restored_reader_goes_on_where_the_position_says() {
    let dir = tempfile::tempdir().unwrap();
    let expected = lines(30_000);
    std::fs::write(dir.path().join("a.csv"), expected[..20_000].join("\n") + "\n").unwrap();
    gzip(&dir.path().join("b.csv.gz"), &expected[20_000..].join("\r\n"));
    let table = table(dir.path(), &[]);
    for stop in [0, 1, 8192, 9000, 20_000, 20_001, 29_999] {
        let source = source(&table);
        let mut enumerator = source.enumerator(1, None).unwrap();
        let mut reader = source.reader(&context(0, 1)).unwrap();
        let mut all = read(reader.as_mut(), enumerator.as_mut(), stop).unwrap();
        let (splits, rest) = (reader.snapshot().unwrap(), enumerator.snapshot().unwrap());
        let mut enumerator = source.enumerator(2, Some(&rest)).unwrap();
        enumerator.add_splits_back(splits);
        let mut reader = source.reader(&context(0, 1)).unwrap();
        all.extend(read(reader.as_mut(), enumerator.as_mut(), usize::MAX).unwrap());
        assert!(all == expected, "stopped after {stop}");
    }
}

#[test]
fn a_large_file_is_shared_and_read_once_unless_quotes_may_hide_line_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let name = "n".repeat(1000);
    let mut expected: Vec<String> = (0..40_000).map(|i| format!("{i},{name}")).collect();
    let text = expected.join("\n");
    std::fs::write(&path, &text).unwrap();
    let table = table(&path, &[]);
    let source1 = source(&table);
    let mut enumerator = source1.enumerator(2, None).unwrap();
    let mut readers = [0, 1].map(|i| source1.reader(&context(i, 2)).unwrap());
    let mut shares = [0, 0];
    let mut all = Vec::new();
    for turn in 0.. {
        let reader = turn % 2;
        let rows = read(readers[reader].as_mut(), enumerator.as_mut(), 8000).unwrap();
        if rows.is_empty() && turn % 2 == 1 {
            break;
        }
        shares[reader] += rows.len();
        all.extend(rows);
    }
    all.sort();
    expected.sort();
    assert!(all == expected, "{} rows", all.len());
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");

    std::fs::write(&path, text + "\n7,\"a\nb\"").unwrap();
    let mut enumerator = source1.enumerator(2, None).unwrap();
    let mut reader = source1.reader(&context(0, 2)).unwrap();
    let all = read(reader.as_mut(), enumerator.as_mut(), usize::MAX).unwrap();
    assert_eq!((all.len(), all.last().unwrap().as_str()), (40_001, "7,a\nb"));
}

#[test]
fn a_paced_replay_gives_small_batches_and_waits_between_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.csv"), lines(3000).join("\n")).unwrap();
    let source = source(&table(dir.path(), &[("source.max-rows-per-second", "2000")]));
    let mut enumerator = source.enumerator(2, None).unwrap();
    let mut reader = source.reader(&context(0, 2)).unwrap();
    let (mut now, mut rows, mut batches) = (0, 0, 0);
    loop {
        match reader.poll(now).unwrap() {
            Poll::Batch { batch, .. } => {
                rows += batch.num_rows();
                batches += 1;
            }
            Poll::WaitUntil(until) => now = until,
            Poll::SplitEnd(_) => break,
            Poll::NeedSplit => {
                let streamkeeper_dataflow::source::Assignment::Split(split) = enumerator.next_split(0) else {
                    panic!("there is a file")
                };
                reader.add_split(split).unwrap();
            }
        }
    }
    assert_eq!(rows, 3000);
    assert!((2800..=3200).contains(&now), "1000 rows a second for each of two: {now} ms");
    assert!(batches >= 30, "{batches}");
}

#[test]
fn bad_input_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let error = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_all(&table(&path, &[])).unwrap_err().replace(&dir.path().display().to_string(), "DIR")
    };
    let mut text = lines(20_000).join("\n");
    text += "\nx1,y\n2,z\n";
    assert_eq!(
        error("a.csv", text.as_bytes()),
        "DIR/a.csv, line 20001: column `id`: 'x1' is not a BIGINT in the record: x1,y"
    );
    let path = dir.path().join("b.csv.gz");
    gzip(&path, &text);
    let gz = read_all(&table(&path, &[])).unwrap_err();
    assert!(gz.contains("b.csv.gz, line 20001: column `id`: 'x1'"), "{gz}");
    let whole = std::fs::read(&path).unwrap();
    let cut = error("c.csv.gz", &whole[..whole.len() / 2]);
    assert!(cut.starts_with("cannot read DIR/c.csv.gz at byte "), "{cut}");
    let utf8 = error("d.csv", b"1,a\n2,\xff\n");
    assert!(utf8.starts_with("DIR/d.csv, line 2: the text is not valid UTF-8"), "{utf8}");
    let long = [b"1,\"".as_slice(), &vec![b'x'; 17 << 20]].concat();
    let long = error("e.csv", &long);
    assert!(long.starts_with("DIR/e.csv, line 1: a record is longer than 16 MiB"), "{long}");
    let xz = error("f.csv.xz", b"");
    assert!(xz.contains(".xz are not supported"), "{xz}");
    let missing = read_all(&table(&dir.path().join("none"), &[])).unwrap_err();
    assert!(missing.starts_with("cannot read ") && missing.contains("none: No such file"), "{missing}");
    let option = read_all(&table(dir.path(), &[("csv.fieldd", ";")])).unwrap_err();
    assert!(option.starts_with("Unsupported options found for 'filesystem'"), "{option}");
    let format = read_all(&table(dir.path(), &[("format", "avro")])).unwrap_err();
    assert!(format.contains("'avro'") && format.contains("csv, json, raw"), "{format}");
    let watch = read_all(&table(dir.path(), &[("source.monitor-interval", "1s")])).unwrap_err();
    assert!(watch.contains("'source.monitor-interval'"), "{watch}");
}

#[test]
fn a_file_that_shrank_since_the_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, lines(20_000).join("\n")).unwrap();
    let source = source(&table(&path, &[]));
    let mut enumerator = source.enumerator(1, None).unwrap();
    let mut reader = source.reader(&context(0, 1)).unwrap();
    read(reader.as_mut(), enumerator.as_mut(), 9000).unwrap();
    let split = reader.snapshot().unwrap().pop().unwrap();
    std::fs::write(&path, "1,a\n").unwrap();
    let mut reader = source.reader(&context(0, 1)).unwrap();
    let error = reader.add_split(split).unwrap_err().to_string();
    assert!(error.contains("a.csv has 4 bytes, but "), "{error}");
}
