//! Scalar expressions: the bound tree that the planner looks into ([`ScalarExpr`]), and what evaluates it on a batch
//! ([`Expr`]).

pub mod bind;
mod cast;
mod cast_text;
mod decimal;
mod eval;
pub mod functions;
mod infer;
mod literal;
pub(crate) mod live;
mod operators;
mod temporal;
mod tree;
pub mod types;

pub use self::eval::{EvalContext, compile};
pub use self::infer::{FUNCTIONS, FunctionError, call, cast, function_names};
pub use self::literal::{
    literal, literal_bigint, literal_boolean, literal_int, literal_interval_day_time,
    literal_interval_year_month, literal_null, literal_string,
};
pub use self::tree::{and_all, conjuncts, fold};
pub use self::types::common_type;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use streamkeeper_connectors::schema::DataType;

/// A bound expression over the columns of one input row.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarExpr {
    /// A column of the input.
    Column {
        /// Its position.
        index: usize,
        /// Its name, for display.
        name: String,
        /// Its type.
        data_type: DataType,
    },
    /// A constant: an array of length 1 of type `data_type.to_arrow()`.
    Literal {
        /// The value.
        value: ArrayRef,
        /// Its type.
        data_type: DataType,
    },
    /// A built-in function or operator applied to arguments of exactly the types it takes.
    Call {
        /// Which, under its SQL name in upper case (`+`, `AND`, `UPPER`, `CASE`, …).
        function: &'static str,
        /// The arguments.
        args: Vec<ScalarExpr>,
        /// The result's type.
        data_type: DataType,
    },
    /// `CAST` and `TRY_CAST`.
    Cast {
        /// What is cast.
        input: Box<ScalarExpr>,
        /// To which type.
        data_type: DataType,
        /// NULL instead of an error.
        try_cast: bool,
    },
}

impl ScalarExpr {
    /// The type of the result.
    pub fn data_type(&self) -> &DataType {
        match self {
            Self::Column { data_type, .. }
            | Self::Literal { data_type, .. }
            | Self::Call { data_type, .. }
            | Self::Cast { data_type, .. } => data_type,
        }
    }
}

/// The result of an expression on a batch.
#[derive(Debug, Clone)]
pub enum ColumnarValue {
    /// One value per row.
    Array(ArrayRef),
    /// The same value for every row: an array of length 1.
    Scalar(ArrayRef),
}

/// Something that can be evaluated on a batch.
pub trait Expr: fmt::Debug + Send + Sync {
    /// Evaluates on all rows of `batch`.
    ///
    /// # Errors
    /// When a row has no result (division by zero, a cast that does not fit); the message names the value.
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError>;

    /// The type of the result.
    fn data_type(&self) -> &DataType;
}

/// Shared, compiled expression.
pub type ExprRef = Arc<dyn Expr>;

/// Why a row has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvalError(pub String);

#[cfg(test)]
mod tests;
