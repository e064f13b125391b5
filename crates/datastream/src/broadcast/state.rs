//! The state that every subtask has all of, and what names it.
//!
//! Invariant: it is the same in all subtasks at a barrier, so one of them writes it, and all read it back.

use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use foldhash::fast::RandomState;
use streamkeeper_dataflow::state::{RestoredState, SnapshotFn};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use crate::Data;
use crate::state::fingerprint;

/// A key or a value of broadcast state.
pub(crate) trait Entry: Data + Sync {}

impl<T: Data + Sync> Entry for T {}

/// A map that every subtask has all of.
#[derive(Debug, Clone)]
pub struct BroadcastState<UK, UV>(HashMap<UK, UV, RandomState>);

impl<UK: Eq + Hash, UV> BroadcastState<UK, UV> {
    /// The value of `key`.
    pub fn get(&self, key: &UK) -> Option<&UV> {
        self.0.get(key)
    }

    /// Whether there is a value for `key`.
    pub fn contains(&self, key: &UK) -> bool {
        self.0.contains_key(key)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&UK, &UV)> {
        self.0.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, key: UK, value: UV) {
        self.0.insert(key, value);
    }

    /// Removes and returns the value of `key`.
    pub fn remove(&mut self, key: &UK) -> Option<UV> {
        self.0.remove(key)
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Names a map of broadcast state, and the types of its entries.
///
/// ```
/// use streamkeeper_datastream::MapStateDescriptor;
///
/// let rules: MapStateDescriptor<String, u64> = MapStateDescriptor::new("rules");
/// assert_eq!(rules.name(), "rules");
/// ```
pub struct MapStateDescriptor<UK, UV> {
    name: Arc<str>,
    entries: PhantomData<fn() -> (UK, UV)>,
}

impl<UK, UV> MapStateDescriptor<UK, UV> {
    /// A map with this name, unique within its operator.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), entries: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<UK, UV> Clone for MapStateDescriptor<UK, UV> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), entries: PhantomData }
    }
}

/// Names one or several maps of broadcast state.
pub trait BroadcastDescriptor: Clone + Send + Sync + 'static {
    /// The state: a [`BroadcastState`], or a tuple of several.
    type State: Clone + Send + Sync + 'static;

    /// Adds the names.
    fn names(&self, into: &mut Vec<String>);

    /// The state of a checkpoint; empty without one.
    ///
    /// # Errors
    /// When it was written under other types, or is damaged.
    fn restore(&self, restored: &RestoredState) -> OperatorResult<Self::State>;

    /// What writes `state` to a checkpoint.
    fn snapshot(&self, state: Self::State) -> SnapshotFn;
}

fn shape<UK: Data, UV: Data>() -> String {
    format!("broadcast {} to {}", fingerprint::<UK>(), fingerprint::<UV>())
}

impl<UK, UV> BroadcastDescriptor for MapStateDescriptor<UK, UV>
where
    UK: Entry + Eq + Hash,
    UV: Entry,
{
    type State = BroadcastState<UK, UV>;

    fn names(&self, into: &mut Vec<String>) {
        into.push(self.name.to_string());
    }

    fn restore(&self, restored: &RestoredState) -> OperatorResult<Self::State> {
        let mut state = BroadcastState(HashMap::default());
        for item in restored.union(&self.name, &shape::<UK, UV>())? {
            let (key, value) = postcard::from_bytes(item).map_err(|e| {
                OperatorError::fatal(format!("state `{}` in the checkpoint is damaged: {e}", self.name))
            })?;
            state.put(key, value);
        }
        Ok(state)
    }

    fn snapshot(&self, state: Self::State) -> SnapshotFn {
        let name = self.name.clone();
        Box::new(move |writer| {
            for entry in &state.0 {
                let item = postcard::to_allocvec(&entry)
                    .map_err(|e| OperatorError::fatal(format!("cannot encode state `{name}`: {e}")))?;
                writer.union(&name, &shape::<UK, UV>(), item);
            }
            Ok(())
        })
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: BroadcastDescriptor),+> BroadcastDescriptor for ($($name,)+) {
            type State = ($($name::State,)+);

            #[expect(non_snake_case, reason = "a type and its value share a name")]
            fn names(&self, into: &mut Vec<String>) {
                let ($($name,)+) = self;
                $($name.names(into);)+
            }

            #[expect(non_snake_case, reason = "a type and its value share a name")]
            fn restore(&self, restored: &RestoredState) -> OperatorResult<Self::State> {
                let ($($name,)+) = self;
                Ok(($($name.restore(restored)?,)+))
            }

            fn snapshot(&self, state: Self::State) -> SnapshotFn {
                let writes = tuples!(@writes self state $($name)+);
                Box::new(move |writer| writes.into_iter().try_for_each(|write| write(writer)))
            }
        }
    };
    (@writes $self:ident $state:ident $a:ident $b:ident) => {
        [$self.0.snapshot($state.0), $self.1.snapshot($state.1)]
    };
    (@writes $self:ident $state:ident $a:ident $b:ident $c:ident) => {
        [$self.0.snapshot($state.0), $self.1.snapshot($state.1), $self.2.snapshot($state.2)]
    };
}
tuples!(A B);
tuples!(A B C);

/// A name that is there twice.
pub(super) fn duplicate(descriptor: &impl BroadcastDescriptor) -> Option<String> {
    let mut names = Vec::new();
    descriptor.names(&mut names);
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}
