//! From a stream to its windows.

use std::time::Duration;

use super::{
    CountEvictor, CountTrigger, Evict, GlobalWindows, NoEvictor, PurgingTrigger, WindowAssigner,
    WindowedStream,
};
use crate::Data;
use crate::chain::Pipeline;
use crate::key::KeySelector;
use crate::keyed::KeyedStream;
use crate::stream::DataStream;

impl<T: Data, S: KeySelector<T>> KeyedStream<T, S>
where
    S::Key: Sync,
{
    /// Cuts the records of each key into windows.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, WatermarkStrategy, window::TumblingEventTimeWindows};
    /// let env = StreamExecutionEnvironment::new();
    /// let landings = [("EWR", 10), ("JFK", 40), ("EWR", 50), ("EWR", 70)].map(|(to, minute)| (to.to_owned(), minute));
    /// let per_hour = env.from_collection(landings)
    ///     .assign_timestamps_and_watermarks(
    ///         WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|(_, minute): &(String, i64), _| minute * 60_000),
    ///     )
    ///     .map(|(to, _)| (to, 1))
    ///     .key_by_ref(|(to, _)| to.as_str())
    ///     .window(TumblingEventTimeWindows::of(Duration::from_secs(3600)))
    ///     .reduce_with(|(to, a), (_, b)| (to, a + b), |to, window, (_, count), out| {
    ///         out.collect(format!("{count} to {to} from minute {}", window.start / 60_000));
    ///     })
    ///     .collect();
    /// env.execute("landings")?;
    /// let mut per_hour = per_hour.take();
    /// per_hour.sort();
    /// assert_eq!(per_hour, ["1 to EWR from minute 60", "1 to JFK from minute 0", "2 to EWR from minute 0"]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn window<A: WindowAssigner<T>>(self, assigner: A) -> WindowedStream<T, S, A, A::DefaultTrigger> {
        let trigger = assigner.default_trigger();
        WindowedStream {
            stream: self,
            assigner,
            trigger,
            evictor: NoEvictor,
            lateness: Duration::ZERO,
            late: None,
        }
    }

    /// Windows of `size` records each. What is left at the end is not emitted.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=7).key_by(|n| n % 2).count_window(2).reduce(|a, b| a + b).collect();
    /// env.execute("pairs")?;
    /// assert_eq!(sums.take(), [4, 6, 12]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn count_window(
        self,
        size: u64,
    ) -> WindowedStream<T, S, GlobalWindows, PurgingTrigger<CountTrigger>> {
        self.window(GlobalWindows).trigger(PurgingTrigger::of(CountTrigger::of(size)))
    }

    /// Windows of the last `size` records, one every `slide` records.
    ///
    /// ```
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=6).key_by(|_| 0).count_window_sliding(3, 2).reduce(|a, b| a + b).collect();
    /// env.execute("the last three")?;
    /// assert_eq!(sums.take(), [1 + 2, 2 + 3 + 4, 4 + 5 + 6]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn count_window_sliding(
        self,
        size: usize,
        slide: u64,
    ) -> WindowedStream<T, S, GlobalWindows, CountTrigger, Evict<CountEvictor>> {
        self.window(GlobalWindows).evictor(CountEvictor::of(size)).trigger(CountTrigger::of(slide))
    }
}

/// The one key of all records.
#[derive(Debug, Clone, Copy)]
pub struct AllKeys;

impl<T> KeySelector<T> for AllKeys {
    type Key = ();
    type Borrowed = ();

    #[inline]
    fn with<R>(&self, _: &T, with: impl FnOnce(&()) -> R) -> R {
        with(&())
    }
}

impl<T: Data, P: Pipeline<Out = T>> DataStream<T, P> {
    /// Cuts all records into windows, whatever their key: in one subtask. A window's function gets the key `()`.
    ///
    /// ```
    /// # use streamkeeper_datastream::{StreamExecutionEnvironment, window::{GlobalWindows, CountTrigger}};
    /// let env = StreamExecutionEnvironment::new();
    /// let sums = env.from_collection(1..=4)
    ///     .window_all(GlobalWindows)
    ///     .trigger(CountTrigger::of(2))
    ///     .apply(|_, _, numbers, out| out.collect(numbers.to_vec()))
    ///     .collect();
    /// env.execute("all")?;
    /// assert_eq!(sums.take(), [vec![1, 2], vec![1, 2, 3, 4]]);
    /// # Ok::<(), streamkeeper_datastream::Error>(())
    /// ```
    pub fn window_all<A: WindowAssigner<T>>(
        self,
        assigner: A,
    ) -> WindowedStream<T, AllKeys, A, A::DefaultTrigger> {
        let mut stream = self.key_by_selector(AllKeys);
        stream.from.parallelism = 1;
        stream.window(assigner)
    }
}
