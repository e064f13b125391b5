//! What each operator needs to know. Column indices refer to the operator's input without the row-kind column.

use streamkeeper_connectors::lookup::LookupSource;
use streamkeeper_connectors::schema::{DataType, Field};

use std::sync::Arc;

use crate::expr::{EvalContext, ExprRef, ScalarExpr};

/// How a row's windows follow from its event time. All sizes in milliseconds; windows are `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Fixed windows: `[offset + n * size, offset + (n + 1) * size)`.
    Tumble {
        /// Length.
        size_ms: i64,
        /// Shift of all windows.
        offset_ms: i64,
    },
    /// Windows of length `size` that start every `slide`; `size % slide == 0`, as Flink demands of TVFs.
    Hop {
        /// Distance between starts.
        slide_ms: i64,
        /// Length.
        size_ms: i64,
        /// Shift of all windows.
        offset_ms: i64,
    },
    /// Windows that share a start every `max_size` and grow by `step`; `max_size % step == 0`.
    Cumulate {
        /// Growth.
        step_ms: i64,
        /// Length of the last.
        max_size_ms: i64,
        /// Shift of all windows.
        offset_ms: i64,
    },
    /// Windows closed by `gap` without a row of the same key.
    Session {
        /// Largest distance between neighbours.
        gap_ms: i64,
    },
}

/// Window start and end as TIMESTAMP(3) columns of the input, in the local time zone of the event-time column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowInput {
    /// Windows are assigned from this event-time column.
    TimeColumn {
        /// Its index: a TIMESTAMP(p ≤ 3) or TIMESTAMP_LTZ(p ≤ 3).
        column: usize,
        /// Minutes are shifted by the session time zone when the column is TIMESTAMP_LTZ; an IANA name.
        time_zone: Option<String>,
        /// How.
        kind: WindowKind,
    },
    /// The rows carry their windows already (the output of a window TVF or of another window operator).
    Attached {
        /// Index of `window_start`.
        start: usize,
        /// Index of `window_end`.
        end: usize,
    },
}

/// A window property that an operator appends to its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowProperty {
    /// `window_start`, TIMESTAMP(3).
    Start,
    /// `window_end`, TIMESTAMP(3).
    End,
    /// `window_time`: `window_end - 1 ms`, the rowtime attribute.
    Time,
}

/// The aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// `COUNT(*)` (no argument) and `COUNT(x)`.
    Count,
    /// `SUM`: NULL of no values.
    Sum,
    /// `$SUM0`: 0 of no values.
    Sum0,
    /// `AVG`: of the argument's type for integers (truncated) and floats, DECIMAL(38, max(6, s)) for decimals.
    Avg,
    /// `MIN`.
    Min,
    /// `MAX`.
    Max,
    /// `FIRST_VALUE`, NULLs ignored.
    FirstValue,
    /// `LAST_VALUE`, NULLs ignored.
    LastValue,
    /// `LISTAGG(x)`, `LISTAGG(x, separator)`.
    ListAgg,
    /// `STDDEV_POP`.
    StddevPop,
    /// `STDDEV_SAMP`, `STDDEV`.
    StddevSamp,
    /// `VAR_POP`.
    VarPop,
    /// `VAR_SAMP`, `VARIANCE`.
    VarSamp,
    /// `COLLECT`: a MULTISET.
    Collect,
    /// `SINGLE_VALUE`: an error of more than one row.
    SingleValue,
}

impl AggregateFunction {
    /// Its SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Sum0 => "$SUM0",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
            Self::ListAgg => "LISTAGG",
            Self::StddevPop => "STDDEV_POP",
            Self::StddevSamp => "STDDEV_SAMP",
            Self::VarPop => "VAR_POP",
            Self::VarSamp => "VAR_SAMP",
            Self::Collect => "COLLECT",
            Self::SingleValue => "SINGLE_VALUE",
        }
    }
}

/// One aggregate of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateCall {
    /// Which function.
    pub function: AggregateFunction,
    /// Indices of its arguments in the input.
    pub args: Vec<usize>,
    /// Types of the arguments.
    pub arg_types: Vec<DataType>,
    /// Of distinct values only.
    pub distinct: bool,
    /// Index of a BOOLEAN column; rows that are not true are left out.
    pub filter: Option<usize>,
    /// The result's type.
    pub data_type: DataType,
    /// The result's name.
    pub name: String,
}

/// Window aggregation by key and window. Output: the keys, the aggregates, the properties.
///
/// `TimeColumn` windows are sliced: rows are aggregated once per slice and slices are merged when a window fires.
/// Windows fire when the watermark reaches `end - 1`; rows whose windows have all fired are dropped and counted.
#[derive(Debug, Clone)]
pub struct WindowAggregateSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// Indices of the grouping columns, without the window columns.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// The windows.
    pub window: WindowInput,
    /// What is appended to the output.
    pub properties: Vec<WindowProperty>,
    /// Names of the output columns, in order.
    pub output: Vec<Field>,
}

/// Appends `window_start`, `window_end`, `window_time` to each row, once per window it is in.
#[derive(Debug, Clone)]
pub struct WindowTableFunctionSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The windows: `TimeColumn`. Session windows are computed per `keys`, at the watermark.
    pub window: WindowInput,
    /// `PARTITION BY` of a session window.
    pub keys: Vec<usize>,
    /// Input columns, then the three window columns.
    pub output: Vec<Field>,
}

/// One column to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Index of the column.
    pub column: usize,
    /// `DESC`.
    pub descending: bool,
    /// NULLs come first. Flink: first for `ASC`, last for `DESC` (NULL is the smallest value), unless said otherwise.
    pub nulls_first: bool,
}

/// Window Top-N (and window deduplication): rows `rank_start..=rank_end` by `ROW_NUMBER()` per window and partition,
/// emitted when the window closes. Input is insert-only. Output: the input columns, then the rank if asked.
#[derive(Debug, Clone)]
pub struct WindowRankSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// Partition columns without the window's.
    pub partition: Vec<usize>,
    /// Index of `window_start`.
    pub window_start: usize,
    /// Index of `window_end`.
    pub window_end: usize,
    /// The order; rows that compare equal keep their order of arrival.
    pub order: Vec<SortKey>,
    /// First rank that is kept, from 1.
    pub rank_start: u64,
    /// Last rank that is kept.
    pub rank_end: u64,
    /// Append the rank as BIGINT.
    pub output_rank: bool,
    /// Columns of the output.
    pub output: Vec<Field>,
}

/// The kinds of join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Matches only.
    Inner,
    /// All left rows.
    Left,
    /// All right rows.
    Right,
    /// All rows.
    Full,
    /// Left rows with a match.
    Semi,
    /// Left rows without a match.
    Anti,
}

/// What all joins share. Output: left columns, right columns (Semi and Anti: left only).
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Inner, left, …
    pub kind: JoinKind,
    /// Columns of input 0.
    pub left: Vec<Field>,
    /// Columns of input 1.
    pub right: Vec<Field>,
    /// Equal columns of the left, pairwise of the same type as `right_keys`. A NULL key matches nothing.
    pub left_keys: Vec<usize>,
    /// Equal columns of the right.
    pub right_keys: Vec<usize>,
    /// What else must be true, over the columns left ++ right.
    pub condition: Option<ExprRef>,
    /// Columns of the output.
    pub output: Vec<Field>,
}

/// Join of two inputs that carry windows: rows of equal window and key, when the window closes. Insert-only.
#[derive(Debug, Clone)]
pub struct WindowJoinSpec {
    /// Keys (without the windows), condition, output.
    pub join: JoinSpec,
    /// `(window_start, window_end)` of the left.
    pub left_window: (usize, usize),
    /// `(window_start, window_end)` of the right.
    pub right_window: (usize, usize),
}

/// Interval join: `left_time - right_time` in `[lower_ms, upper_ms]`, both inclusive. Inputs are insert-only.
/// Holds back the watermark, and emits the NULL row of an outer join when the row can find no partner any more.
#[derive(Debug, Clone)]
pub struct IntervalJoinSpec {
    /// Keys, condition, output.
    pub join: JoinSpec,
    /// The left's event-time column.
    pub left_time: usize,
    /// The right's event-time column.
    pub right_time: usize,
    /// Smallest `left_time - right_time`.
    pub lower_ms: i64,
    /// Largest `left_time - right_time`.
    pub upper_ms: i64,
}

/// Join with the versions of the right: a left row waits until the watermark has reached its time, and then meets, of its key,
/// the version that was the newest at that time. Inner or left.
#[derive(Debug, Clone)]
pub struct TemporalJoinSpec {
    /// Keys, condition, output.
    pub join: JoinSpec,
    /// The left has a row-kind column; then so has the output, with the same kinds.
    pub left_changelog: bool,
    /// The right has a row-kind column: `-D` ends a version, `-U` says nothing.
    pub right_changelog: bool,
    /// The left's event-time column.
    pub left_time: usize,
    /// The column of the right that tells when a version began.
    pub right_time: usize,
    /// A right row that is older than the newest of its key is no version.
    pub last_rows: bool,
}

/// Join of insert-only rows with a table as it is when they come. Inner or left.
#[derive(Clone)]
pub struct LookupJoinSpec {
    /// Keys, condition, output. Its right are the rows of the table that are looked up.
    pub join: JoinSpec,
    /// The table.
    pub table: Arc<dyn LookupSource>,
    /// What makes rows to look up of those of the table, in order.
    pub calcs: Vec<CalcSpec>,
}

/// Regular join: keeps both inputs; takes and gives changelogs.
#[derive(Debug, Clone)]
pub struct RegularJoinSpec {
    /// Keys, condition, output.
    pub join: JoinSpec,
    /// The left input has a row-kind column.
    pub left_changelog: bool,
    /// The right input has a row-kind column.
    pub right_changelog: bool,
    /// The output has a row-kind column (outer joins, or a changelog input).
    pub output_changelog: bool,
}

/// Unbounded `GROUP BY`. Output: keys, aggregates, row kind. One change per input row (no mini-batch): `+I` for a new
/// key, `-U` (if `emit_update_before`) and `+U` when the result changed, `-D` when the last row was retracted.
/// A row that changes no aggregate's value emits nothing, as in Flink without state TTL.
#[derive(Debug, Clone)]
pub struct GroupAggregateSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// Grouping columns; empty for a global aggregation (one row, which exists from the first input row on).
    pub keys: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// The input has a row-kind column.
    pub input_changelog: bool,
    /// The consumer needs `-U` rows.
    pub emit_update_before: bool,
    /// Columns of the output without row kind. No aggregates: `SELECT DISTINCT`, which is insert-only on such input.
    pub output: Vec<Field>,
    /// The output has a row-kind column.
    pub output_changelog: bool,
}

/// `CROSS JOIN UNNEST(array | map | multiset)`, and `LEFT JOIN … ON TRUE`. Output: input columns, then the elements' columns.
#[derive(Debug, Clone)]
pub struct UnnestSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// What is unnested.
    pub collection: ExprRef,
    /// Keep rows whose collection is empty or NULL.
    pub outer: bool,
    /// Append the position, from 1.
    pub with_ordinality: bool,
    /// Input columns, then element columns (a ROW's fields, a MAP's key and value), then the ordinality.
    pub output: Vec<Field>,
    /// The input has a row-kind column.
    pub changelog: bool,
}

/// Projection and filter in one. Keeps the row-kind column where there is one.
#[derive(Debug, Clone)]
pub struct CalcSpec {
    /// What `filter` and `projection` are made from when a configuration comes into force, if they read it.
    pub live: Option<Arc<LiveCalc>>,
    /// Rows that are not true are dropped.
    pub filter: Option<ExprRef>,
    /// The output columns; `None`: all input columns as they are.
    pub projection: Option<Vec<ExprRef>>,
    /// Columns of the output.
    pub output: Vec<Field>,
    /// The input has a row-kind column.
    pub changelog: bool,
}

/// The expressions of a [`CalcSpec`] that reads the configuration.
#[derive(Debug, Clone)]
pub struct LiveCalc {
    /// As [`CalcSpec::filter`].
    pub filter: Option<ScalarExpr>,
    /// As [`CalcSpec::projection`].
    pub projection: Option<Vec<ScalarExpr>>,
    /// What they are evaluated with.
    pub context: EvalContext,
}
