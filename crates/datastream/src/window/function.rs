//! What is applied to a window that is emitted.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::Data;
use crate::collector::Collector;
use crate::error::Result;
use crate::process::{ProcessContext, TaskInfo};

/// What a window's function may ask and do. It can do all that a [`ProcessContext`] can; its timestamp is the window's.
pub struct WindowContext<'a, W> {
    pub(crate) window: &'a W,
    pub(crate) process: ProcessContext<'a>,
}

impl<W> WindowContext<'_, W> {
    /// The window that is emitted.
    pub fn window(&self) -> &W {
        self.window
    }
}

impl<'a, W> Deref for WindowContext<'a, W> {
    type Target = ProcessContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

impl<W> DerefMut for WindowContext<'_, W> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.process
    }
}

/// A function of a window: of all its records, or of the one value that was reduced or aggregated of them.
///
/// ```
/// use std::time::Duration;
/// use streamkeeper_datastream::window::{ProcessWindowFunction, TimeWindow, TumblingEventTimeWindows, WindowContext};
/// use streamkeeper_datastream::{Collector, Result};
///
/// /// The median of each window.
/// #[derive(Clone)]
/// struct Median;
///
/// impl ProcessWindowFunction<String, TimeWindow, i64> for Median {
///     type Out = (String, i64, i64);
///
///     fn process(
///         &mut self,
///         key: &String,
///         context: &mut WindowContext<'_, TimeWindow>,
///         elements: &[i64],
///         out: &mut Collector<Self::Out>,
///     ) -> Result {
///         let mut sorted = elements.to_vec();
///         sorted.sort_unstable();
///         out.collect((key.clone(), context.window().start, sorted[sorted.len() / 2]));
///         Ok(())
///     }
/// }
/// ```
pub trait ProcessWindowFunction<K, W, T>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    /// Called once in each subtask, before the first window.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Called when a window is emitted. What is collected carries the window's last millisecond as its event time.
    ///
    /// # Errors
    /// Any, to fail the task.
    fn process(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        elements: &[T],
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// A closure of key, window and records.
pub struct Apply<F, O>(F, PhantomData<fn() -> O>);

impl<F, O> Apply<F, O> {
    pub(crate) fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<F: Clone, O> Clone for Apply<F, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K, W, T, O, F> ProcessWindowFunction<K, W, T> for Apply<F, O>
where
    O: Data,
    F: FnMut(&K, &W, &[T], &mut Collector<O>) + Clone + Send + Sync + 'static,
{
    type Out = O;

    fn process(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        elements: &[T],
        out: &mut Collector<O>,
    ) -> Result {
        (self.0)(key, context.window, elements, out);
        Ok(())
    }
}

/// A closure of key, window and the one value.
pub struct ApplyOne<F, O>(F, PhantomData<fn() -> O>);

impl<F, O> ApplyOne<F, O> {
    pub(crate) fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<F: Clone, O> Clone for ApplyOne<F, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<K, W, T, O, F> ProcessWindowFunction<K, W, T> for ApplyOne<F, O>
where
    O: Data,
    F: FnMut(&K, &W, &T, &mut Collector<O>) + Clone + Send + Sync + 'static,
{
    type Out = O;

    fn process(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        elements: &[T],
        out: &mut Collector<O>,
    ) -> Result {
        elements.iter().for_each(|value| (self.0)(key, context.window, value, out));
        Ok(())
    }
}

/// Emits the one value as it is.
#[derive(Debug, Clone, Copy)]
pub struct PassThrough;
