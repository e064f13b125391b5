//! What a function may ask and do, and what its operator keeps for that.
//!
//! Invariant: a context lives as long as the record or timer at hand, and has its event time.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::time::{Clock, MIN_WATERMARK, Timestamp};

use super::config::{Config, LiveConfig};
use crate::Data;
use crate::side::{OutputTag, Sides};

/// Which subtask a function runs in.
#[derive(Debug, Clone)]
pub struct TaskInfo {
    /// The operator's name.
    pub name: String,
    /// Index of this subtask, from 0.
    pub subtask: usize,
    /// Number of subtasks.
    pub parallelism: usize,
    /// How often this subtask was started before.
    pub attempt: u32,
    config: Arc<ConfigSnapshot>,
}

impl TaskInfo {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            name: context.name.clone(),
            subtask: context.subtask,
            parallelism: context.parallelism,
            attempt: context.attempt,
            config: context.config.clone(),
        }
    }

    /// The job's configuration document `document` that is in force at the start, as a `T`; later ones come by
    /// [`ProcessContext::config`]. `None`: as there.
    ///
    /// # Errors
    /// As for [`ProcessContext::config`].
    pub fn config<T: DeserializeOwned + 'static>(&self, document: &str) -> OperatorResult<Option<Config<T>>> {
        Config::read(&self.config, document)
    }
}

/// What a function may ask while it handles a record.
pub struct ProcessContext<'a> {
    pub(crate) timestamp: Timestamp,
    pub(crate) watermark: Timestamp,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) sides: &'a mut Sides,
    pub(crate) config: &'a mut LiveConfig,
}

impl ProcessContext<'_> {
    /// The record's event time, in milliseconds; `None` when it has none.
    pub fn timestamp(&self) -> Option<Timestamp> {
        Some(self.timestamp).filter(|timestamp| *timestamp != Timestamp::MIN)
    }

    /// The operator's watermark.
    pub fn current_watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time now, in milliseconds.
    pub fn current_processing_time(&self) -> Timestamp {
        self.clock.now_ms()
    }

    /// The job's configuration document `document` in force, as a `T`. It changes at barriers only, so all records between two
    /// checkpoints are handled under the same revision. `None` while there is no such document, or when it is none of
    /// [`StreamExecutionEnvironment::config_documents`](crate::StreamExecutionEnvironment::config_documents).
    ///
    /// Asking for each record is cheap: a revision is deserialised once in each subtask.
    ///
    /// # Errors
    /// When the document does not fit the type: it says where, and fails the job.
    ///
    /// ```
    /// use streamkeeper_datastream::{Collector, ProcessContext, ProcessFunction, Result};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Rules { threshold: u64 }
    ///
    /// /// Lets numbers above the threshold pass, and names the revision that says so.
    /// #[derive(Clone)]
    /// struct Above;
    ///
    /// impl ProcessFunction<u64> for Above {
    ///     type Out = (u64, u64);
    ///
    ///     fn process_element(&mut self, n: u64, context: &mut ProcessContext<'_>, out: &mut Collector<(u64, u64)>) -> Result {
    ///         if let Some(rules) = context.config::<Rules>("rules")? && n > rules.threshold {
    ///             out.collect((n, rules.revision()));
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn config<T: DeserializeOwned + 'static>(
        &mut self,
        document: &str,
    ) -> OperatorResult<Option<Config<T>>> {
        self.config.get(document)
    }

    /// Emits a record to a side output, with the event time of the record or timer at hand.
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.sides.output(tag, value, self.timestamp);
    }
}

/// What surrounds a function in its subtask.
pub(crate) struct Runtime {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watermark: Timestamp,
    pub(crate) sides: Sides,
    pub(crate) config: LiveConfig,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            clock: Arc::new(streamkeeper_dataflow::time::SystemClock),
            watermark: MIN_WATERMARK,
            sides: Sides::default(),
            config: LiveConfig::default(),
        }
    }
}

impl Runtime {
    pub(crate) fn new(context: &OperatorContext) -> Self {
        Self {
            clock: context.clock.clone(),
            watermark: MIN_WATERMARK,
            sides: Sides::new(context.side_outputs.clone()),
            config: LiveConfig::new(context.config.clone()),
        }
    }

    pub(crate) fn context(&mut self, timestamp: Timestamp) -> ProcessContext<'_> {
        ProcessContext {
            timestamp,
            watermark: self.watermark,
            clock: self.clock.as_ref(),
            sides: &mut self.sides,
            config: &mut self.config,
        }
    }
}
