//! The execution environment: where a job begins, and where it is started.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use streamkeeper_dataflow::batch::Records;
use streamkeeper_dataflow::config::{Config, file};
use streamkeeper_dataflow::graph::{JobGraph, SourceNode};
use streamkeeper_dataflow::job::{JobHandle, JobStatus, launch};
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::source::Source;
use xxhash_rust::xxh3::xxh3_64;

use crate::Data;
use crate::begin::FromSource;
use crate::chain::OperatorMeta;
use crate::config_source::{ConfigSource, Follow};
use crate::error::{Error, operator_error};
use crate::executor::{PipelineExecutor, StreamGraph};
use crate::source::{CollectionSource, NumberSequenceSource};
use crate::stream::DataStream;
use crate::watermark::{TimestampAssigner, WatermarkGenerator, WatermarkStrategy};

/// A sink that is added to the graph when its settings are known.
type PendingSink = Box<dyn FnOnce(&Topology)>;

/// The job in the making.
pub(crate) struct Topology {
    pub(crate) graph: RefCell<JobGraph>,
    pending: RefCell<Vec<PendingSink>>,
    /// How often a generated uid was asked for: operators that are told apart by nothing else get a number.
    generated: RefCell<HashMap<u64, u32>>,
    pub(crate) parallelism: std::cell::Cell<usize>,
    /// What was asked for and is impossible.
    refused: RefCell<Vec<String>>,
    /// What can only be done by a job whose tasks run in this process.
    local: std::cell::Cell<Option<&'static str>>,
}

impl Topology {
    pub(crate) fn new(max_parallelism: u16, parallelism: usize) -> Self {
        Self {
            graph: RefCell::new(JobGraph::new(max_parallelism)),
            pending: RefCell::default(),
            generated: RefCell::default(),
            parallelism: std::cell::Cell::new(parallelism),
            refused: RefCell::default(),
            local: std::cell::Cell::default(),
        }
    }

    /// The job cannot be executed; the first reason is told.
    pub(crate) fn refuse(&self, reason: String) {
        self.refused.borrow_mut().push(reason);
    }

    /// The job cannot be executed elsewhere.
    pub(crate) fn needs_this_process(&self, what: &'static str) {
        self.local.set(Some(what));
    }

    /// Why the job cannot be executed, if so.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refused.take().into_iter().next()
    }

    /// The uid of an operator without one: the same as long as its kind and what comes before it are the same.
    pub(crate) fn generate_uid(&self, kind: &str, parents: &[String]) -> String {
        let text = format!("{kind}({})", parents.join(","));
        let hash = xxh3_64(text.as_bytes());
        let mut generated = self.generated.borrow_mut();
        let count = generated.entry(hash).or_insert(0);
        *count += 1;
        match *count {
            1 => format!("{hash:016x}"),
            n => format!("{:016x}", xxh3_64(format!("{text}#{n}").as_bytes())),
        }
    }

    /// Gives each operator of a chain its uid; returns the last.
    pub(crate) fn resolve(
        &self,
        parents: Vec<String>,
        visit: impl FnOnce(&mut dyn FnMut(&mut OperatorMeta)),
    ) -> String {
        let mut before = parents;
        visit(&mut |operator| {
            let uid = operator.uid.get_or_insert_with(|| self.generate_uid(operator.kind, &before));
            before = vec![uid.clone()];
        });
        before.join(",")
    }

    pub(crate) fn add_sink(&self, sink: impl FnOnce(&Topology) + 'static) {
        self.pending.borrow_mut().push(Box::new(sink));
    }
}

/// Where a job begins: it makes streams of sources, and runs what was made of them.
///
/// ```
/// use streamkeeper_datastream::StreamExecutionEnvironment;
///
/// let env = StreamExecutionEnvironment::new();
/// let lengths = env.from_collection(["to", "be"].map(String::from)).map(|word| word.len()).collect();
/// env.execute("lengths")?;
/// assert_eq!(lengths.take(), [2, 2]);
/// # Ok::<(), streamkeeper_datastream::Error>(())
/// ```
pub struct StreamExecutionEnvironment {
    pub(crate) topology: Rc<Topology>,
    pub(crate) config: RefCell<Config>,
    from_checkpoint: RefCell<Option<PathBuf>>,
    documents: RefCell<BTreeSet<String>>,
    config_source: RefCell<Option<Box<dyn ConfigSource>>>,
    executor: RefCell<Option<Box<dyn PipelineExecutor>>>,
}

impl std::fmt::Debug for StreamExecutionEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamExecutionEnvironment").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Default for StreamExecutionEnvironment {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamExecutionEnvironment {
    /// An environment with the default configuration.
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    /// An environment with this configuration.
    pub fn with_config(config: Config) -> Self {
        let topology = Topology::new(config.max_parallelism(), config.parallelism());
        Self {
            topology: Rc::new(topology),
            config: RefCell::new(config),
            from_checkpoint: RefCell::new(None),
            documents: RefCell::default(),
            config_source: RefCell::default(),
            executor: RefCell::default(),
        }
    }

    /// Configures it by `streamkeeper.yaml` (or the file that `$STREAMKEEPER_CONF` names), then by a program's arguments:
    /// `--parallelism N`, `--set KEY=VALUE`, `--from-checkpoint PATH`. Gives those that it does not know: the program's own.
    ///
    /// # Errors
    /// When the file cannot be read, or a value is not valid for its key.
    pub fn configure(&self, arguments: impl IntoIterator<Item = String>) -> Result<Vec<String>, Error> {
        let env = self;
        if let Some(path) = file::path() {
            for (key, value) in file::read(&path).map_err(Error::Configuration)? {
                env.set(&key, &value)?;
            }
        }
        let mut rest = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments.next().ok_or_else(|| {
                    Error::Configuration(format!("`{argument}` needs a value; usage: {}", Self::USAGE))
                })
            };
            match argument.as_str() {
                "--parallelism" => env.set("parallelism.default", &value()?)?,
                "--from-checkpoint" => env.restore_from(value()?),
                "--set" => {
                    let entry = value()?;
                    let (key, value) = entry.split_once('=').ok_or_else(|| {
                        Error::Configuration(format!("--set {entry}: write it as --set key=value"))
                    })?;
                    env.set(key.trim(), value.trim())?;
                }
                _ => rest.push(argument),
            }
        }
        Ok(rest)
    }

    /// The arguments that [`Self::configure`] takes, for messages.
    pub const USAGE: &str = "[--parallelism N] [--set KEY=VALUE]... [--from-checkpoint PATH]";

    /// Has jobs executed by another than the threads of this process.
    pub fn set_executor(&self, executor: impl PipelineExecutor + 'static) -> &Self {
        *self.executor.borrow_mut() = Some(Box::new(executor));
        self
    }

    /// Sets a key of Flink's configuration, such as `execution.checkpointing.interval`.
    ///
    /// # Errors
    /// When the value is not valid for the key.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        let mut config = self.config.borrow_mut();
        if let Some(warning) = config.set(key, value).map_err(Error::Configuration)? {
            tracing::warn!("{warning}");
        }
        // Another key does not undo `set_parallelism`.
        if key == "parallelism.default" {
            self.topology.parallelism.set(config.parallelism());
        }
        self.topology.graph.borrow_mut().max_parallelism = config.max_parallelism();
        Ok(())
    }

    /// The parallelism of operators that are made from now on, unless they are given one.
    pub fn set_parallelism(&self, parallelism: usize) -> &Self {
        self.topology.parallelism.set(parallelism.max(1));
        self
    }

    /// Takes a checkpoint every so often.
    ///
    /// # Errors
    /// When the interval is not a valid one.
    pub fn enable_checkpointing(&self, interval: std::time::Duration) -> Result<(), Error> {
        self.set("execution.checkpointing.interval", &format!("{} ms", interval.as_millis()))
    }

    /// Starts from this checkpoint (a `chk-<n>` directory, or the directory of checkpoints).
    pub fn restore_from(&self, checkpoint: impl Into<PathBuf>) {
        *self.from_checkpoint.borrow_mut() = Some(checkpoint.into());
    }

    /// The job's functions ask for these configuration documents: see
    /// [`ProcessContext::config`](crate::ProcessContext::config).
    pub fn config_documents<D: Into<String>>(&self, names: impl IntoIterator<Item = D>) -> &Self {
        self.documents.borrow_mut().extend(names.into_iter().map(Into::into));
        self
    }

    /// Where the configuration documents are, of this job and of those that follow.
    pub fn set_config_source(&self, source: impl ConfigSource + 'static) -> &Self {
        *self.config_source.borrow_mut() = Some(Box::new(source));
        self
    }

    /// A stream of what a source reads, one subtask per `parallelism.default`.
    pub fn from_source<T: Data>(
        &self,
        source: impl Source<Records<T>> + 'static,
    ) -> DataStream<T, FromSource<T>> {
        self.source("Source", Arc::new(source), self.topology.parallelism.get())
    }

    /// A stream of what a source reads, with event times and watermarks by `strategy`, under this name: Flink's
    /// `fromSource`.
    pub fn from_source_with<T, G, A>(
        &self,
        source: impl Source<Records<T>> + 'static,
        strategy: WatermarkStrategy<T, G, A>,
        name: &str,
    ) -> DataStream<T, FromSource<T>>
    where
        T: Data,
        G: WatermarkGenerator<T>,
        A: TimestampAssigner<T>,
    {
        self.from_source(source).name(name).assign_timestamps_and_watermarks(strategy)
    }

    /// A bounded stream of these records, in order.
    pub fn from_collection<T: Data + Sync>(
        &self,
        records: impl IntoIterator<Item = T>,
    ) -> DataStream<T, FromSource<T>> {
        let source = CollectionSource::new(records.into_iter().collect());
        self.source("Collection Source", Arc::new(source), 1)
    }

    /// The numbers from `from` to `to`, which is not among them: a range for each subtask.
    pub fn from_sequence(&self, from: u64, to: u64) -> DataStream<u64, FromSource<u64>> {
        let source = NumberSequenceSource { from, to };
        self.source("Sequence Source", Arc::new(source), self.topology.parallelism.get())
    }

    fn source<T: Data>(
        &self,
        name: &'static str,
        source: Arc<dyn Source<Records<T>>>,
        parallelism: usize,
    ) -> DataStream<T, FromSource<T>> {
        let uid = self.topology.generate_uid(name, &[]);
        let node = SourceNode { name: name.to_owned(), uid, source, watermarks: None };
        DataStream::new(self.topology.clone(), FromSource { node: Arc::new(node), parallelism })
    }

    /// Starts the job, and waits for its end. The environment is empty then.
    ///
    /// # Errors
    /// When the job is invalid, cannot be started, or fails.
    pub fn execute(&self, name: &str) -> Result<JobStatus, Error> {
        if let Some(executor) = &*self.executor.borrow() {
            return executor.execute(self.plan(name)?);
        }
        let job = self.execute_async(name)?;
        job.wait().map_err(|source| Error::Job { name: name.to_owned(), source })
    }

    /// Starts the job. The environment is empty then.
    ///
    /// # Errors
    /// When the job is invalid or cannot be started.
    pub fn execute_async(&self, name: &str) -> Result<JobHandle, Error> {
        if self.executor.borrow().is_some() {
            return Err(Error::InvalidJob(
                "execute_async() gives a handle to a job of this process, which a process of a cluster has not; use execute()".into(),
            ));
        }
        let graph = self.graph()?;
        let documents = self.documents.take();
        let config = self.config.borrow();
        let settings = config.job();
        let name = settings.name.as_deref().unwrap_or(name);
        let from = self.from_checkpoint.borrow_mut().take().or_else(|| settings.recovery_path.clone());
        let live = self.open_documents(name, &documents, &config)?;
        let (first, follow) = live.map_or_else(Default::default, |(first, follow)| (first, Some(follow)));
        let mut job = launch(graph, name, &settings, from.as_deref(), first)
            .map_err(|source| Error::Job { name: name.to_owned(), source })?;
        if let Some(follow) = follow {
            match follow(job.reconfigurer()) {
                Ok(following) => job.keep(following),
                Err(error) => {
                    job.cancel();
                    return Err(Error::Configuration(operator_error(error).to_string()));
                }
            }
        }
        Ok(job)
    }

    /// The job for who executes it elsewhere. The environment is empty then.
    fn plan(&self, name: &str) -> Result<StreamGraph, Error> {
        if let Some(what) = self.topology.local.take() {
            return Err(Error::InvalidJob(format!(
                "{what} needs a job that runs in one process; in a cluster let the stream end in a sink, such as a file"
            )));
        }
        let graph = self.graph()?;
        let mut config = self.config.borrow().clone();
        if let Some(from) = self.from_checkpoint.borrow_mut().take() {
            let key = "execution.state-recovery.path";
            config.set(key, &from.display().to_string()).map_err(Error::Configuration)?;
        }
        let name = config.job().name.unwrap_or_else(|| name.to_owned());
        Ok(StreamGraph { name, graph, config, documents: self.documents.take() })
    }

    /// What was made of the environment's streams, which is taken out of it.
    fn graph(&self) -> Result<JobGraph, Error> {
        let pending = std::mem::take(&mut *self.topology.pending.borrow_mut());
        pending.into_iter().for_each(|sink| sink(&self.topology));
        let empty = JobGraph::new(self.config.borrow().max_parallelism());
        let graph = self.topology.graph.replace(empty);
        self.topology.generated.borrow_mut().clear();
        if let Some(reason) = self.topology.take_refusal() {
            return Err(Error::InvalidJob(reason));
        }
        if graph.vertices.is_empty() {
            return Err(Error::InvalidJob(
                "No operators defined in streaming topology. Cannot execute.".into(),
            ));
        }
        Ok(graph)
    }

    fn open_documents(
        &self,
        job: &str,
        documents: &BTreeSet<String>,
        config: &Config,
    ) -> Result<Option<(Arc<ConfigSnapshot>, Follow)>, Error> {
        if documents.is_empty() {
            return Ok(None);
        }
        let source = self.config_source.borrow();
        let source = source.as_ref().ok_or_else(|| {
            let names = documents.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            Error::Configuration(format!(
                "job {job} reads the configuration documents {names}, and nothing gives them: call `set_config_source`"
            ))
        })?;
        let opened = source.open(job, documents, config);
        opened.map(Some).map_err(|error| Error::Configuration(operator_error(error).to_string()))
    }
}
