//! Broadcast state: rules that every subtask has all of, and that change while the job runs.
//!
//! The records of the broadcast stream go to every subtask, which keeps in its broadcast state what they say; records of the
//! main stream are handled by what it keeps. A function gets the state by `&` for a record of the main stream, by `&mut`
//! for one of the broadcast stream: what is written is then the same in all subtasks, provided the function does the same
//! in each.
//!
//! - [`state`]: the state and its descriptors; [`process`]: functions without a key; [`keyed`]: functions with one
mod keyed;
mod process;
mod state;

use std::rc::Rc;

use streamkeeper_dataflow::graph::Exchange;

use crate::Data;
use crate::begin::FromPorts;
use crate::chain::Pipeline;
use crate::connect::{Connect, Two};
use crate::env::Topology;
use crate::key::KeySelector;
use crate::keyed::KeyedStream;
use crate::stream::DataStream;

pub use keyed::{KeyedBroadcast, KeyedBroadcastContext, KeyedBroadcastProcessFunction};
pub use process::{Broadcast, BroadcastProcessFunction};
pub use state::{BroadcastDescriptor, BroadcastState, MapStateDescriptor};

/// A stream that goes to every subtask, with the state that is kept of it. Made by [`DataStream::broadcast_state`].
pub struct BroadcastStream<R: Data, D> {
    from: FromPorts<R>,
    descriptor: D,
}

impl<R: Data, P: Pipeline<Out = R>> DataStream<R, P> {
    /// The stream as the rules of another, to be given to [`DataStream::connect`] or [`KeyedStream::connect`]: Flink's
    /// `broadcast` with descriptors. `descriptor` is a [`MapStateDescriptor`] or a tuple of several.
    ///
    /// See [`BroadcastProcessFunction`] for an example.
    pub fn broadcast_state<D: BroadcastDescriptor>(self, descriptor: D) -> BroadcastStream<R, D> {
        let (topology, ports) = self.close();
        if let Some(name) = state::duplicate(&descriptor) {
            topology.refuse(format!(
                "broadcast state `{name}`: each state of an operator needs a name of its own"
            ));
        }
        let parallelism = ports.parallelism;
        BroadcastStream { from: ports.dealt(&Exchange::Broadcast, parallelism), descriptor }
    }
}

impl<T: Data, R: Data, D> Connect<DataStream<T>> for BroadcastStream<R, D> {
    type Connected = BroadcastConnectedStream<T, R, D>;

    fn after(self, left: DataStream<T>) -> Self::Connected {
        BroadcastConnectedStream { main: left, broadcast: self }
    }
}

impl<T: Data, S: KeySelector<T>, R: Data, D> Connect<KeyedStream<T, S>> for BroadcastStream<R, D> {
    type Connected = KeyedBroadcastConnectedStream<T, S, R, D>;

    fn after(self, left: KeyedStream<T, S>) -> Self::Connected {
        KeyedBroadcastConnectedStream { main: left, broadcast: self }
    }
}

/// A stream, and the broadcast stream that rules it.
pub struct BroadcastConnectedStream<T: Data, R: Data, D> {
    main: DataStream<T>,
    broadcast: BroadcastStream<R, D>,
}

impl<T: Data, R: Data, D: BroadcastDescriptor> BroadcastConnectedStream<T, R, D> {
    /// Applies a function to both. It has as many subtasks as the main stream.
    pub fn process<F>(self, function: F) -> DataStream<F::Out, Two<T, R, Broadcast<F, D>>>
    where
        F: BroadcastProcessFunction<T, R, Broadcast = D::State>,
    {
        let Self { main, broadcast } = self;
        let from = main.pipeline.and(broadcast.from);
        let stage = Broadcast { function, descriptor: broadcast.descriptor };
        DataStream::new(main.topology, from).then("Broadcast-Process", stage)
    }
}

/// A keyed stream, and the broadcast stream that rules it.
pub struct KeyedBroadcastConnectedStream<T: Data, S: KeySelector<T>, R: Data, D> {
    main: KeyedStream<T, S>,
    broadcast: BroadcastStream<R, D>,
}

impl<T, S, R, D> KeyedBroadcastConnectedStream<T, S, R, D>
where
    T: Data,
    S: KeySelector<T>,
    S::Key: Sync,
    R: Data,
    D: BroadcastDescriptor,
{
    /// Applies a function to both.
    #[expect(clippy::type_complexity, reason = "it is not written down by hand")]
    pub fn process<F>(self, function: F) -> DataStream<F::Out, Two<T, R, KeyedBroadcast<F, S, D>>>
    where
        F: KeyedBroadcastProcessFunction<S::Key, T, R, Broadcast = D::State>,
    {
        let Self { main, broadcast } = self;
        let topology: Rc<Topology> = main.topology;
        let stage = KeyedBroadcast { function, selector: main.selector, descriptor: broadcast.descriptor };
        DataStream::new(topology, main.from.and(broadcast.from)).then("Co-Process-Broadcast-Keyed", stage)
    }
}
