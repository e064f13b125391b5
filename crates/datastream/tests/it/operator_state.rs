//! Lists that a function without keys keeps, and state whose type was changed.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use streamkeeper_datastream::state::{OperatorStateReader, OperatorStateWriter, ValueState};
use streamkeeper_datastream::{
    Collector, Data, DataStream, HarnessSnapshot, KeyedContext, KeyedProcessFunction, OpenContext,
    OperatorHarness, ProcessContext, ProcessFunction, Result,
};

/// Keeps what comes, and tells of it when it is asked to (by 0).
#[derive(Clone, Default)]
struct Keep {
    mine: Vec<u64>,
    everybodys: Vec<u64>,
}

impl ProcessFunction<u64> for Keep {
    type Out = (Vec<u64>, Vec<u64>);

    fn initialize_state(&mut self, state: &OperatorStateReader<'_>) -> Result {
        self.mine = state.list_state("mine")?;
        self.everybodys = state.union_list_state("everybodys")?;
        assert_eq!(state.is_restored(), !self.everybodys.is_empty());
        Ok(())
    }

    fn snapshot_state(&mut self, state: &mut OperatorStateWriter) -> Result {
        state.list_state("mine", self.mine.clone())?;
        state.union_list_state("everybodys", self.mine.clone())
    }

    fn process_element(
        &mut self,
        n: u64,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        match n {
            0 => out.collect((self.mine.clone(), self.everybodys.clone())),
            n => self.mine.push(n),
        }
        Ok(())
    }
}

#[test]
fn lists_are_dealt_out_anew_and_union_lists_go_to_all() {
    let first = OperatorHarness::new(|numbers| numbers.process(Keep::default())).expect("opens");
    let mut subtasks: Vec<_> = (0..2).map(|s| first.subtask(s, 2).expect("opens")).collect();
    for n in 1..=10 {
        subtasks[(n % 2) as usize].push(n, 0).expect("runs");
    }
    let snapshot = HarnessSnapshot::merge(subtasks.iter_mut().map(|s| s.snapshot().expect("snapshots")));
    for parallelism in [1, 2, 3] {
        let mut all = Vec::new();
        for subtask in 0..parallelism {
            let mut restored = first.restore(&snapshot, subtask, parallelism).expect("restores");
            restored.push(0, 0).expect("runs");
            for ((mine, mut everybodys), _) in restored.take_records() {
                assert!(mine.len() >= 10 / parallelism);
                all.extend(mine);
                everybodys.sort();
                assert_eq!(everybodys, (1..=10).collect::<Vec<_>>());
            }
        }
        all.sort();
        assert_eq!(all, (1..=10).collect::<Vec<_>>());
    }
}

mod before {
    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    pub(super) struct Seen {
        pub(super) first: i64,
        pub(super) last: i64,
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Seen {
    last: i64,
    first: i64,
}

#[derive(Clone)]
struct Remember<V>(PhantomData<fn() -> V>);

impl<V: Data + Default> KeyedProcessFunction<u64, u64> for Remember<V> {
    type Out = u64;
    type State = ValueState<V>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        context.value_state("seen")
    }

    fn process_element(
        &mut self,
        _: u64,
        seen: &mut Self::State,
        _: &mut KeyedContext<'_, u64>,
        _: &mut Collector<u64>,
    ) -> Result {
        seen.update(V::default());
        Ok(())
    }
}

#[test]
fn state_of_a_struct_that_was_changed_is_refused() {
    fn harness<V: Data + Default>() -> OperatorHarness<streamkeeper_datastream::Records<u64>, u64> {
        let job = |numbers: DataStream<u64>| {
            numbers.key_by(|n| *n).process(Remember::<V>(PhantomData)).uid("remember")
        };
        OperatorHarness::new(job).expect("opens")
    }
    let mut before = harness::<before::Seen>();
    before.push(1, 0).expect("runs");
    let snapshot = before.snapshot().expect("snapshots");
    assert!(before.restore(&snapshot, 0, 1).is_ok());
    let error = harness::<Seen>().restore(&snapshot, 0, 1).expect_err("refused").to_string();
    assert_eq!(
        error,
        "state `seen` was written as `value by u64: Seen{first: i64, last: i64}`, but this job reads `value by u64: \
         Seen{last: i64, first: i64}`; restore with the job that wrote it, or start without the checkpoint"
    );
}
