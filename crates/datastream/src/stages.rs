//! The operators without state: map, filter, flat map, and what else looks at one record at a time.

use std::marker::PhantomData;

use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::time::Timestamp;

use crate::Data;
use crate::chain::{Logic, Push, Stage};
use crate::collector::Collector;
use crate::error::{Result, operator_error};

/// A stage is its own logic, a copy per subtask.
macro_rules! stateless {
    ($name:ident, [$($generics:tt)*], $in:ty, $out:ty, [$($bound:tt)*]) => {
        impl<$($generics)*> Stage<$in> for $name<F, O>
        where
            F: $($bound)* + Clone + Send + Sync + 'static,
        {
            type Out = $out;
            type Logic = Self;

            fn logic(&self) -> Self {
                self.clone()
            }
        }
    };
}

macro_rules! function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<F, O>(F, PhantomData<fn() -> O>);

        impl<F, O> $name<F, O> {
            pub(crate) fn new(function: F) -> Self {
                Self(function, PhantomData)
            }
        }

        impl<F: Clone, O> Clone for $name<F, O> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), PhantomData)
            }
        }
    };
}

function! {
    /// One record for each.
    Map
}
stateless!(Map, [I: 'static, O: Data, F], I, O, [FnMut(I) -> O]);

impl<I, O, F: FnMut(I) -> O> Logic<I> for Map<F, O> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: I, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        next.push((self.0)(value), timestamp)
    }
}

function! {
    /// One record for each, or an error.
    TryMap
}
stateless!(TryMap, [I: 'static, O: Data, F], I, O, [FnMut(I) -> Result<O>]);

impl<I, O, F: FnMut(I) -> Result<O>> Logic<I> for TryMap<F, O> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: I, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        next.push((self.0)(value).map_err(operator_error)?, timestamp)
    }
}

function! {
    /// Only those for which the function holds.
    Filter
}
stateless!(Filter, [O: Data, F], O, O, [FnMut(&O) -> bool]);

impl<O, F: FnMut(&O) -> bool> Logic<O> for Filter<F, O> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: O, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        if (self.0)(&value) { next.push(value, timestamp) } else { Ok(()) }
    }
}

function! {
    /// Any number of records for each, from an iterator.
    FlatMap
}

impl<I: 'static, O, V, F> Stage<I> for FlatMap<F, V>
where
    O: Data,
    V: IntoIterator<Item = O> + 'static,
    F: FnMut(I) -> V + Clone + Send + Sync + 'static,
{
    type Out = O;
    type Logic = Self;

    fn logic(&self) -> Self {
        self.clone()
    }
}

impl<I, O, V, F> Logic<I> for FlatMap<F, V>
where
    V: IntoIterator<Item = O>,
    F: FnMut(I) -> V,
{
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: I, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        (self.0)(value).into_iter().try_for_each(|value| next.push(value, timestamp))
    }
}

function! {
    /// Any number of records for each, given to a collector.
    FlatMapWith
}

impl<I: 'static, O, F> Stage<I> for FlatMapWith<F, O>
where
    O: Data,
    F: FnMut(I, &mut Collector<O>) + Clone + Send + Sync + 'static,
{
    type Out = O;
    type Logic = Collecting<F, O>;

    fn logic(&self) -> Self::Logic {
        Collecting { function: self.0.clone(), collector: Collector::default() }
    }
}

/// A function at work, and what it has collected.
pub struct Collecting<F, O> {
    function: F,
    collector: Collector<O>,
}

impl<I, O, F: FnMut(I, &mut Collector<O>)> Logic<I> for Collecting<F, O> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: I, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        self.collector.at(timestamp);
        (self.function)(value, &mut self.collector);
        self.collector.drain(next)
    }
}

function! {
    /// The same records, looked at.
    Inspect
}
stateless!(Inspect, [O: Data, F], O, O, [FnMut(&O)]);

impl<O, F: FnMut(&O)> Logic<O> for Inspect<F, O> {
    type Out = O;

    #[inline]
    fn element<N: Push<O>>(&mut self, value: O, timestamp: Timestamp, next: &mut N) -> OperatorResult<()> {
        (self.0)(&value);
        next.push(value, timestamp)
    }
}
