//! Side outputs: an operator emits batches of other types beside its output, each kind under a tag.
//!
//! Invariant: what was emitted to a side output is on its channels before any watermark, barrier or end that follows.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

/// The side outputs of one subtask that somebody is connected to.
#[derive(Clone, Default)]
pub struct SideOutputs {
    queues: Rc<RefCell<Vec<Queue>>>,
    /// A tag that is asked for is connected.
    all: bool,
}

/// A tag, and the batches (`RefCell<Vec<B>>`) that were emitted under it.
type Queue = (String, Rc<dyn Any>);

impl SideOutputs {
    /// Every side output is connected: for harnesses, which take what was emitted with [`SideOutput::take`].
    pub fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// The side output `tag` for batches `B`; `None` when nobody is connected to it: nothing needs to be emitted then.
    pub fn get<B: 'static>(&self, tag: &str) -> Option<SideOutput<B>> {
        let found = self.queues.borrow().iter().find(|(name, _)| name == tag).map(|(_, queue)| queue.clone());
        match found {
            Some(queue) => queue.downcast::<RefCell<Vec<B>>>().ok().map(SideOutput),
            None => self.all.then(|| self.add(tag)),
        }
    }

    /// Adds a side output.
    pub fn add<B: 'static>(&self, tag: &str) -> SideOutput<B> {
        let queue = Rc::new(RefCell::new(Vec::new()));
        self.queues.borrow_mut().push((tag.to_owned(), queue.clone()));
        SideOutput(queue)
    }
}

/// Where an operator emits batches of one tag. They leave when its current step is over.
pub struct SideOutput<B>(Rc<RefCell<Vec<B>>>);

impl<B> SideOutput<B> {
    /// Emits a batch.
    pub fn emit(&self, batch: B) {
        self.0.borrow_mut().push(batch);
    }

    /// Takes what was emitted.
    pub fn take(&self) -> Vec<B> {
        self.0.take()
    }
}
