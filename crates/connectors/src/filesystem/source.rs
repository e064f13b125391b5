//! The splits of a file table.
//!
//! A compressed file is one split. A plain file is cut into ranges of at most 16 MiB when several readers share the
//! work, and then read by this rule: a range's first record is the first one that starts after a line end at or after
//! its begin (the byte before it counted in), its last the last one that starts before such a place at or after its
//! end. A file in which a line end may be part of a quoted value is never cut: it holds a quote character.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::source::{Assignment, Source, SourceReader, Split, SplitEnumerator};
use streamkeeper_dataflow::time::MIN_WATERMARK;
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::files::{self, InputFile};
use super::reader::FileReader;
use crate::formats::Format;
use crate::schema::Field;

/// The most bytes of a plain file in one split, when it is shared among readers.
const SPLIT_BYTES: u64 = 16 << 20;

/// Which bytes of which file, and how far they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRange {
    pub(crate) path: PathBuf,
    /// First byte of the range.
    pub(crate) start: u64,
    /// End of the range; `None`: the end of the file.
    pub(crate) end: Option<u64>,
    /// Where the next record starts, in bytes of the (uncompressed) file; `None` before the first was looked for.
    pub(crate) position: Option<u64>,
}

/// How the bytes of a file are stored, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

impl Compression {
    /// # Errors
    /// When the file is compressed in a way that cannot be read.
    pub(crate) fn of(path: &Path) -> OperatorResult<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz" | "gzip") => Ok(Self::Gzip),
            Some(other @ ("bz2" | "xz" | "zst" | "zstd" | "deflate")) => Err(OperatorError::fatal(format!(
                "{}: files compressed as .{other} are not supported; use .gz or plain files",
                path.display()
            ))),
            _ => Ok(Self::None),
        }
    }
}

/// A table of files.
pub(crate) struct FileSource {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) columns: Vec<Field>,
    pub(crate) projection: Vec<usize>,
    /// Of all readers together.
    pub(crate) max_rows_per_second: Option<f64>,
    pub(crate) split_bytes: u64,
}

impl FileSource {
    pub(crate) const DEFAULT_SPLIT_BYTES: u64 = SPLIT_BYTES;

    fn splits(&self, parallelism: usize) -> OperatorResult<VecDeque<Split>> {
        let files = files::list(&self.path).map_err(OperatorError::fatal)?;
        let mut splits = VecDeque::new();
        for file in files {
            for range in self.ranges(&file, parallelism)? {
                splits.push_back(encode_split(&range)?);
            }
        }
        Ok(splits)
    }

    fn ranges(&self, file: &InputFile, parallelism: usize) -> OperatorResult<Vec<FileRange>> {
        let range = |start, end| FileRange { path: file.path.clone(), start, end, position: None };
        let whole = Compression::of(&file.path)? != Compression::None
            || parallelism == 1
            || file.length <= self.split_bytes
            || self.may_hold_line_ends(&file.path)?;
        if whole {
            return Ok(vec![range(0, None)]);
        }
        let count = file.length.div_ceil(self.split_bytes);
        // The last range goes on to wherever the file ends by then.
        Ok((0..count)
            .map(|i| range(i * self.split_bytes, (i + 1 < count).then_some((i + 1) * self.split_bytes)))
            .collect())
    }

    /// Whether a line end of this file may be part of a value.
    fn may_hold_line_ends(&self, path: &Path) -> OperatorResult<bool> {
        let Some(quote) = self.format.quote() else { return Ok(false) };
        let failed = |e| OperatorError::fatal(format!("cannot read {}: {e}", path.display()));
        let mut file = File::open(path).map_err(failed)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => return Ok(false),
                n if memchr::memchr(quote, &buffer[..n]).is_some() => return Ok(true),
                _ => {}
            }
        }
    }
}

/// A split of a range. Its id tells a person which bytes it is.
pub(crate) fn encode_split(range: &FileRange) -> OperatorResult<Split> {
    let payload = serde_json::to_vec(range)
        .map_err(|e| OperatorError::fatal(format!("cannot store the position in a file: {e}")))?;
    let id = format!("{}@{}", range.path.display(), range.start);
    Ok(Split { id, payload, watermark: MIN_WATERMARK })
}

/// The range that a split stands for.
pub(crate) fn decode_split(split: &Split) -> OperatorResult<FileRange> {
    serde_json::from_slice(&split.payload)
        .map_err(|e| OperatorError::fatal(format!("split {} is not one of a file source: {e}", split.id)))
}

struct FileEnumerator {
    returned: VecDeque<Split>,
    pending: VecDeque<Split>,
}

impl SplitEnumerator for FileEnumerator {
    fn next_split(&mut self, _subtask: usize) -> Assignment {
        match self.returned.pop_front().or_else(|| self.pending.pop_front()) {
            Some(split) => Assignment::Split(split),
            None => Assignment::NoMoreSplits,
        }
    }

    fn add_splits_back(&mut self, splits: Vec<Split>) {
        self.returned.extend(splits);
    }

    fn snapshot(&self) -> OperatorResult<Vec<u8>> {
        let all: Vec<&Split> = self.returned.iter().chain(&self.pending).collect();
        serde_json::to_vec(&all).map_err(|e| OperatorError::fatal(format!("cannot store the splits: {e}")))
    }
}

impl Source<RecordBatch> for FileSource {
    fn enumerator(
        &self,
        parallelism: usize,
        restored: Option<&[u8]>,
    ) -> OperatorResult<Box<dyn SplitEnumerator>> {
        let pending = match restored {
            None => self.splits(parallelism)?,
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| {
                OperatorError::fatal(format!("the checkpoint holds no splits of a file source: {e}"))
            })?,
        };
        Ok(Box::new(FileEnumerator { returned: VecDeque::new(), pending }))
    }

    fn reader(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<RecordBatch>>> {
        Ok(Box::new(FileReader::new(self, context)))
    }
}
