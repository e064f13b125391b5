//! What a window holds, and what is emitted of it: a reduced record, an accumulator, or all records.
//!
//! Invariant: contents are `None` until the first record came, and after a purge.

use streamkeeper_dataflow::time::Timestamp;

use super::{Evictor, PassThrough, ProcessWindowFunction, TimestampedValue, Window, WindowContext};
use crate::Data;
use crate::aggregate::AggregateFunction;
use crate::collector::Collector;
use crate::error::Result;
use crate::process::TaskInfo;

/// How records are gathered in a window.
pub trait Gather<T>: Clone + Send + Sync + 'static {
    /// What a window holds.
    type Contents: Data;
    /// What the window's function sees.
    type View: Data;

    /// Adds a record.
    fn add(&mut self, contents: &mut Option<Self::Contents>, value: T, timestamp: Timestamp);

    /// What a window holds whose records were all evicted; `None`: nothing is emitted of it, or a list without records.
    fn empty(&self) -> Option<Self::Contents> {
        None
    }

    /// The contents of two windows that merge; those of `a` began earlier.
    fn merge(&mut self, a: Self::Contents, b: Self::Contents) -> Self::Contents;

    /// Calls `with` with what the function sees, unless there is nothing. Takes the contents unless they are to be kept.
    ///
    /// # Errors
    /// Those of `with`.
    fn view(
        &mut self,
        contents: &mut Option<Self::Contents>,
        keep: bool,
        with: impl FnOnce(&[Self::View]) -> Result,
    ) -> Result;

    /// As [`Gather::view`], for who wants to own the one value.
    fn take(&mut self, contents: &mut Option<Self::Contents>, keep: bool) -> Option<Self::View>;
}

/// The contents, moved unless they are to be kept.
#[inline]
fn taken<C: Clone>(contents: &mut Option<C>, keep: bool) -> Option<C> {
    if keep { contents.clone() } else { contents.take() }
}

/// Records reduced to one.
#[derive(Clone)]
pub struct Reduced<F>(pub(crate) F);

impl<T: Data, F: FnMut(T, T) -> T + Clone + Send + Sync + 'static> Gather<T> for Reduced<F> {
    type Contents = T;
    type View = T;

    #[inline]
    fn add(&mut self, contents: &mut Option<T>, value: T, _: Timestamp) {
        *contents = Some(match contents.take() {
            Some(so_far) => (self.0)(so_far, value),
            None => value,
        });
    }

    fn merge(&mut self, a: T, b: T) -> T {
        (self.0)(a, b)
    }

    fn view(&mut self, contents: &mut Option<T>, keep: bool, with: impl FnOnce(&[T]) -> Result) -> Result {
        contents.as_ref().map_or(Ok(()), |value| with(std::slice::from_ref(value)))?;
        contents.take_if(|_| !keep);
        Ok(())
    }

    #[inline]
    fn take(&mut self, contents: &mut Option<T>, keep: bool) -> Option<T> {
        taken(contents, keep)
    }
}

/// Records added to an accumulator.
#[derive(Clone)]
pub struct Aggregated<A>(pub(crate) A);

impl<A: AggregateFunction> Gather<A::In> for Aggregated<A> {
    type Contents = A::Accumulator;
    type View = A::Out;

    #[inline]
    fn add(&mut self, contents: &mut Option<A::Accumulator>, value: A::In, _: Timestamp) {
        self.0.add(value, contents.get_or_insert_with(|| self.0.create_accumulator()));
    }

    fn empty(&self) -> Option<A::Accumulator> {
        Some(self.0.create_accumulator())
    }

    fn merge(&mut self, a: A::Accumulator, b: A::Accumulator) -> A::Accumulator {
        self.0.merge(a, b)
    }

    fn view(
        &mut self,
        contents: &mut Option<A::Accumulator>,
        keep: bool,
        with: impl FnOnce(&[A::Out]) -> Result,
    ) -> Result {
        self.take(contents, keep).map_or(Ok(()), |result| with(&[result]))
    }

    #[inline]
    fn take(&mut self, contents: &mut Option<A::Accumulator>, keep: bool) -> Option<A::Out> {
        let result = contents.as_ref().map(|accumulator| self.0.result(accumulator));
        contents.take_if(|_| !keep);
        result
    }
}

/// All records, in the order in which they came.
#[derive(Debug, Clone, Copy)]
pub struct Listed;

impl<T: Data> Gather<T> for Listed {
    type Contents = Vec<T>;
    type View = T;

    #[inline]
    fn add(&mut self, contents: &mut Option<Vec<T>>, value: T, _: Timestamp) {
        contents.get_or_insert_default().push(value);
    }

    fn merge(&mut self, mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
        a.extend(b);
        a
    }

    fn view(
        &mut self,
        contents: &mut Option<Vec<T>>,
        keep: bool,
        with: impl FnOnce(&[T]) -> Result,
    ) -> Result {
        with(contents.as_deref().unwrap_or_default())?;
        contents.take_if(|_| !keep);
        Ok(())
    }

    fn take(&mut self, _: &mut Option<Vec<T>>, _: bool) -> Option<T> {
        None
    }
}

/// What a window holds, and what is made of it when it is emitted.
pub trait WindowFold<K, W, T>: Clone + Send + Sync + 'static {
    /// What a window holds.
    type Contents: Data;
    /// What is emitted.
    type Out: Data;

    /// Called once in each subtask.
    ///
    /// # Errors
    /// Those of the function.
    fn open(&mut self, info: &TaskInfo) -> Result {
        let _ = info;
        Ok(())
    }

    /// Adds a record.
    fn add(&mut self, contents: &mut Option<Self::Contents>, value: T, timestamp: Timestamp);

    /// What a window holds whose records were all evicted; `None`: nothing is emitted of it, or a list without records.
    fn empty(&self) -> Option<Self::Contents> {
        None
    }

    /// The contents of two windows that merge; those of `a` began earlier.
    fn merge(&mut self, a: Self::Contents, b: Self::Contents) -> Self::Contents;

    /// Emits the window. Takes the contents unless they are to be kept.
    ///
    /// # Errors
    /// Those of the function.
    fn fire(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        contents: &mut Option<Self::Contents>,
        keep: bool,
        out: &mut Collector<Self::Out>,
    ) -> Result;
}

/// Records gathered by `G`, seen by the function `F`.
#[derive(Debug, Clone, Copy)]
pub struct Folded<G, F> {
    pub(crate) gather: G,
    pub(crate) function: F,
}

impl<K, W, T, G: Gather<T>> WindowFold<K, W, T> for Folded<G, PassThrough> {
    type Contents = G::Contents;
    type Out = G::View;

    #[inline]
    fn add(&mut self, contents: &mut Option<G::Contents>, value: T, timestamp: Timestamp) {
        self.gather.add(contents, value, timestamp);
    }

    fn empty(&self) -> Option<G::Contents> {
        self.gather.empty()
    }

    fn merge(&mut self, a: G::Contents, b: G::Contents) -> G::Contents {
        self.gather.merge(a, b)
    }

    #[inline]
    fn fire(
        &mut self,
        _: &K,
        _: &mut WindowContext<'_, W>,
        contents: &mut Option<G::Contents>,
        keep: bool,
        out: &mut Collector<G::View>,
    ) -> Result {
        if let Some(value) = self.gather.take(contents, keep) {
            out.collect(value);
        }
        Ok(())
    }
}

/// A [`ProcessWindowFunction`] as it stands behind a gathering.
#[derive(Debug, Clone, Copy)]
pub struct Processed<F>(pub(crate) F);

impl<K, W, T, G, F> WindowFold<K, W, T> for Folded<G, Processed<F>>
where
    G: Gather<T>,
    F: ProcessWindowFunction<K, W, G::View>,
{
    type Contents = G::Contents;
    type Out = F::Out;

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.function.0.open(info)
    }

    #[inline]
    fn add(&mut self, contents: &mut Option<G::Contents>, value: T, timestamp: Timestamp) {
        self.gather.add(contents, value, timestamp);
    }

    fn empty(&self) -> Option<G::Contents> {
        self.gather.empty()
    }

    fn merge(&mut self, a: G::Contents, b: G::Contents) -> G::Contents {
        self.gather.merge(a, b)
    }

    fn fire(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        contents: &mut Option<G::Contents>,
        keep: bool,
        out: &mut Collector<F::Out>,
    ) -> Result {
        let function = &mut self.function.0;
        self.gather.view(contents, keep, |elements| function.process(key, context, elements, out))
    }
}

/// What a window holds with an evictor: all records, to which `fold` is applied when it is emitted.
#[derive(Debug, Clone, Copy)]
pub struct Evicted<E, F> {
    pub(crate) evictor: E,
    pub(crate) fold: F,
}

impl<K, W, T, E, F> WindowFold<K, W, T> for Evicted<E, F>
where
    W: Window,
    T: Data,
    E: Evictor<T, W>,
    F: WindowFold<K, W, T>,
{
    type Contents = Vec<TimestampedValue<T>>;
    type Out = F::Out;

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.fold.open(info)
    }

    fn add(&mut self, contents: &mut Option<Self::Contents>, value: T, timestamp: Timestamp) {
        contents.get_or_insert_default().push(TimestampedValue { value, timestamp });
    }

    fn merge(&mut self, mut a: Self::Contents, b: Self::Contents) -> Self::Contents {
        a.extend(b);
        a
    }

    fn fire(
        &mut self,
        key: &K,
        context: &mut WindowContext<'_, W>,
        contents: &mut Option<Self::Contents>,
        keep: bool,
        out: &mut Collector<F::Out>,
    ) -> Result {
        let mut elements = contents.take().unwrap_or_default();
        self.evictor.evict_before(&mut elements, context.window);
        let mut folded = self.fold.empty();
        for element in &elements {
            self.fold.add(&mut folded, element.value.clone(), element.timestamp);
        }
        self.fold.fire(key, context, &mut folded, false, out)?;
        self.evictor.evict_after(&mut elements, context.window);
        *contents = Some(elements).filter(|elements| keep && !elements.is_empty());
        Ok(())
    }
}

/// Whether windows have an evictor: [`NoEvictor`], or [`Evict`].
pub trait Eviction<T, W>: Clone + Send + Sync + 'static {
    /// What a window holds then, given what it would hold without.
    type Fold<K: 'static, F: WindowFold<K, W, T>>: WindowFold<K, W, T, Out = F::Out>;

    /// Adds the evictor.
    fn fold<K: 'static, F: WindowFold<K, W, T>>(self, fold: F) -> Self::Fold<K, F>;
}

/// Nothing is evicted.
#[derive(Debug, Clone, Copy)]
pub struct NoEvictor;

impl<T, W> Eviction<T, W> for NoEvictor {
    type Fold<K: 'static, F: WindowFold<K, W, T>> = F;

    fn fold<K: 'static, F: WindowFold<K, W, T>>(self, fold: F) -> F {
        fold
    }
}

/// An evictor decides.
#[derive(Debug, Clone, Copy)]
pub struct Evict<E>(pub(crate) E);

impl<T: Data, W: Window, E: Evictor<T, W>> Eviction<T, W> for Evict<E> {
    type Fold<K: 'static, F: WindowFold<K, W, T>> = Evicted<E, F>;

    fn fold<K: 'static, F: WindowFold<K, W, T>>(self, fold: F) -> Evicted<E, F> {
        Evicted { evictor: self.0, fold }
    }
}
