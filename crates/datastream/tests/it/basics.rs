//! Small jobs, and what comes out of them.

use streamkeeper_datastream::{
    Collector, KeyedContext, KeyedProcessFunction, OpenContext, OutputTag, ProcessContext, ProcessFunction,
    Result, StreamExecutionEnvironment, TimeDomain,
    state::{MapState, ValueState},
};

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}

#[test]
fn every_partitioning_delivers_every_record_once() {
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let numbers = env.from_collection(0..10_000u64).shared();
        let collected = [
            numbers.clone().rebalance().map(|n| n).collect(),
            numbers.clone().rescale().map(|n| n).collect(),
            numbers.clone().shuffle().map(|n| n).collect(),
            numbers.clone().global().map(|n| n).collect(),
            numbers.clone().partition_custom(|n, p| *n as usize % p).map(|n| n).collect(),
            numbers.clone().key_by(|n| *n % 100).reduce(|_, n| n).collect(),
            numbers.clone().rebalance().collect(),
        ];
        let everywhere = numbers.clone().broadcast().map(|n| n).collect();
        let both = numbers.clone().union(numbers).filter(|n| n % 2 == 0).collect();
        env.execute("partitionings").expect("runs");
        for stream in &collected {
            assert_eq!(sorted(stream.take()), (0..10_000).collect::<Vec<_>>());
        }
        assert_eq!(everywhere.len(), 10_000 * parallelism);
        assert_eq!(both.len(), 10_000);
    }
}

/// Counts per key; emits the count when its timer fires, and what is odd to a side output.
#[derive(Clone)]
struct Count {
    odd: OutputTag<u64>,
}

impl KeyedProcessFunction<u64, u64> for Count {
    type Out = (u64, u64);
    type State = (ValueState<u64>, MapState<u64, u64>);

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        Ok((context.value_state("count")?, context.map_state("seen")?))
    }

    fn process_element(
        &mut self,
        value: u64,
        (count, seen): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<(u64, u64)>,
    ) -> Result {
        *count.get_or_insert_with(|| 0) += 1;
        seen.put(value, value);
        context.register_event_time_timer(100);
        if value % 2 == 1 {
            context.output(&self.odd, value);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        time_ms: i64,
        domain: TimeDomain,
        (count, seen): &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<(u64, u64)>,
    ) -> Result {
        assert_eq!((time_ms, domain), (100, TimeDomain::EventTime));
        assert_eq!(seen.entries().len() as u64, count.value().unwrap_or_default());
        out.collect((*context.current_key(), count.take().unwrap_or_default()));
        seen.clear();
        Ok(())
    }
}

#[test]
fn state_timers_and_side_outputs() {
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    let odd = OutputTag::new("odd");
    let counts =
        env.from_collection(0..1000u64).key_by(|n| n % 7).process(Count { odd: odd.clone() }).shared();
    let odd = counts.side_output(&odd).map(|n| n * 10).collect();
    let counts = counts.collect();
    env.execute("counts").expect("runs");
    let expected: Vec<(u64, u64)> =
        (0..7).map(|key| (key, (0..1000).filter(|n| n % 7 == key).count() as u64)).collect();
    assert_eq!(sorted(counts.take()), expected);
    assert_eq!(sorted(odd.take()), (0..1000).filter(|n| n % 2 == 1).map(|n| n * 10).collect::<Vec<_>>());
}

#[derive(Clone)]
struct FailAt(u64);

impl ProcessFunction<u64> for FailAt {
    type Out = u64;

    fn process_element(
        &mut self,
        value: u64,
        _: &mut ProcessContext<'_>,
        out: &mut Collector<u64>,
    ) -> Result {
        if value == self.0 {
            return Err(format!("{value} is not welcome").into());
        }
        out.collect(value);
        Ok(())
    }
}

#[test]
fn an_error_of_user_code_names_operator_and_subtask() {
    let env = StreamExecutionEnvironment::new();
    env.from_collection(0..100u64).process(FailAt(50)).name("bouncer").discard();
    let error = env.execute("party").expect_err("fails").to_string();
    assert_eq!(
        error,
        "job party: Collection Source -> bouncer -> Discard (subtask 0, attempt 0): 50 is not welcome"
    );
    let env = StreamExecutionEnvironment::new();
    env.from_collection(0..100u64).map(|n| 1 / (50 - n.min(50))).discard();
    let error = env.execute("panics").expect_err("fails").to_string();
    assert!(error.contains("subtask 0") && error.contains("divide by zero"), "{error}");
}

#[test]
fn a_changed_parallelism_is_another_task() {
    let env = StreamExecutionEnvironment::new();
    let all = env
        .from_collection(0..100u64)
        .map(|n| n + 1)
        .map(|n| n + 1)
        .set_parallelism(3)
        .uid("second")
        .collect();
    let job = env.execute_async("parallelism").expect("starts");
    let tasks: Vec<(String, usize)> =
        job.vertices().iter().map(|vertex| (vertex.name.clone(), vertex.subtasks.len())).collect();
    job.wait().expect("runs");
    assert_eq!(tasks, [("Collection Source -> Map".to_owned(), 1), ("Map -> Collect".to_owned(), 3)]);
    assert_eq!(sorted(all.take()), (2..102).collect::<Vec<_>>());
}

#[test]
fn a_job_without_operators_is_refused() {
    let env = StreamExecutionEnvironment::new();
    let error = env.execute("nothing").expect_err("refused").to_string();
    assert_eq!(error, "No operators defined in streaming topology. Cannot execute.");
}

#[test]
fn a_parallelism_is_kept_when_something_else_is_configured() {
    let subtasks = |configure: fn(&StreamExecutionEnvironment)| {
        let env = StreamExecutionEnvironment::new();
        configure(&env);
        env.from_collection(0..10u64).rebalance().map(|n| n).discard();
        let job = env.execute_async("parallelism").expect("starts");
        let subtasks = job.vertices()[1].subtasks.len();
        job.wait().expect("runs");
        subtasks
    };
    assert_eq!(
        subtasks(|env| {
            env.set_parallelism(3);
            env.set("restart-strategy.type", "none").expect("valid");
        }),
        3
    );
    assert_eq!(
        subtasks(|env| {
            env.set_parallelism(3);
            env.set("parallelism.default", "2").expect("valid");
        }),
        2
    );
}
