//! Live configuration: functions see the revision in force, and no other.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde::Deserialize;
use streamkeeper_dataflow::config::Config as Settings;
use streamkeeper_dataflow::job::{JobStatus, Reconfigurer};
use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
use streamkeeper_datastream::process::TaskInfo;
use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::window::{
    ProcessWindowFunction, TimeWindow, TumblingEventTimeWindows, WindowContext,
};
use streamkeeper_datastream::{
    BroadcastProcessFunction, BroadcastState, CoProcessFunction, Collector, ConfigSource, DataStream, Follow,
    KeyedContext, KeyedProcessFunction, MapStateDescriptor, OpenContext, OperatorHarness, ProcessContext,
    ProcessFunction, Result, StreamExecutionEnvironment, TimeDomain,
};

const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Rules {
    threshold: u64,
}

/// Revision n of `rules` has the threshold 10 n.
fn rules(revision: u64) -> ConfigSnapshot {
    let data = serde_json::json!({"threshold": revision * 10});
    ConfigSnapshot::from_iter([("rules".to_owned(), ConfigDocument { revision, data })])
}

/// Revision and threshold in force; 0 without.
fn in_force(context: &mut ProcessContext<'_>) -> Result<(u64, u64)> {
    let rules = context.config::<Rules>("rules")?;
    Ok(rules.map_or((0, 0), |rules| (rules.revision(), rules.threshold)))
}

/// Emits what was in force at the start, and what is.
#[derive(Clone, Default)]
struct Stamp {
    at_open: u64,
}

impl ProcessFunction<u64> for Stamp {
    type Out = (u64, u64, u64);

    fn open(&mut self, info: &TaskInfo) -> Result {
        self.at_open = info.config::<Rules>("rules")?.map_or(0, |rules| rules.revision());
        Ok(())
    }

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        let (revision, threshold) = in_force(context)?;
        out.collect((self.at_open, revision, threshold));
        Ok(())
    }
}

fn values<T>(records: Vec<(T, i64)>) -> Vec<T> {
    records.into_iter().map(|(value, _)| value).collect()
}

#[test]
fn a_revision_is_in_force_from_its_barrier_on_and_after_a_restore() {
    let mut harness =
        OperatorHarness::new(|numbers| numbers.filter(|_| true).process(Stamp::default())).expect("opens");
    harness.push(1, 0).expect("no document is no error");
    harness.set_config(rules(1)).expect("fits");
    harness.push_all([(2, 0), (3, 0)]).expect("fits");
    let snapshot = harness.snapshot().expect("nothing to keep but the configuration");
    harness.set_config(rules(2)).expect("fits");
    harness.push(4, 0).expect("fits");
    assert_eq!(values(harness.take_records()), [(0, 0, 0), (0, 1, 10), (0, 1, 10), (0, 2, 20)]);
    let mut restored = harness.restore(&snapshot, 0, 1).expect("restores");
    restored.push(5, 0).expect("fits");
    assert_eq!(values(restored.take_records()), [(1, 1, 10)]);
}

/// Deserialises to how often it was made.
struct Made(u64);

impl<'de> Deserialize<'de> for Made {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        use std::cell::Cell;
        thread_local!(static MADE: Cell<u64> = const { Cell::new(0) });
        serde::de::IgnoredAny::deserialize(from)?;
        MADE.set(MADE.get() + 1);
        Ok(Self(MADE.get()))
    }
}

#[derive(Clone)]
struct HowOften;

impl ProcessFunction<u64> for HowOften {
    type Out = (u64, u64);

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        // Another type in between takes nobody's place.
        let (_, threshold) = in_force(context)?;
        let made = context.config::<Made>("rules")?.map_or(0, |made| made.0);
        out.collect((made, threshold));
        Ok(())
    }
}

#[test]
fn a_revision_is_deserialised_once_for_each_type() {
    let mut harness = OperatorHarness::new(|numbers| numbers.process(HowOften)).expect("opens");
    for revision in [1, 2] {
        harness.set_config(rules(revision)).expect("fits");
        harness.push_all([(0, 0), (0, 0), (0, 0)]).expect("fits");
    }
    let made = values(harness.take_records());
    assert_eq!(made, [(1, 10), (1, 10), (1, 10), (2, 20), (2, 20), (2, 20)]);
}

/// Keeps the revision of a key's record, and emits it with that of the timer.
#[derive(Clone)]
struct Timed;

impl KeyedProcessFunction<u64, u64> for Timed {
    type Out = (u64, u64);
    type State = ValueState<u64>;

    fn open(&mut self, context: &mut OpenContext<'_, u64>) -> Result<Self::State> {
        assert!(context.config::<Rules>("rules")?.is_none());
        context.value_state("revision")
    }

    fn process_element(
        &mut self,
        _: u64,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        _: &mut Collector<Self::Out>,
    ) -> Result {
        state.update(in_force(context)?.0);
        context.register_event_time_timer(10);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: i64,
        _: TimeDomain,
        state: &mut Self::State,
        context: &mut KeyedContext<'_, u64>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        out.collect((state.take().unwrap_or_default(), in_force(context)?.0));
        Ok(())
    }
}

#[derive(Clone)]
struct OfWindow;

impl ProcessWindowFunction<u64, TimeWindow, u64> for OfWindow {
    type Out = (u64, u64);

    fn process(
        &mut self,
        _: &u64,
        context: &mut WindowContext<'_, TimeWindow>,
        _: &[u64],
        out: &mut Collector<Self::Out>,
    ) -> Result {
        out.collect(in_force(context)?);
        Ok(())
    }
}

#[test]
fn timers_and_windows_fire_under_what_is_in_force_then() {
    let mut timers =
        OperatorHarness::new(|n: DataStream<u64>| n.key_by(|n| *n).process(Timed)).expect("opens");
    let mut windows = OperatorHarness::new(|n: DataStream<u64>| {
        n.key_by(|n| *n).window(TumblingEventTimeWindows::of(Duration::from_millis(10))).process(OfWindow)
    })
    .expect("opens");
    for harness in [&mut timers as &mut dyn Harness, &mut windows] {
        harness.change_between_record_and_watermark();
    }
    assert_eq!(values(timers.take_records()), [(1, 2)]);
    assert_eq!(values(windows.take_records()), [(2, 20)]);
}

/// Both have other types.
trait Harness {
    fn change_between_record_and_watermark(&mut self);
}

impl<O: streamkeeper_datastream::Data> Harness for OperatorHarness<streamkeeper_datastream::Records<u64>, O> {
    fn change_between_record_and_watermark(&mut self) {
        self.set_config(rules(1)).expect("fits");
        self.push(7, 3).expect("fits");
        self.set_config(rules(2)).expect("fits");
        self.watermark(10).expect("fits");
    }
}

#[derive(Clone)]
struct Both;

impl CoProcessFunction<u64, u64> for Both {
    type Out = (u64, u64);

    fn process_element1(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        out.collect(in_force(context)?);
        Ok(())
    }

    fn process_element2(
        &mut self,
        n: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        self.process_element1(n, context, out)
    }
}

impl BroadcastProcessFunction<u64, u64> for Both {
    type Out = (u64, u64);
    type Broadcast = BroadcastState<u64, u64>;

    fn process_element(
        &mut self,
        n: u64,
        _: &Self::Broadcast,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        self.process_element1(n, context, out)
    }

    fn process_broadcast_element(
        &mut self,
        n: u64,
        _: &mut Self::Broadcast,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<Self::Out>,
    ) -> Result {
        self.process_element1(n, context, out)
    }
}

#[test]
fn functions_of_two_inputs_have_it_too() {
    let co = OperatorHarness::two_inputs(|a: DataStream<u64>, b: DataStream<u64>| a.connect(b).process(Both));
    let broadcast = OperatorHarness::two_inputs(|a: DataStream<u64>, b: DataStream<u64>| {
        a.connect(b.broadcast_state(MapStateDescriptor::<u64, u64>::new("rules"))).process(Both)
    });
    for harness in [co.map(erase), broadcast.map(erase)] {
        let mut run = harness.expect("opens");
        assert_eq!(run(), [(1, 10), (2, 20)]);
    }
}

type Two<O> = OperatorHarness<
    streamkeeper_datastream::Either<
        streamkeeper_datastream::Records<u64>,
        streamkeeper_datastream::Records<u64>,
    >,
    O,
>;

fn erase(mut harness: Two<(u64, u64)>) -> impl FnMut() -> Vec<(u64, u64)> {
    move || {
        harness.set_config(rules(1)).expect("fits");
        harness.push_first(0, 0).expect("fits");
        harness.set_config(rules(2)).expect("fits");
        harness.push_second(0, 0).expect("fits");
        values(harness.take_records())
    }
}

/// Tells each change of the revision to the test.
#[derive(Clone)]
struct Tell {
    last: u64,
    told: mpsc::Sender<u64>,
}

impl ProcessFunction<u64> for Tell {
    type Out = u64;

    fn process_element(
        &mut self,
        n: u64,
        context: &mut ProcessContext<'_>,
        out: &mut Collector<u64>,
    ) -> Result {
        let (revision, threshold) = in_force(context)?;
        if revision != self.last {
            assert_eq!(threshold, revision * 10);
            self.last = revision;
            self.told.send(revision)?;
        }
        if n == u64::MAX {
            out.collect(n);
        }
        Ok(())
    }
}

/// Begins with revision 1; the test changes it.
struct Changed(mpsc::Sender<Reconfigurer>, mpsc::Sender<&'static str>);

struct Following(mpsc::Sender<&'static str>);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.send("not followed any more");
    }
}

impl ConfigSource for Changed {
    fn open(
        &self,
        job: &str,
        documents: &BTreeSet<String>,
        _: &Settings,
    ) -> Result<(Arc<ConfigSnapshot>, Follow)> {
        assert_eq!((job, documents), ("changes", &BTreeSet::from(["rules".to_owned()])));
        let (job, ended) = (self.0.clone(), self.1.clone());
        let follow = move |reconfigurer| -> Result<Box<dyn Send + Sync>> {
            job.send(reconfigurer)?;
            Ok(Box::new(Following(ended)))
        };
        Ok((Arc::new(rules(1)), Box::new(follow)))
    }
}

#[test]
fn changes_reach_the_functions_of_a_running_job() {
    let ((told, revisions), (job, jobs), (end, ended)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let env = StreamExecutionEnvironment::new();
    env.config_documents(["rules"]).set_config_source(Changed(job, end));
    let _rows = env.from_sequence(0, u64::MAX).process(Tell { last: 0, told }).collect();
    let job = env.execute_async("changes").expect("starts");
    let following = jobs.recv_timeout(TIMEOUT).expect("followed");
    assert_eq!(revisions.recv_timeout(TIMEOUT), Ok(1));
    following.reconfigure(Arc::new(rules(3))).expect("small");
    assert_eq!(revisions.recv_timeout(TIMEOUT), Ok(3));
    following.reconfigure(Arc::new(rules(2))).expect("ignored");
    following.reconfigure(Arc::new(rules(4))).expect("small");
    assert_eq!(revisions.recv_timeout(TIMEOUT), Ok(4));
    assert!(ended.try_recv().is_err(), "the job runs still");
    job.cancel();
    assert_eq!(job.wait().expect("cancelled"), JobStatus::Canceled);
    assert_eq!(ended.try_recv(), Ok("not followed any more"));
}

#[test]
fn a_document_that_does_not_fit_fails_the_job_and_says_where() {
    let env = StreamExecutionEnvironment::new();
    let data = serde_json::json!({"threshold": "high"});
    let wrong = ConfigSnapshot::from_iter([("rules".to_owned(), ConfigDocument { revision: 5, data })]);
    env.config_documents(["rules"]).set_config_source(wrong);
    let _rows = env.from_collection([1]).process(HowOften).name("Threshold").collect();
    let error = env.execute("misfit").expect_err("text is no number").to_string();
    for part in ["misfit", "Threshold", "document rules, revision 5", "Rules", "\"high\""] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_job_that_nobody_gives_its_documents_does_not_start() {
    let env = StreamExecutionEnvironment::new();
    env.config_documents(["rules", "limits"]);
    let _rows = env.from_collection([1]).process(HowOften).collect();
    let error = env.execute("alone").expect_err("no source").to_string();
    assert!(error.contains("job alone") && error.contains("limits, rules"), "{error}");
}

#[test]
fn only_declared_documents_are_given() {
    let env = StreamExecutionEnvironment::new();
    env.config_documents(["limits"]).set_config_source(rules(1));
    let rows = env.from_collection([1]).process(Stamp::default()).collect();
    env.execute("undeclared").expect("runs");
    assert_eq!(rows.take(), [(0, 0, 0)]);
}
