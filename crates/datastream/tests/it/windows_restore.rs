//! Windows against a model, against each other, and through snapshots and restores at random points and any parallelism.

use std::collections::BTreeMap;

use streamkeeper_datastream::window::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger,
    EventTimeSessionWindows, EventTimeTrigger, ProcessingTimeSessionWindows, PurgingTrigger,
    SlidingEventTimeWindows, SlidingProcessingTimeWindows, TimeWindow, Trigger, TriggerContext,
    TriggerResult, TumblingEventTimeWindows, WindowAssigner,
};
use streamkeeper_datastream::{HarnessSnapshot, OperatorHarness, OutputTag, Result};

use crate::windows::{Row, Sum, Sums, ms};

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(Row, i64),
    Watermark(i64),
    Clock(i64),
    Restore(usize),
}

/// Rows up to `late` ms behind the watermark and up to 60 ms before it, and both clocks advancing.
fn script(seed: u64, late: i64) -> Vec<Step> {
    let mut random = Random(seed * 2 + 1);
    let (mut watermark, mut now_ms) = (0, 0);
    let mut steps = Vec::new();
    for _ in 0..2000 {
        steps.push(match random.below(20) {
            0 => {
                watermark += random.below(25) as i64;
                Step::Watermark(watermark)
            }
            1 => {
                now_ms += random.below(15) as i64;
                Step::Clock(now_ms)
            }
            2 if random.below(4) == 0 => Step::Restore(1 + random.below(4) as usize),
            _ => {
                let timestamp = watermark + 1 - late + random.below((60 + late) as u64) as i64;
                Step::Push((random.below(20) as u32, random.below(1000) as i64), timestamp)
            }
        });
    }
    steps.push(Step::Clock(now_ms + 1_000_000));
    steps.push(Step::Watermark(i64::MAX));
    steps
}

/// What comes out after each step, in order of key and window, and what was late.
fn run(first: &Sums, late: &OutputTag<Row>, steps: &[Step], restores: bool) -> Vec<(Vec<Sum>, Vec<Row>)> {
    let mut subtasks = vec![first.restore(&HarnessSnapshot::default(), 0, 1).expect("opens")];
    let (mut out, mut watermark, mut now_ms) = (Vec::new(), i64::MIN, 0);
    for step in steps {
        match *step {
            Step::Push(row, timestamp) => {
                let mut takers =
                    subtasks.iter_mut().filter(|subtask| subtask.takes(&row).expect("has a key"));
                let taker = takers.next().expect("some subtask takes it");
                taker.push(row, timestamp).expect("takes it");
                // A timer may be due at once.
                taker.set_processing_time(now_ms).expect("advances");
            }
            Step::Watermark(time) => {
                watermark = time;
                subtasks.iter_mut().for_each(|subtask| subtask.watermark(time).expect("advances"));
            }
            Step::Clock(time) => {
                now_ms = time;
                subtasks.iter_mut().for_each(|subtask| subtask.set_processing_time(time).expect("advances"));
            }
            Step::Restore(parallelism) if restores => {
                let snapshots = subtasks.iter_mut().map(|subtask| subtask.snapshot().expect("snapshots"));
                let snapshot = HarnessSnapshot::merge(snapshots);
                subtasks = (0..parallelism)
                    .map(|n| {
                        let mut subtask = first.restore(&snapshot, n, parallelism).expect("restores");
                        subtask.set_processing_time(now_ms).expect("advances");
                        assert_eq!(subtask.take_records(), []);
                        subtask
                    })
                    .collect();
                // The first watermark after a restore may be an older one.
                subtasks.iter_mut().for_each(|subtask| subtask.watermark(watermark - 7).expect("advances"));
            }
            Step::Restore(_) => {}
        }
        let (mut sums, mut rows) = (Vec::new(), Vec::new());
        for subtask in &mut subtasks {
            for (sum, timestamp) in subtask.take_records() {
                assert_eq!(timestamp, sum.3 - 1);
                sums.push(sum);
            }
            rows.extend(subtask.take_side_output(late).into_iter().map(|(row, _)| row));
        }
        sums.sort_unstable();
        out.push((sums, rows));
    }
    out
}

/// The sums of windows, given a closure that finishes the description.
macro_rules! sums {
    ($late:expr, $assigner:expr $(, . $method:ident ($argument:expr))*) => {
        OperatorHarness::new(|rows| {
            rows.key_by(|(key, _): &Row| *key)
                .window($assigner)
                .side_output_late_data($late)
                $(.$method($argument))*
                .reduce_with(
                    |(key, a), (_, b)| (key, a + b),
                    |key, window: &TimeWindow, (_, sum), out| out.collect((*key, *sum, window.start, window.end)),
                )
        })
        .expect("opens")
    };
}

#[test]
fn nothing_is_lost_doubled_or_late_because_of_a_restore() {
    let late = &OutputTag::new("late");
    let sliding = || SlidingEventTimeWindows::of(ms(30), ms(10));
    let tumbling = || TumblingEventTimeWindows::of(ms(20));
    let sessions = || EventTimeSessionWindows::with_gap(ms(6));
    let by_clock = || SlidingProcessingTimeWindows::of(ms(30), ms(10));
    let count = || CountTrigger::of(3);
    let harnesses: Vec<Sums> = vec![
        sums!(late, tumbling()),
        sums!(late, tumbling(), .allowed_lateness(ms(15))),
        sums!(late, sliding(), .allowed_lateness(ms(15))),
        sums!(late, sliding(), .trigger(PurgingTrigger::of(EventTimeTrigger)), .allowed_lateness(ms(15))),
        sums!(late, tumbling(), .trigger(count()), .allowed_lateness(ms(15))),
        sums!(late, tumbling(), .trigger(ContinuousEventTimeTrigger::of(ms(4)))),
        sums!(late, by_clock(), .trigger(ContinuousProcessingTimeTrigger::of(ms(4)))),
        sums!(late, sliding(), .evictor(CountEvictor::of(3)), .allowed_lateness(ms(15))),
        sums!(late, sessions(), .allowed_lateness(ms(15))),
        sums!(late, sessions(), .trigger(PurgingTrigger::of(count())), .allowed_lateness(ms(15))),
        sums!(late, sessions(), .trigger(ContinuousEventTimeTrigger::of(ms(4)))),
        sums!(late, by_clock()),
        sums!(late, ProcessingTimeSessionWindows::with_gap(ms(3))),
    ];
    for (n, harness) in harnesses.iter().enumerate() {
        for seed in 1..=3 {
            let steps = script(seed, 30);
            let (plain, restored) = (run(harness, late, &steps, false), run(harness, late, &steps, true));
            assert!(plain.iter().map(|(sums, _)| sums.len()).sum::<usize>() > 50, "harness {n}");
            for (at, (plain, restored)) in plain.iter().zip(&restored).enumerate() {
                assert_eq!(plain, restored, "harness {n}, seed {seed}, step {at}: {:?}", steps[at]);
            }
        }
    }
}

/// Does what [`EventTimeTrigger`] does, but does not say so: the general operator runs.
#[derive(Clone)]
struct Disguised;

impl Trigger<Row, TimeWindow> for Disguised {
    type State = ();

    fn on_element(
        &mut self,
        row: &Row,
        timestamp: i64,
        window: &TimeWindow,
        context: &mut TriggerContext<'_, TimeWindow, ()>,
    ) -> Result<TriggerResult> {
        EventTimeTrigger.on_element(row, timestamp, window, context)
    }

    fn on_event_time(
        &mut self,
        time_ms: i64,
        window: &TimeWindow,
        context: &mut TriggerContext<'_, TimeWindow, ()>,
    ) -> Result<TriggerResult> {
        Trigger::<Row, TimeWindow>::on_event_time(&mut EventTimeTrigger, time_ms, window, context)
    }

    fn clear(&mut self, window: &TimeWindow, context: &mut TriggerContext<'_, TimeWindow, ()>) -> Result {
        Trigger::<Row, TimeWindow>::clear(&mut EventTimeTrigger, window, context)
    }
}

#[test]
fn both_operators_give_the_same_results() {
    let late = &OutputTag::new("late");
    for (size, slide, lateness) in
        [(20, 20, 0), (20, 20, 15), (30, 10, 0), (30, 10, 15), (25, 10, 15), (5, 10, 3)]
    {
        let assigner = || SlidingEventTimeWindows::of(ms(size), ms(slide));
        let aligned: Sums = sums!(late, assigner(), .allowed_lateness(ms(lateness)));
        let general: Sums = sums!(late, assigner(), .trigger(Disguised), .allowed_lateness(ms(lateness)));
        for seed in 1..=3 {
            let steps = script(seed, 30);
            let (aligned, general) = (run(&aligned, late, &steps, true), run(&general, late, &steps, true));
            for (at, (aligned, general)) in aligned.iter().zip(&general).enumerate() {
                assert_eq!(aligned, general, "seed {seed}, step {at}: {:?}", steps[at]);
            }
        }
    }
}

/// What windows hold in the end, from the rows alone.
fn model(steps: &[Step], windows: impl Fn(&[(i64, i64)]) -> Vec<(i64, i64, i64)>) -> Vec<Sum> {
    let mut by_key: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
    for step in steps {
        if let Step::Push((key, n), timestamp) = *step {
            by_key.entry(key).or_default().push((timestamp, n));
        }
    }
    let mut sums = Vec::new();
    for (key, mut rows) in by_key {
        rows.sort_unstable();
        sums.extend(windows(&rows).into_iter().map(|(sum, start, end)| (key, sum, start, end)));
    }
    sums.sort_unstable();
    sums
}

fn check<A>(assigner: A, windows: impl Fn(&[(i64, i64)]) -> Vec<(i64, i64, i64)>)
where
    A: WindowAssigner<Row, Window = TimeWindow>,
{
    let late = &OutputTag::new("late");
    let harness: Sums = sums!(late, assigner);
    for seed in 1..=3 {
        // No row is behind the watermark, nor right after it: it would touch a session that has just ended.
        let steps = script(seed, -1);
        let out = run(&harness, late, &steps, true);
        assert!(out.iter().all(|(_, late)| late.is_empty()));
        let mut sums: Vec<Sum> = out.into_iter().flat_map(|(sums, _)| sums).collect();
        sums.sort_unstable();
        let expected = model(&steps, &windows);
        let difference = sums.iter().zip(&expected).find(|(sum, expected)| sum != expected);
        assert_eq!((difference, sums.len()), (None, expected.len()), "seed {seed}");
    }
}

#[test]
fn windows_hold_what_the_model_says() {
    for (size, slide) in [(20, 20), (30, 10), (25, 10), (5, 10)] {
        check(SlidingEventTimeWindows::of(ms(size), ms(slide)), |rows| {
            let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
            for (timestamp, n) in rows {
                let (size, slide) = (size as i64, slide as i64);
                for start in (timestamp - size + 1..=*timestamp).filter(|start| start.rem_euclid(slide) == 0)
                {
                    *sums.entry(start).or_default() += n;
                }
            }
            sums.into_iter().map(|(start, sum)| (sum, start, start + size as i64)).collect()
        });
    }
    check(EventTimeSessionWindows::with_gap(ms(6)), |rows| {
        let mut sessions: Vec<(i64, i64, i64)> = Vec::new();
        for (timestamp, n) in rows {
            match sessions.last_mut() {
                Some((sum, _, end)) if timestamp <= end => {
                    *sum += n;
                    *end = timestamp + 6;
                }
                _ => sessions.push((*n, *timestamp, timestamp + 6)),
            }
        }
        sessions
    });
}
