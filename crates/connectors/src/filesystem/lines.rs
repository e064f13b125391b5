//! Lines of text files, for the typed API: the file table of format `raw`, its rows as `String`s.

use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch};
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Poll, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::Timestamp;

use super::source::FileSource as TableSource;
use crate::formats::Format;
use crate::formats::raw::RawOptions;
use crate::schema::{DataType, Field};

/// A source of files.
///
/// What the `filesystem` connector of SQL does: a path is a file, a directory with all below it, or has `*` and `?` in its names; files
/// that end in `.gz` are decompressed; a large plain file is read by several subtasks; positions are in the checkpoint.
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// Each line of UTF-8 text, without its end.
    pub fn text_lines(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn table(&self) -> TableSource {
        TableSource {
            path: self.path.clone(),
            format: Format::Raw(RawOptions),
            columns: vec![Field::new("line", DataType::string())],
            projection: vec![0],
            max_rows_per_second: None,
            split_bytes: TableSource::DEFAULT_SPLIT_BYTES,
        }
    }
}

impl Source<Records<String>> for FileSource {
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        self.table().enumerator(parallelism, restored)
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<String>>>> {
        Ok(Box::new(LineReader(self.table().reader(context)?)))
    }
}

struct LineReader(Box<dyn SourceReader<RecordBatch>>);

impl SourceReader<Records<String>> for LineReader {
    fn add_split(&mut self, split: Split) -> OperatorResult<()> {
        self.0.add_split(split)
    }

    fn poll(&mut self, now_ms: Timestamp) -> OperatorResult<Poll<Records<String>>> {
        Ok(match self.0.poll(now_ms)? {
            Poll::Batch { split, batch } => Poll::Batch { split, batch: lines(&batch) },
            Poll::SplitEnd(split) => Poll::SplitEnd(split),
            Poll::WaitUntil(time) => Poll::WaitUntil(time),
            Poll::NeedSplit => Poll::NeedSplit,
        })
    }

    fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
        self.0.snapshot()
    }
}

fn lines(batch: &RecordBatch) -> Records<String> {
    let column = batch.column(0).as_string::<i32>();
    let values = column.iter().map(|line| line.unwrap_or_default().to_owned()).collect();
    Records::new(values, vec![Timestamp::MIN; column.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut dyn SourceReader<Records<String>>) -> Vec<String> {
        let mut read = Vec::new();
        while let Poll::Batch { batch, .. } = reader.poll(0).expect("readable") {
            read.extend(batch.values);
        }
        read
    }

    #[test]
    fn lines_come_in_order_and_go_on_where_a_snapshot_was_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("text");
        let text: Vec<String> =
            (0..20_000).map(|n| if n == 7 { String::new() } else { n.to_string() }).collect();
        std::fs::write(&path, text.join("\r\n")).expect("written");
        let source = FileSource::text_lines(&path);
        let context = OperatorContext::detached("lines", 0, 1);
        let mut enumerator = source.enumerator(1, None).expect("a file");
        let streamkeeper_dataflow::source::Assignment::Split(split) = enumerator.next_split(0) else {
            panic!("no split")
        };
        let mut reader = source.reader(&context).expect("a reader");
        reader.add_split(split).expect("opened");
        let Poll::Batch { batch, .. } = reader.poll(0).expect("readable") else { panic!("no batch") };
        let mut lines = batch.values;
        assert!(lines.len() < text.len());
        let mut resumed = source.reader(&context).expect("a reader");
        for split in reader.snapshot().expect("positions") {
            resumed.add_split(split).expect("opened");
        }
        lines.extend(read(resumed.as_mut()));
        assert!(lines == text, "{} lines, expected {}", lines.len(), text.len());
    }
}
