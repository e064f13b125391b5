//! The window operator: its stage, and what both ways to run it share.
//!
//! Invariant: the watermark is in the checkpoint, with each key group, so that what was late before a restore is late after it, and what
//! has fired does not fire again.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use streamkeeper_dataflow::element::CheckpointId;
use streamkeeper_dataflow::live_config::ConfigSnapshot;
use streamkeeper_dataflow::metrics::TaskMetrics;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::time::{MIN_WATERMARK, Timestamp};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::aligned::AlignedWindows;
use super::general::GeneralWindows;
use super::store::Store;
use super::{Trigger, Window, WindowAssigner, WindowContext, WindowFold};
use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::operator_error;
use crate::key::KeySelector;
use crate::process::{Runtime, TaskInfo};
use crate::side::OutputTag;

/// The name of the state that holds the windows.
pub(crate) const CONTENTS: &str = "window-contents";
const WATERMARK: &str = "watermark";
const WATERMARK_TYPE: &str = "i64";

pub(crate) fn encode(value: &impl Serialize) -> OperatorResult<Vec<u8>> {
    let fail = |e| OperatorError::fatal(format!("cannot encode state `{CONTENTS}`: {e}"));
    postcard::to_allocvec(value).map_err(fail)
}

pub(crate) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> OperatorResult<V> {
    let fail = |e| OperatorError::fatal(format!("state `{CONTENTS}` in the checkpoint is damaged: {e}"));
    postcard::from_bytes(bytes).map_err(fail)
}

/// The smallest watermark that was written for the subtask's key groups.
fn read_watermark(restored: &RestoredState) -> OperatorResult<Timestamp> {
    let mut smallest = None;
    for (_, bytes) in restored.keyed(WATERMARK, WATERMARK_TYPE)? {
        let bytes = bytes.as_slice().try_into();
        let bytes =
            bytes.map_err(|_| OperatorError::fatal("a watermark in the checkpoint has not 8 bytes"))?;
        let watermark = Timestamp::from_le_bytes(bytes);
        smallest = Some(smallest.map_or(watermark, |s: Timestamp| s.min(watermark)));
    }
    Ok(smallest.unwrap_or(MIN_WATERMARK))
}

/// What surrounds the windows of a subtask: records of `T` come in, records of `O` go out.
pub(crate) struct Around<T, O> {
    pub(crate) runtime: Runtime,
    pub(crate) out: Collector<O>,
    late: Option<OutputTag<T>>,
    metrics: Arc<TaskMetrics>,
}

impl<T: Data, O: Data> Around<T, O> {
    /// Emits a window of a key, unless it is empty.
    #[inline]
    pub(crate) fn fire<K, W: Window, F: WindowFold<K, W, T, Out = O>>(
        &mut self,
        fold: &mut F,
        key: &K,
        window: &W,
        contents: &mut Option<F::Contents>,
        keep: bool,
    ) -> OperatorResult<()> {
        if contents.is_none() {
            return Ok(());
        }
        let timestamp = window.max_timestamp();
        self.out.at(timestamp);
        let mut context = WindowContext { window, process: self.runtime.context(timestamp) };
        fold.fire(key, &mut context, contents, keep, &mut self.out).map_err(operator_error)
    }

    /// A record came to no window: if that is because it was late, it goes to the side output or is counted.
    #[cold]
    pub(crate) fn skipped(
        &mut self,
        value: T,
        timestamp: Timestamp,
        event_time: bool,
        lateness: i64,
    ) -> OperatorResult<()> {
        if event_time && timestamp.saturating_add(lateness) <= self.runtime.watermark {
            match &self.late {
                Some(tag) => self.runtime.sides.output(tag, value, timestamp),
                None => self.metrics.num_late_records_dropped.add(1),
            }
        }
        Ok(())
    }
}

/// The stage of the window operator.
pub struct Windows<T, S, A, G, F> {
    pub(crate) selector: S,
    pub(crate) assigner: A,
    pub(crate) trigger: G,
    pub(crate) fold: F,
    /// In milliseconds.
    pub(crate) lateness: i64,
    pub(crate) late: Option<OutputTag<T>>,
}

impl<T, S: Clone, A: Clone, G: Clone, F: Clone> Clone for Windows<T, S, A, G, F> {
    fn clone(&self) -> Self {
        Self {
            selector: self.selector.clone(),
            assigner: self.assigner.clone(),
            trigger: self.trigger.clone(),
            fold: self.fold.clone(),
            lateness: self.lateness,
            late: self.late.clone(),
        }
    }
}

impl<T, S, A, G, F> Stage<T> for Windows<T, S, A, G, F>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    type Out = F::Out;
    type Logic = WindowLogic<T, S, A, G, F>;

    fn logic(&self) -> Self::Logic {
        WindowLogic { stage: self.clone(), running: None }
    }
}

/// The window operator at work.
pub struct WindowLogic<T, S, A, G, F>
where
    S: KeySelector<T>,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    stage: Windows<T, S, A, G, F>,
    running: Option<Running<T, S, A, G, F>>,
}

struct Running<T, S, A, G, F>
where
    S: KeySelector<T>,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    fold: F,
    around: Around<T, F::Out>,
    windows: Kind<T, S, A, G, F>,
    max_parallelism: u16,
    key_groups: std::ops::Range<u16>,
}

/// Which of the two operators runs: they give the same results where both can.
enum Kind<T, S, A, G, F>
where
    S: KeySelector<T>,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    Aligned(AlignedWindows<S::Key, A::Window, F::Contents>),
    General(GeneralWindows<T, S::Key, A, G, F::Contents>, PhantomData<S>),
}

impl<T, S, A, G, F> Windows<T, S, A, G, F>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    fn start(&self, context: &OperatorContext) -> OperatorResult<Running<T, S, A, G, F>> {
        let fatal = |error| OperatorError::fatal(operator_error(error));
        self.assigner.check().map_err(fatal)?;
        if self.assigner.is_merging() && !self.trigger.can_merge() {
            return Err(OperatorError::fatal(
                "a merging window assigner cannot be used with a trigger that does not support merging: give the windows a \
                 trigger whose `can_merge` holds, or an assigner whose windows do not merge",
            ));
        }
        let mut fold = self.fold.clone();
        fold.open(&TaskInfo::new(context)).map_err(operator_error)?;
        let windows = match self.assigner.aligned().filter(|_| self.trigger.is_event_time_trigger()) {
            Some(aligned) => Kind::Aligned(AlignedWindows::restore(aligned, self.lateness, context)?),
            None => Kind::General(
                GeneralWindows {
                    assigner: self.assigner.clone(),
                    trigger: self.trigger.clone(),
                    lateness: self.lateness,
                    store: Store::restore(&context.restored)?,
                    windows: Vec::new(),
                    merged: Vec::new(),
                    existing: Vec::new(),
                },
                PhantomData,
            ),
        };
        let mut runtime = Runtime::new(context);
        runtime.watermark = read_watermark(&context.restored)?;
        let around = Around {
            runtime,
            out: Collector::default(),
            late: self.late.clone(),
            metrics: context.metrics.clone(),
        };
        Ok(Running {
            fold,
            around,
            windows,
            max_parallelism: context.max_parallelism,
            key_groups: context.key_groups.clone(),
        })
    }
}

impl<T, S, A, G, F> Logic<T> for WindowLogic<T, S, A, G, F>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    F: WindowFold<S::Key, A::Window, T>,
{
    type Out = F::Out;

    fn open(&mut self, context: &OperatorContext) -> OperatorResult<()> {
        self.running = Some(self.stage.start(context)?);
        Ok(())
    }

    #[inline]
    fn element<N: Push<F::Out>>(
        &mut self,
        value: T,
        timestamp: Timestamp,
        next: &mut N,
    ) -> OperatorResult<()> {
        let Some(Running { fold, around, windows, .. }) = &mut self.running else { return Ok(()) };
        let selector = &self.stage.selector;
        match windows {
            Kind::Aligned(windows) => windows.element(value, timestamp, selector, fold, around, next),
            Kind::General(windows, _) => windows.element(value, timestamp, selector, fold, around, next),
        }
    }

    fn watermark<N: Push<F::Out>>(
        &mut self,
        watermark: Timestamp,
        next: &mut N,
    ) -> OperatorResult<Timestamp> {
        let Some(Running { fold, around, windows, .. }) = &mut self.running else { return Ok(watermark) };
        let before = around.runtime.watermark;
        // After a restore, the first watermarks may be older than the one that this operator has seen.
        if watermark > before {
            around.runtime.watermark = watermark;
            match windows {
                Kind::Aligned(windows) => windows.watermark(before, fold, around, next)?,
                Kind::General(windows, _) => windows.advance(true, watermark, fold, around, next)?,
            }
        }
        Ok(watermark)
    }

    fn next_processing_time(&self) -> Option<Timestamp> {
        match &self.running.as_ref()?.windows {
            Kind::Aligned(_) => None,
            Kind::General(windows, _) => windows.store.timers.processing.first().map(|(time, ..)| *time),
        }
    }

    fn processing_time<N: Push<F::Out>>(&mut self, now_ms: Timestamp, next: &mut N) -> OperatorResult<()> {
        let Some(Running { fold, around, windows, .. }) = &mut self.running else { return Ok(()) };
        match windows {
            Kind::Aligned(_) => Ok(()),
            Kind::General(windows, _) => windows.advance(false, now_ms, fold, around, next),
        }
    }

    fn end_step<N: Push<F::Out>>(&mut self, _: &mut N) -> OperatorResult<()> {
        if let Some(running) = &mut self.running {
            running.around.runtime.sides.flush();
        }
        Ok(())
    }

    fn config(&mut self, config: &Arc<ConfigSnapshot>) -> OperatorResult<()> {
        if let Some(running) = &mut self.running {
            running.around.runtime.config.set(config);
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId) -> OperatorResult<Option<SnapshotFn>> {
        let Some(running) = &self.running else { return Ok(None) };
        let contents = match &running.windows {
            Kind::Aligned(windows) => windows.snapshot(running.max_parallelism),
            Kind::General(windows, _) => windows.store.snapshot(running.max_parallelism),
        };
        let (watermark, key_groups) = (running.around.runtime.watermark, running.key_groups.clone());
        Ok(Some(Box::new(move |writer| {
            for group in key_groups {
                writer.keyed(WATERMARK, WATERMARK_TYPE, group, watermark.to_le_bytes().to_vec());
            }
            contents(writer)
        })))
    }
}
