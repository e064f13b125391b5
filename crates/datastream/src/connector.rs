//! Sources and sinks of one's own.
//!
//! # A source
//! A [`Source`] is an enumerator and readers. The [`SplitEnumerator`], one per job, knows the parts of the input, the
//! [`Split`]s, and hands one out whenever a reader asks. It does nothing but that; what takes time (listing files, asking a
//! server) happens when it is made. A [`SourceReader`], one per subtask, reads its splits on the subtask's thread, a batch at a
//! time. It never waits: when there is nothing to read, [`Poll::WaitUntil`] says when to ask again, and
//! [`OperatorContext::waker`] lets another thread say so earlier.
//!
//! Exactly once follows from two things: a split in a reader's snapshot says how far it was read, all records given out being
//! before that; and a split is in the enumerator's snapshot or in one reader's. After a failure the enumerator gets the readers'
//! splits back and hands them out first.
//!
//! ```
//! use streamkeeper_datastream::connector::*;
//! use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy};
//!
//! /// The ticks of some clocks: `clocks` splits, each of the times 0, 1, … `until`, in seconds.
//! struct Ticks {
//!     clocks: u64,
//!     until: u64,
//! }
//!
//! fn split(clock: u64, next: u64) -> Split {
//!     let payload = [clock.to_le_bytes(), next.to_le_bytes()].concat();
//!     Split { id: format!("clock-{clock}"), payload, watermark: MIN_WATERMARK }
//! }
//!
//! fn read(split: &Split) -> OperatorResult<(u64, u64)> {
//!     let number = |bytes: Option<&[u8]>| Some(u64::from_le_bytes(bytes?.try_into().ok()?));
//!     let payload = &split.payload;
//!     let both = number(payload.get(..8)).zip(number(payload.get(8..)));
//!     both.ok_or_else(|| OperatorError::fatal(format!("{} is no split of ticks", split.id)))
//! }
//!
//! impl Source<Records<(u64, u64)>> for Ticks {
//!     fn enumerator(&self, _: usize, restored: Option<&[u8]>) -> OperatorResult<Box<dyn SplitEnumerator>> {
//!         // From a checkpoint: the clocks that nobody had begun to read.
//!         let pending = match restored {
//!             Some(clocks) => clocks.iter().map(|clock| split(u64::from(*clock), 0)).collect(),
//!             None => (0..self.clocks).map(|clock| split(clock, 0)).collect(),
//!         };
//!         Ok(Box::new(Pending(pending)))
//!     }
//!     fn reader(&self, _: &OperatorContext) -> OperatorResult<Box<dyn SourceReader<Records<(u64, u64)>>>> {
//!         Ok(Box::new(Reader { until: self.until, current: None }))
//!     }
//! }
//!
//! struct Pending(Vec<Split>);
//!
//! impl SplitEnumerator for Pending {
//!     fn next_split(&mut self, _: usize) -> Assignment {
//!         self.0.pop().map_or(Assignment::NoMoreSplits, Assignment::Split)
//!     }
//!     fn add_splits_back(&mut self, splits: Vec<Split>) {
//!         self.0.extend(splits);
//!     }
//!     fn snapshot(&self) -> OperatorResult<Vec<u8>> {
//!         self.0.iter().map(|split| read(split).map(|(clock, _)| clock as u8)).collect()
//!     }
//! }
//!
//! struct Reader {
//!     until: u64,
//!     current: Option<(u64, u64)>,
//! }
//!
//! impl SourceReader<Records<(u64, u64)>> for Reader {
//!     fn add_split(&mut self, split: Split) -> OperatorResult<()> {
//!         self.current = Some(read(&split)?);
//!         Ok(())
//!     }
//!     fn poll(&mut self, _now_ms: Timestamp) -> OperatorResult<Poll<Records<(u64, u64)>>> {
//!         let Some((clock, next)) = self.current else { return Ok(Poll::NeedSplit) };
//!         if next > self.until {
//!             self.current = None;
//!             return Ok(Poll::SplitEnd(format!("clock-{clock}")));
//!         }
//!         self.current = Some((clock, next + 1));
//!         // Event times can come from the source, or from the watermark strategy.
//!         let batch = Records::new(vec![(clock, next)], vec![next as i64 * 1_000]);
//!         Ok(Poll::Batch { split: format!("clock-{clock}"), batch })
//!     }
//!     fn snapshot(&mut self) -> OperatorResult<Vec<Split>> {
//!         Ok(self.current.map(|(clock, next)| split(clock, next)).into_iter().collect())
//!     }
//! }
//!
//! let env = StreamExecutionEnvironment::new();
//! env.set_parallelism(2);
//! let ticks = env
//!     .from_source_with(Ticks { clocks: 3, until: 9 }, WatermarkStrategy::for_monotonous_timestamps(), "ticks")
//!     .collect();
//! env.execute("ticks")?;
//! assert_eq!(ticks.take().len(), 30);
//! # Ok::<(), streamkeeper_datastream::Error>(())
//! ```
//!
//! # A sink
//! A [`Sink`] is a writer per subtask, and for exactly-once output a [`Committer`]: a two-phase commit. The [`SinkWriter`] writes
//! what nobody sees yet. At a checkpoint it makes that durable and returns [`Committable`]s, which say what is left to be done to
//! show it; they are part of the checkpoint. Only when the checkpoint is durable are they committed. Committing is repeated
//! after a failure, so doing it twice must be as doing it once. On a restore [`Committer::recover`] commits what the checkpoint
//! holds and removes what came after it, before any task runs. A sink that cannot commit returns no committables: it shows rows as
//! it writes them, some again after a failure.
//!
//! ```
//! use std::path::{Path, PathBuf};
//! use std::sync::Arc;
//! use streamkeeper_datastream::connector::*;
//! use streamkeeper_datastream::StreamExecutionEnvironment;
//!
//! /// A file per subtask and checkpoint; it is hidden until the checkpoint is durable.
//! #[derive(Clone)]
//! struct Files(PathBuf);
//!
//! fn cannot(what: &str, path: &Path, error: &std::io::Error) -> OperatorError {
//!     OperatorError::recoverable(format!("cannot {what} {}: {error}", path.display()))
//! }
//!
//! impl Sink<Records<String>> for Files {
//!     fn writer(&self, context: &OperatorContext) -> OperatorResult<Box<dyn SinkWriter<Records<String>>>> {
//!         // The names of two attempts, or of two runs, must not clash.
//!         let name = format!("{}-{}-{}", context.lineage, context.subtask, context.attempt);
//!         Ok(Box::new(Lines { directory: self.0.clone(), name, lines: String::new() }))
//!     }
//!     fn committer(&self) -> Option<Arc<dyn Committer>> {
//!         Some(Arc::new(self.clone()))
//!     }
//! }
//!
//! struct Lines {
//!     directory: PathBuf,
//!     name: String,
//!     lines: String,
//! }
//!
//! impl SinkWriter<Records<String>> for Lines {
//!     fn write(&mut self, batch: Records<String>) -> OperatorResult<()> {
//!         for line in batch.values {
//!             self.lines += &line;
//!             self.lines.push('\n');
//!         }
//!         Ok(())
//!     }
//!     fn prepare_commit(&mut self, checkpoint: CheckpointId) -> OperatorResult<Vec<Committable>> {
//!         if self.lines.is_empty() {
//!             return Ok(Vec::new());
//!         }
//!         let name = format!("{}-{checkpoint}", self.name);
//!         let hidden = self.directory.join(format!(".{name}"));
//!         let file = std::fs::File::create(&hidden).and_then(|mut file| {
//!             std::io::Write::write_all(&mut file, self.lines.as_bytes())?;
//!             file.sync_all()
//!         });
//!         file.map_err(|e| cannot("write", &hidden, &e))?;
//!         self.lines.clear();
//!         Ok(vec![name.into_bytes()])
//!     }
//! }
//!
//! impl Committer for Files {
//!     fn commit(&self, committables: &[Committable]) -> OperatorResult<()> {
//!         for name in committables {
//!             let name = String::from_utf8_lossy(name);
//!             let (hidden, shown) = (self.0.join(format!(".{name}")), self.0.join(&*name));
//!             // It may have been committed before.
//!             if !shown.exists() {
//!                 std::fs::rename(&hidden, &shown).map_err(|e| cannot("commit", &hidden, &e))?;
//!             }
//!         }
//!         Ok(())
//!     }
//!     fn recover(&self, lineage: &str, _: Option<u32>, committables: &[Committable]) -> OperatorResult<()> {
//!         self.commit(committables)?;
//!         // What is hidden still was written for checkpoints that never completed.
//!         for entry in std::fs::read_dir(&self.0).map_err(|e| cannot("list", &self.0, &e))?.flatten() {
//!             if entry.file_name().to_string_lossy().starts_with(&format!(".{lineage}-")) {
//!                 std::fs::remove_file(entry.path()).map_err(|e| cannot("remove", &entry.path(), &e))?;
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # let directory = tempfile::tempdir().expect("a directory");
//! # let path = directory.path().to_owned();
//! let env = StreamExecutionEnvironment::new();
//! env.from_collection(["to", "be"].map(String::from)).sink_to(Files(path.clone()));
//! env.execute("lines")?;
//! let files: Vec<_> = std::fs::read_dir(&path).expect("a directory").flatten().map(|file| file.path()).collect();
//! assert_eq!(files.len(), 1);
//! assert_eq!(std::fs::read_to_string(&files[0]).expect("a file"), "to\nbe\n");
//! # Ok::<(), streamkeeper_datastream::Error>(())
//! ```

pub use streamkeeper_dataflow::batch::Records;
pub use streamkeeper_dataflow::element::CheckpointId;
pub use streamkeeper_dataflow::operator::OperatorContext;
pub use streamkeeper_dataflow::sink::{Committable, Committer, Sink, SinkWriter};
pub use streamkeeper_dataflow::source::{Assignment, Poll, Source, SourceReader, Split, SplitEnumerator};
pub use streamkeeper_dataflow::time::{MAX_WATERMARK, MIN_WATERMARK, Timestamp};
pub use streamkeeper_dataflow::{OperatorError, OperatorResult};
