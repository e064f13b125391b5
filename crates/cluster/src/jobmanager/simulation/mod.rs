//! The whole control plane in one world on one thread: JobManagers, TaskManagers and what is between them, under faults that a seed
//! decides.
//!
//! Real are the leader's thread ([`Shell`](super::shell::Shell)) with all below it (term, roster, placement, links, documents), the
//! masters of jobs with their checkpoint coordinators, what is written to the checkpoints' storage, and whom a TaskManager obeys
//! ([`Link`](crate::taskmanager::link::Link)). Modelled are ZooKeeper and the election (which `coordination` has a simulation of its
//! own for), connections, clocks, and a TaskManager's tasks.
//!
//! What must hold at each step is in `zookeeper` and `job`: only the last epoch's leader writes, the checkpoint pointer only grows, a
//! completed checkpoint has all subtasks of one attempt, nothing is committed but what a completed checkpoint holds, and nothing twice.
//! When the faults stop, all is committed.
//!
//! A failing seed is printed; `STREAMKEEPER_SEED=… cargo test -p streamkeeper-cluster --lib simulation` runs it alone, with what
//! happens. `STREAMKEEPER_SEEDS` says how many there are.

mod job;
mod worker;
mod world;
mod zookeeper;

use self::world::World;

/// Enough for each mutation of `tests/mutations.py` that is caught here.
const SEEDS: u64 = 400;

const STEPS: usize = 4000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Runs a seed; gives what has come of it: epochs, checkpoints and attempts.
fn simulate(seed: u64, tell: bool) -> [u64; 3] {
    let mut world = World::new(seed, tell);
    (0..STEPS).for_each(|_| world.step(true));
    world.settle();
    world.outcome()
}

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_or_done_twice_and_all_is_done_when_the_faults_stop() {
    if let Some(seed) = number("STREAMKEEPER_SEED") {
        println!("seed {seed}: {:?}", simulate(seed, true));
        return;
    }
    let seeds = number("STREAMKEEPER_SEEDS").unwrap_or(SEEDS);
    let mut sums = [0; 3];
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| simulate(seed, false));
        let Ok(outcome) = outcome else {
            panic!("seed {seed} fails; `STREAMKEEPER_SEED={seed}` runs it alone");
        };
        sums.iter_mut().zip(outcome).for_each(|(sum, n)| *sum += n);
    }
    println!("{seeds} seeds: {} epochs, {} checkpoints, {} attempts", sums[0], sums[1], sums[2]);
    // The faults do what they are for.
    let [epochs, checkpoints, attempts] = sums;
    assert!(epochs > 3 * seeds && checkpoints > 5 * seeds && attempts > seeds, "{sums:?}");
}
