//! A znode as an object of which histories are checked: its data and version, or nothing.

use super::wgl::{Operation, Stuck, check};

/// Data and version; `None`: there is no znode.
pub(crate) type State = Option<(u32, i32)>;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Create with this data.
    Create(u32),
    /// Set this data if the version is this; -1: in any case.
    Set(u32, i32),
    /// Delete if the version is this; -1: in any case.
    Delete(i32),
    /// `sync`, then read.
    Get,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Done; of a set: the new version.
    Done(i32),
    /// What a read saw.
    Saw(State),
    /// `NodeExists`.
    Exists,
    /// `NoNode`.
    Missing,
    /// `BadVersion`.
    OtherVersion,
    /// Nothing: the server died.
    Nothing,
}

/// A request with its answer.
pub(crate) type Event = (Ask, Told);

/// What a request does to a znode, and the answer to it.
fn run(state: State, ask: Ask) -> (State, Told) {
    let matches = |version: i32, expected: i32| expected == -1 || expected == version;
    match (ask, state) {
        (Ask::Get, state) => (state, Told::Saw(state)),
        (Ask::Create(data), None) => (Some((data, 0)), Told::Done(0)),
        (Ask::Create(_), some) => (some, Told::Exists),
        (Ask::Set(..) | Ask::Delete(_), None) => (None, Told::Missing),
        (Ask::Set(data, expected), Some((_, version))) if matches(version, expected) => {
            (Some((data, version + 1)), Told::Done(version + 1))
        }
        (Ask::Delete(expected), Some((_, version))) if matches(version, expected) => (None, Told::Done(0)),
        (Ask::Set(..) | Ask::Delete(_), some) => (some, Told::OtherVersion),
    }
}

/// The states that a request with its answer may lead to.
fn step(state: &State, (ask, told): &Event) -> Vec<State> {
    let (after, answer) = run(*state, *ask);
    match told {
        Told::Nothing if after == *state => vec![after],
        Told::Nothing => vec![after, *state],
        told if *told == answer => vec![after],
        _ => Vec::new(),
    }
}

/// Whether one znode's history, from its absence on, is linearizable.
pub(crate) fn check_register(history: &[Operation<Event>]) -> Result<(), Stuck> {
    check(None, history, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, returned: u64, ask: Ask, told: Told) -> Operation<Event> {
        Operation { called, returned, what: (ask, told) }
    }

    fn is_linearizable(history: &[Operation<Event>]) -> bool {
        match check_register(history) {
            Ok(()) => true,
            Err(Stuck::NotLinearizable { .. }) => false,
            Err(stuck) => panic!("{stuck:?}"),
        }
    }

    use Ask::{Create, Delete, Get, Set};
    use Told::{Done, Exists, Missing, Nothing, OtherVersion, Saw};

    #[test]
    fn one_after_the_other() {
        let history = [
            operation(0, 1, Get, Saw(None)),
            operation(2, 3, Create(1), Done(0)),
            operation(4, 5, Create(2), Exists),
            operation(6, 7, Set(2, 1), OtherVersion),
            operation(8, 9, Set(2, 0), Done(1)),
            operation(10, 11, Get, Saw(Some((2, 1)))),
            operation(12, 13, Delete(-1), Done(0)),
            operation(14, 15, Set(3, -1), Missing),
            operation(16, 17, Get, Saw(None)),
        ];
        assert!(is_linearizable(&history));
        assert!(is_linearizable(&[]));
        // And every answer matters.
        for at in 0..history.len() {
            let mut wrong = history.to_vec();
            wrong[at].what.1 = if wrong[at].what.1 == Missing { Done(7) } else { Missing };
            assert!(!is_linearizable(&wrong), "{at}");
        }
    }

    #[test]
    fn at_the_same_time_either_order_will_do() {
        let both = |first: State, second: State| {
            is_linearizable(&[
                operation(0, 1, Create(1), Done(0)),
                operation(2, 9, Set(2, -1), Done(2)),
                operation(2, 9, Set(3, -1), Done(1)),
                operation(3, 6, Get, Saw(first)),
                operation(7, 10, Get, Saw(second)),
            ])
        };
        assert!(both(Some((3, 1)), Some((2, 2))));
        assert!(both(Some((1, 0)), Some((3, 1))));
        assert!(!both(Some((2, 2)), Some((3, 1))), "reads go back in time");
        assert!(!both(Some((2, 1)), Some((2, 2))), "the versions say otherwise");
    }

    #[test]
    fn a_lost_write() {
        assert!(!is_linearizable(&[
            operation(0, 1, Create(1), Done(0)),
            operation(2, 3, Set(2, -1), Done(1)),
            operation(4, 5, Get, Saw(Some((1, 0)))),
        ]));
        // Nobody reads it, but the next write gets its version.
        assert!(!is_linearizable(&[
            operation(0, 1, Create(1), Done(0)),
            operation(2, 3, Set(2, -1), Done(1)),
            operation(4, 5, Set(3, -1), Done(1)),
        ]));
    }

    #[test]
    fn a_stale_read_after_sync() {
        let stale = |called| {
            [
                operation(0, 1, Create(1), Done(0)),
                operation(2, 10, Set(2, 0), Done(1)),
                operation(3, 5, Get, Saw(Some((2, 1)))),
                operation(called, 8, Get, Saw(Some((1, 0)))),
            ]
        };
        // While the set has not returned, one that read its data has.
        assert!(!is_linearizable(&stale(6)));
        assert!(is_linearizable(&stale(4)));
    }

    #[test]
    fn a_write_without_an_answer_happens_once_or_never() {
        let unknown = |saw: State| {
            is_linearizable(&[
                operation(0, 1, Create(1), Done(0)),
                operation(2, 10, Set(2, -1), Nothing),
                operation(11, 12, Get, Saw(saw)),
            ])
        };
        assert!(unknown(Some((1, 0))) && unknown(Some((2, 1))));
        assert!(!unknown(Some((2, 2))) && !unknown(None));
        let twice = [
            operation(0, 1, Create(1), Done(0)),
            operation(2, 10, Set(2, -1), Nothing),
            operation(3, 4, Get, Saw(Some((2, 1)))),
            operation(5, 6, Set(3, -1), Done(2)),
            operation(7, 8, Get, Saw(Some((2, 3)))),
        ];
        assert!(is_linearizable(&twice[..4]));
        assert!(!is_linearizable(&twice), "it took effect twice");
    }

    #[test]
    fn a_write_without_an_answer_does_not_happen_after_the_server_died() {
        let late = |first, second| {
            is_linearizable(&[
                operation(0, 1, Create(1), Done(0)),
                operation(2, 10, Delete(0), Nothing),
                operation(11, 12, Get, Saw(first)),
                operation(13, 14, Get, Saw(second)),
            ])
        };
        assert!(late(None, None));
        assert!(!late(Some((1, 0)), None), "it came back to life");
        assert!(!late(None, Some((1, 0))), "it was seen and then lost");
    }

    /// All orders that the times permit, one by one.
    fn by_brute_force(state: State, left: &[Operation<Event>]) -> bool {
        left.is_empty()
            || (0..left.len()).any(|at| {
                let first_return = left.iter().map(|operation| operation.returned).min();
                let mut others = left.to_vec();
                let operation = others.remove(at);
                Some(operation.called) <= first_return
                    && step(&state, &operation.what).into_iter().any(|next| by_brute_force(next, &others))
            })
    }

    #[test]
    fn the_search_finds_what_trying_all_orders_finds() {
        let random = &mut super::super::random::Random(1);
        let mut counts = [0; 2];
        for _ in 0..4000 {
            // Answers from one order, with one of them changed in half of the histories.
            let mut state = None;
            let mut history: Vec<Operation<Event>> = (0..6u64)
                .map(|at| {
                    let (data, version) = (random.below(3) as u32, random.of(&[-1, 0, 1]));
                    let ask = random.of(&[Create(data), Set(data, version), Delete(version), Get]);
                    let (after, told) = run(state, ask);
                    let lost = random.one_in(5);
                    if !(lost && random.one_in(2)) {
                        state = after;
                    }
                    let moment = at * 10 + 50;
                    Operation {
                        called: moment - random.below(40) as u64,
                        returned: moment + random.below(40) as u64,
                        what: (ask, if lost { Nothing } else { told }),
                    }
                })
                .collect();
            if random.one_in(2) {
                let at = random.below(history.len());
                let told = [Done(0), Done(1), Saw(None), Saw(Some((1, 1))), Exists, Missing, OtherVersion];
                history[at].what.1 = random.of(&told);
            }
            let found = is_linearizable(&history);
            assert_eq!(found, by_brute_force(None, &history), "{history:?}");
            counts[usize::from(found)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
    }
}
