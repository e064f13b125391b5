//! Is a history of concurrent operations linearizable? (Wing & Gong's search, with Lowe's cache of what was tried.)
//!
//! A history is linearizable if each operation can be given a moment between its call and its return so that, in the order of these
//! moments, every answer is the one that a sequential object would give. The search takes operations in an order that the times permit,
//! and goes back where an answer does not fit; it never tries the same set of operations with the same state twice.

use std::collections::HashSet;
use std::hash::Hash;

/// An operation with the time of its call and of its return, on any one clock.
#[derive(Debug, Clone)]
pub(crate) struct Operation<O> {
    /// When it was called.
    pub(crate) called: u64,
    /// When it returned. If nobody knows what became of it: when it could no longer take effect.
    pub(crate) returned: u64,
    /// What was asked and answered.
    pub(crate) what: O,
}

/// Why a history is not known to be linearizable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// It is not. Where the search came farthest, it had put `ordered` operations in order, and this one (by its place in the history) had
    /// returned with an answer that nothing explains.
    NotLinearizable { ordered: usize, at: usize },
    /// The search was given up after so many steps.
    TooLong(usize),
}

/// Steps after which a search is given up.
const MAX_TRIED: usize = 20_000_000;

/// One end of an operation in the list of those not yet in order.
#[derive(Debug, Clone, Copy)]
struct Event {
    operation: usize,
    is_call: bool,
    previous: usize,
    next: usize,
}

/// The list of events in order of time, from which operations are taken and put back.
struct Events {
    /// The first and the last entry stand for the ends of the list.
    events: Vec<Event>,
    /// The places of each operation's call and return.
    places: Vec<(usize, usize)>,
}

impl Events {
    fn new<O>(history: &[Operation<O>]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(history.len() * 2);
        for (at, operation) in history.iter().enumerate() {
            // At the same time, calls come first: then both may have overlapped.
            order.push((operation.called, false, at));
            order.push((operation.returned.max(operation.called), true, at));
        }
        order.sort_unstable();
        let end = Event { operation: usize::MAX, is_call: false, previous: 0, next: 0 };
        let mut places = vec![(0, 0); history.len()];
        let mut events = vec![end];
        for (_, is_return, operation) in order {
            let at = events.len();
            match is_return {
                false => places[operation].0 = at,
                true => places[operation].1 = at,
            }
            events.push(Event { operation, is_call: !is_return, previous: at - 1, next: at + 1 });
        }
        events[0].next = 1;
        events.push(Event { previous: events.len() - 1, ..end });
        Events { events, places }
    }

    fn first(&self) -> usize {
        self.events[0].next
    }

    fn is_empty(&self) -> bool {
        self.first() == self.events.len() - 1
    }

    fn take(&mut self, operation: usize) {
        let (call, returned) = self.places[operation];
        for at in [call, returned] {
            let Event { previous, next, .. } = self.events[at];
            self.events[previous].next = next;
            self.events[next].previous = previous;
        }
    }

    fn put_back(&mut self, operation: usize) {
        let (call, returned) = self.places[operation];
        for at in [returned, call] {
            let Event { previous, next, .. } = self.events[at];
            self.events[previous].next = at;
            self.events[next].previous = at;
        }
    }
}

/// A set of operations.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new(length: usize) -> Self {
        Bits(vec![0; length.div_ceil(64)].into())
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }
}

/// An operation that was put in order.
struct Choice<S> {
    operation: usize,
    before: S,
    /// Other states that it could have led to.
    others: Vec<S>,
}

/// Judges a history of one object. `step` gives the states that an operation with its answer may lead to from a state: none if the answer
/// does not fit, several if it is not known what the operation did.
pub(crate) fn check<S: Clone + Eq + Hash, O>(
    initial: S,
    history: &[Operation<O>],
    step: impl Fn(&S, &O) -> Vec<S>,
) -> Result<(), Stuck> {
    let mut events = Events::new(history);
    let mut state = initial;
    let mut ordered = Bits::new(history.len());
    let mut tried: HashSet<(Bits, S)> = HashSet::new();
    let mut choices: Vec<Choice<S>> = Vec::new();
    let mut farthest = (0, 0);
    let mut at = events.first();
    while !events.is_empty() {
        let Event { operation, is_call, next, .. } = events.events[at];
        let (operation, mut states, otherwise) = if is_call {
            (operation, step(&state, &history[operation].what), next)
        } else {
            // It has returned and is not in order: an earlier choice was wrong.
            if choices.len() >= farthest.0 {
                farthest = (choices.len(), operation);
            }
            let Some(Choice { operation, before, others }) = choices.pop() else {
                return Err(Stuck::NotLinearizable { ordered: farthest.0, at: farthest.1 });
            };
            ordered.flip(operation);
            events.put_back(operation);
            state = before;
            (operation, others, events.events[events.places[operation].0].next)
        };
        at = otherwise;
        while let Some(new) = states.pop() {
            ordered.flip(operation);
            if tried.insert((ordered.clone(), new.clone())) {
                let before = std::mem::replace(&mut state, new);
                choices.push(Choice { operation, before, others: states });
                events.take(operation);
                at = events.first();
                break;
            }
            ordered.flip(operation);
        }
        if tried.len() > MAX_TRIED {
            return Err(Stuck::TooLong(tried.len()));
        }
    }
    Ok(())
}
