//! Rows that come, change and go.

use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::error::ConnectorError;
use crate::table::ROW_KIND_COLUMN;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum RowKind {
    /// `+I`: it is new.
    #[default]
    Insert,
    /// `-U`: it was this until now; its new value follows.
    UpdateBefore,
    /// `+U`: it is this from now on.
    UpdateAfter,
    /// `-D`: it is gone.
    Delete,
}

impl RowKind {
    /// The kind of this code, as it stands in a row-kind column.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Insert),
            1 => Some(Self::UpdateBefore),
            2 => Some(Self::UpdateAfter),
            3 => Some(Self::Delete),
            _ => None,
        }
    }

    /// Its code in a row-kind column.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// `+I`, `-U`, `+U`, `-D`.
    pub fn short_string(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }

    /// The row counts from now on; otherwise it no longer does.
    pub fn is_add(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.short_string())
    }
}

/// A change of a table: a row, and what happened to it. The type tells a stream of changes from a stream of rows, so
/// that nobody counts a row that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Changelog<T> {
    /// What happened.
    pub kind: RowKind,
    /// To which row.
    pub value: T,
}

impl<T> Changelog<T> {
    /// A change.
    pub fn new(kind: RowKind, value: T) -> Self {
        Self { kind, value }
    }

    /// `+I`.
    pub fn insert(value: T) -> Self {
        Self::new(RowKind::Insert, value)
    }

    /// `-U`.
    pub fn update_before(value: T) -> Self {
        Self::new(RowKind::UpdateBefore, value)
    }

    /// `+U`.
    pub fn update_after(value: T) -> Self {
        Self::new(RowKind::UpdateAfter, value)
    }

    /// `-D`.
    pub fn delete(value: T) -> Self {
        Self::new(RowKind::Delete, value)
    }
}

/// `+I[1, a]`, as Flink prints a row of a changelog.
impl<T: fmt::Display> fmt::Display for Changelog<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.value)
    }
}

/// The kinds of a batch's rows; all are new where there is no row-kind column.
///
/// # Errors
/// When the column holds anything else.
pub(super) fn row_kinds(batch: &RecordBatch) -> Result<Vec<RowKind>> {
    let Some(column) = batch.column_by_name(ROW_KIND_COLUMN) else {
        return Ok(vec![RowKind::Insert; batch.num_rows()]);
    };
    let codes = column.as_primitive_opt::<Int8Type>().filter(|codes| codes.null_count() == 0);
    let wrong = || ConnectorError::invalid(format!("column `{ROW_KIND_COLUMN}` must hold row kinds, 0 to 3"));
    let codes = codes.ok_or_else(wrong)?;
    codes.values().iter().map(|code| RowKind::from_code(*code).ok_or_else(wrong)).collect()
}
