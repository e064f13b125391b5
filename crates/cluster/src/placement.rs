//! Who runs which slot of a job: a pure function.
//!
//! A slot runs one subtask of each vertex (Flink's default slot sharing), so a job needs as many as its highest parallelism.
//!
//! Invariant: a slot stays where it is while its TaskManager is there and has room; the others go, one by one, to the TaskManager
//! that has the fewest slots of this job, then to the least used one. The same input gives the same output.

use streamkeeper_dataflow::executor::order::WorkerId;

/// A TaskManager that slots can be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its id.
    pub(crate) worker: WorkerId,
    /// How many slots it has.
    pub(crate) slots: usize,
    /// How many of them other jobs have.
    pub(crate) used: usize,
}

/// Places `current.len()` slots; `current` says where they are now. `None`: there are not enough.
pub(crate) fn place(current: &[Option<WorkerId>], candidates: &[Candidate]) -> Option<Vec<WorkerId>> {
    let mut hosts: Vec<Host<'_>> = candidates.iter().map(Host::new).collect();
    hosts.sort_by(|a, b| a.of.worker.cmp(&b.of.worker));
    let mut placed: Vec<Option<usize>> = vec![None; current.len()];
    for (slot, worker) in current.iter().enumerate() {
        let host = worker.as_ref().and_then(|w| hosts.binary_search_by(|host| host.of.worker.cmp(w)).ok());
        if let Some(host) = host.filter(|host| hosts[*host].has_room()) {
            hosts[host].mine += 1;
            placed[slot] = Some(host);
        }
    }
    for slot in placed.iter_mut().filter(|slot| slot.is_none()) {
        let best = (0..hosts.len()).filter(|host| hosts[*host].has_room()).min_by(|a, b| {
            let (a, b) = (&hosts[*a], &hosts[*b]);
            a.mine.cmp(&b.mine).then_with(|| a.load().cmp(&b.load()))
        })?;
        hosts[best].mine += 1;
        *slot = Some(best);
    }
    placed.into_iter().map(|host| Some(hosts[host?].of.worker.clone())).collect()
}

/// Where the slots of a job would be if it were spread evenly with as few moves as possible; `None`: as they are.
pub(crate) fn rebalance(current: &[WorkerId], candidates: &[Candidate]) -> Option<Vec<WorkerId>> {
    let count = |placed: &[WorkerId], worker: &WorkerId| placed.iter().filter(|w| *w == worker).count();
    let mut placed = current.to_vec();
    loop {
        let room = |c: &&Candidate| c.used + count(&placed, &c.worker) < c.slots;
        let fewest = candidates
            .iter()
            .filter(room)
            .min_by_key(|c| (count(&placed, &c.worker), c.used, c.worker.clone()))?;
        let most = placed.iter().max_by_key(|w| (count(&placed, w), (*w).clone()))?.clone();
        if count(&placed, &most) <= count(&placed, &fewest.worker) + 1 {
            break;
        }
        let slot = placed.iter().rposition(|worker| *worker == most)?;
        placed[slot] = fewest.worker.clone();
    }
    (placed != current).then_some(placed)
}

struct Host<'a> {
    of: &'a Candidate,
    /// Slots of this job.
    mine: usize,
}

impl<'a> Host<'a> {
    fn new(of: &'a Candidate) -> Self {
        Self { of, mine: 0 }
    }

    fn has_room(&self) -> bool {
        self.of.used + self.mine < self.of.slots
    }

    /// How full it is, in thousandths.
    fn load(&self) -> usize {
        (self.of.used + self.mine) * 1000 / self.of.slots.max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn candidate(worker: &str, slots: usize, used: usize) -> Candidate {
        Candidate { worker: worker.into(), slots, used }
    }

    fn counts(placed: &[WorkerId]) -> BTreeMap<&str, usize> {
        placed.iter().fold(BTreeMap::new(), |mut counts, worker| {
            *counts.entry(worker.as_str()).or_default() += 1;
            counts
        })
    }

    #[test]
    fn slots_are_spread_and_stay() {
        let both = [candidate("a", 4, 0), candidate("b", 4, 0)];
        let placed = place(&vec![None; 4], &both).expect("room");
        assert_eq!(placed, ["a", "b", "a", "b"]);
        let current: Vec<_> = placed.iter().cloned().map(Some).collect();
        let three = [candidate("c", 4, 0), candidate("b", 4, 0), candidate("a", 4, 0)];
        assert_eq!(place(&current, &three), Some(placed.clone()), "nothing moves");
        assert_eq!(place(&current, &three[..2]).expect("room"), ["c", "b", "c", "b"], "a is gone");
        assert_eq!(rebalance(&placed, &three).expect("c is empty"), ["a", "b", "a", "c"]);
        assert_eq!(rebalance(&placed, &both), None);
    }

    #[test]
    fn the_least_used_is_taken_and_too_few_are_none() {
        let some = [candidate("a", 4, 3), candidate("b", 4, 1)];
        assert_eq!(place(&[None], &some).expect("room"), ["b"]);
        assert_eq!(place(&vec![None; 4], &some).map(|p| counts(&p)["b"]), Some(3));
        assert_eq!(place(&vec![None; 5], &some), None);
        assert_eq!(place(&[None], &[]), None);
        assert_eq!(place(&[], &[]), Some(vec![]));
    }

    fn cluster() -> impl Strategy<Value = (Vec<Option<WorkerId>>, Vec<Candidate>)> {
        let candidates = prop::collection::btree_map("[a-f]", (1usize..5, 0usize..5), 0..6).prop_map(|all| {
            let candidate = |(worker, (slots, used)): (String, (usize, usize))| Candidate {
                worker,
                slots,
                used: used.min(slots),
            };
            all.into_iter().map(candidate).collect()
        });
        (prop::collection::vec(prop::option::of("[a-g]"), 0..12), candidates)
    }

    proptest! {
        #[test]
        fn placements_are_full_sticky_even_and_do_not_depend_on_order((current, candidates) in cluster()) {
            let room: usize = candidates.iter().map(|c| c.slots - c.used).sum();
            let placed = place(&current, &candidates);
            prop_assert_eq!(placed.is_some(), room >= current.len());
            let reversed: Vec<_> = candidates.iter().rev().cloned().collect();
            prop_assert_eq!(&placed, &place(&current, &reversed));
            let Some(placed) = placed else { return Ok(()) };
            prop_assert_eq!(placed.len(), current.len());
            let counts = counts(&placed);
            let count = |worker: &str| counts.get(worker).copied().unwrap_or(0);
            for c in &candidates {
                prop_assert!(c.used + count(&c.worker) <= c.slots);
                let before = current.iter().flatten().filter(|w| **w == c.worker).count();
                let kept = current.iter().zip(&placed).filter(|(b, n)| b.as_ref() == Some(n) && **n == c.worker);
                prop_assert_eq!(kept.count(), before.min(c.slots - c.used), "no move without need");
                if count(&c.worker) > before {
                    for other in candidates.iter().filter(|o| o.used + count(&o.worker) < o.slots) {
                        prop_assert!(count(&c.worker) <= count(&other.worker) + 1, "new slots are spread");
                    }
                }
            }
        }

        #[test]
        fn a_rebalance_is_even_has_room_and_is_done_once((current, candidates) in cluster()) {
            let Some(placed) = place(&current, &candidates) else { return Ok(()) };
            let Some(even) = rebalance(&placed, &candidates) else { return Ok(()) };
            let counts = counts(&even);
            let count = |worker: &str| counts.get(worker).copied().unwrap_or(0);
            for c in &candidates {
                prop_assert!(c.used + count(&c.worker) <= c.slots);
                if c.used + count(&c.worker) < c.slots {
                    prop_assert!(counts.values().all(|n| *n <= count(&c.worker) + 1));
                }
            }
            prop_assert_eq!(rebalance(&even, &candidates), None);
        }
    }
}
