//! The sink: keeps a znode per key. Nothing is written before the checkpoint that holds it is durable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Int8Type};
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter};
use streamkeeper_dataflow::{OperatorError, OperatorResult};
use streamkeeper_zookeeper::{Error, Multi, Options, ZooKeeper, block_on};

use crate::formats::{Encoder, Format};
use crate::schema::Field;
use crate::zookeeper::commit::{Chunk, Known, OnConflict, commit, failure, raise_fence, read_fence};
use crate::zookeeper::znode::{Mode, join};

/// Changes of one request, at most.
const MAX_OPERATIONS: usize = 500;

/// Left free in a request.
const MARGIN: usize = 4096;

/// Znodes and bytes that one checkpoint may change, per subtask.
const MAX_CHANGES: usize = 1_000_000;
const MAX_CHANGED_BYTES: usize = 256 << 20;

pub(crate) struct SinkOptions {
    pub(crate) session: Options,
    pub(crate) root: String,
    pub(crate) mode: Mode,
    pub(crate) format: Format,
    /// The columns of the format, and where they are in the batches.
    pub(crate) values: Vec<Field>,
    pub(crate) value_columns: Vec<usize>,
    /// Where the znode's name is; `None`: the znode at `root`.
    pub(crate) key_column: Option<usize>,
    /// Where the row kind is; `None`: all rows are new.
    pub(crate) changelog: Option<usize>,
    pub(crate) uid: String,
    pub(crate) max_document_bytes: usize,
    pub(crate) on_conflict: OnConflict,
    /// Below this are the fences.
    pub(crate) fence: String,
}

pub(crate) struct ZooKeeperSink {
    shared: Arc<Shared>,
}

/// What writers and committer share: one session.
struct Shared {
    options: SinkOptions,
    session: Mutex<Option<ZooKeeper>>,
    known: Mutex<Known>,
}

impl Shared {
    fn zookeeper(&self) -> OperatorResult<ZooKeeper> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match &*session {
            Some(zookeeper) => Ok(zookeeper.clone()),
            None => {
                let zookeeper = ZooKeeper::open(self.options.session.clone()).map_err(failure)?;
                Ok(session.insert(zookeeper).clone())
            }
        }
    }

    fn fences(&self, lineage: &str) -> String {
        format!("{}/{lineage}", self.options.fence)
    }
}

impl ZooKeeperSink {
    pub(crate) fn new(options: SinkOptions) -> Self {
        Self { shared: Arc::new(Shared { options, session: Mutex::default(), known: Mutex::default() }) }
    }
}

impl Sink<RecordBatch> for ZooKeeperSink {
    fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<RecordBatch>>> {
        let options = &self.shared.options;
        let zookeeper = self.shared.zookeeper()?;
        let fence = format!("{}/{}-{}", self.shared.fences(&context.lineage), options.uid, context.subtask);
        let (state, _) = block_on(read_fence(&zookeeper, &fence))?;
        let encoder = match &options.format {
            Format::Raw(_) => None,
            format => Some(format.encoder(&options.values)),
        };
        Ok(Box::new(Writer {
            shared: self.shared.clone(),
            encoder,
            fence,
            epoch: state.epoch,
            changes: BTreeMap::new(),
            bytes: 0,
        }))
    }

    fn committer(&self) -> Option<Arc<dyn Committer>> {
        Some(Arc::new(ZooKeeperCommitter { shared: self.shared.clone() }))
    }
}

struct Writer {
    shared: Arc<Shared>,
    /// `None`: the one column is the document.
    encoder: Option<Box<dyn Encoder>>,
    fence: String,
    epoch: u64,
    /// The last of each znode since the last checkpoint.
    changes: BTreeMap<String, Option<Vec<u8>>>,
    bytes: usize,
}

impl Writer {
    /// The documents of a batch, one a row.
    fn documents(&mut self, batch: &RecordBatch) -> OperatorResult<Vec<Vec<u8>>> {
        let columns = &self.shared.options.value_columns;
        let Some(encoder) = &mut self.encoder else {
            let array = batch.column(columns[0]);
            let value = |row: usize| match array.data_type() {
                _ if array.is_null(row) => Ok(Vec::new()),
                ArrowType::Utf8 => Ok(array.as_string::<i32>().value(row).as_bytes().to_vec()),
                ArrowType::Binary => Ok(array.as_binary::<i32>().value(row).to_vec()),
                other => Err(OperatorError::fatal(format!("raw: a column of type {other} has no form"))),
            };
            return (0..batch.num_rows()).map(value).collect();
        };
        // A JSON document has no line end in it.
        let mut lines = Vec::new();
        encoder.encode(&batch.project(columns)?, &mut lines)?;
        Ok(lines.split_inclusive(|byte| *byte == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect())
    }

    fn path(&self, batch: &RecordBatch, row: usize) -> OperatorResult<String> {
        let options = &self.shared.options;
        let Some(column) = options.key_column else { return Ok(options.root.clone()) };
        let names = batch.column(column).as_string::<i32>();
        let name = if names.is_null(row) { "" } else { names.value(row) };
        let parts_are_names =
            name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains('\0');
        if !parts_are_names || (options.mode == Mode::Children && name.contains('/')) {
            let root = &options.root;
            return Err(OperatorError::fatal(format!(
                "{name:?} is no name of a znode {} {root}",
                match options.mode {
                    Mode::Children => "directly below",
                    Mode::Node | Mode::Tree => "below",
                }
            )));
        }
        Ok(join(&options.root, name))
    }

    fn put(&mut self, path: String, document: Option<Vec<u8>>) -> OperatorResult<()> {
        let limit = self.shared.options.max_document_bytes;
        let length = document.as_ref().map_or(0, Vec::len);
        if length > limit {
            return Err(OperatorError::fatal(format!(
                "{path}: a document of {length} bytes is over the limit of {limit} ('sink.max-document-size'); ZooKeeper is for \
                 small documents"
            )));
        }
        let size = path.len() + length;
        if let Some(before) = self.changes.get(&path) {
            self.bytes -= path.len() + before.as_ref().map_or(0, Vec::len);
        }
        self.bytes += size;
        self.changes.insert(path, document);
        if self.changes.len() > MAX_CHANGES || self.bytes > MAX_CHANGED_BYTES {
            return Err(OperatorError::fatal(format!(
                "more than {MAX_CHANGES} znodes or {MAX_CHANGED_BYTES} bytes are to be written with one checkpoint; take \
                 checkpoints more often ('execution.checkpointing.interval')"
            )));
        }
        Ok(())
    }
}

impl SinkWriter<RecordBatch> for Writer {
    fn write(&mut self, batch: RecordBatch) -> OperatorResult<()> {
        let documents = self.documents(&batch)?;
        let kinds =
            self.shared.options.changelog.map(|at| batch.column(at).as_primitive::<Int8Type>().clone());
        for (row, document) in documents.into_iter().enumerate() {
            let kind = kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            let path = self.path(&batch, row)?;
            // An update's old row goes as well: its new one may have another key.
            self.put(path, (kind == 0 || kind == 2).then_some(document))?;
        }
        Ok(())
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
        let room = self.shared.options.session.max_request_bytes - MARGIN;
        let fresh = |number: u32| Chunk {
            fence: self.fence.clone(),
            epoch: self.epoch,
            place: (checkpoint, number),
            changes: Vec::new(),
        };
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut bytes = 0;
        self.bytes = 0;
        for (path, document) in std::mem::take(&mut self.changes) {
            let more = Multi::operation_bytes(&path, document.as_ref().map_or(0, Vec::len));
            let full =
                chunks.last().is_none_or(|last| last.changes.len() >= MAX_OPERATIONS || bytes + more > room);
            if full {
                bytes = 0;
                // The fence stands at 0 before the first.
                chunks.push(fresh(chunks.len() as u32 + 1));
            }
            bytes += more;
            if let Some(chunk) = chunks.last_mut() {
                chunk.changes.push((path, document));
            }
        }
        let encode = |chunk| postcard::to_allocvec(chunk).map_err(OperatorError::fatal);
        chunks.iter().map(encode).collect()
    }
}

struct ZooKeeperCommitter {
    shared: Arc<Shared>,
}

impl Committer for ZooKeeperCommitter {
    fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
        let mut chunks = committables
            .iter()
            .map(|bytes| {
                postcard::from_bytes::<Chunk>(bytes)
                    .map_err(|e| OperatorError::fatal(format!("a commit in the checkpoint is damaged: {e}")))
            })
            .collect::<OperatorResult<Vec<_>>>()?;
        chunks.sort_by(|a, b| (&a.fence, a.place).cmp(&(&b.fence, b.place)));
        if chunks.is_empty() {
            return Ok(());
        }
        let zookeeper = self.shared.zookeeper()?;
        // One after the other: what is known of the znodes goes with the writing.
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        block_on(async {
            for chunk in &chunks {
                commit(&zookeeper, chunk, self.shared.options.on_conflict, &mut known).await?;
            }
            Ok(())
        })
    }

    /// Then raises the fences: nothing that an earlier attempt still holds is written after this.
    fn recover(&self, lineage: &str, _: Option<u32>, committables: &[Committable]) -> OperatorResult<()> {
        self.commit(committables)?;
        let zookeeper = self.shared.zookeeper()?;
        let fences = self.shared.fences(lineage);
        let ours = format!("{}-", self.shared.options.uid);
        block_on(async {
            let children = match zookeeper.children(&fences).await {
                Ok((children, _)) => children,
                Err(Error::NoNode { .. }) => return Ok(()),
                Err(error) => return Err(failure(error)),
            };
            for child in children.iter().filter(|child| child.starts_with(&ours)) {
                raise_fence(&zookeeper, &join(&fences, child)).await?;
            }
            Ok(())
        })
    }
}
