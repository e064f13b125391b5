//! From the bound tree to what runs on batches.
//!
//! Invariant: a part that can fail is evaluated only on the rows for which the query asks for it (branches of CASE, the
//! right side of AND and OR).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::array::{BinaryArray, BooleanBuilder};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and_kleene, interleave, or_kleene, take, take_record_batch};
use arrow::datatypes::ArrowPrimitiveType;
use streamkeeper_connectors::schema::DataType;

use super::functions::{Kernel, kernel};
use super::infer::FunctionError;
use super::{ColumnarValue, EvalError, Expr, ExprRef, ScalarExpr, cast};

/// What the session adds to every evaluation.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// `table.local-time-zone`.
    pub time_zone: chrono_tz::Tz,
    /// When the query started, in milliseconds since the epoch: CURRENT_TIMESTAMP of a batch job.
    pub query_start_ms: i64,
    /// A streaming job evaluates CURRENT_TIMESTAMP and its kin per batch instead.
    pub streaming: bool,
}

impl EvalContext {
    /// A streaming session in the given zone that starts now.
    pub fn new(time_zone: chrono_tz::Tz) -> Self {
        Self { time_zone, query_start_ms: chrono::Utc::now().timestamp_millis(), streaming: true }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        if self.streaming { chrono::Utc::now().timestamp_millis() } else { self.query_start_ms }
    }
}

impl Default for EvalContext {
    fn default() -> Self {
        Self::new(chrono_tz::UTC)
    }
}

impl ColumnarValue {
    /// The array, of length 1 or of the batch's length.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Self::Array(array) | Self::Scalar(array) => array,
        }
    }

    /// One value per row.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef, EvalError> {
        match self {
            Self::Array(array) => Ok(array),
            Self::Scalar(array) => Ok(take(&array, &UInt32Array::from(vec![0; rows]), None)?),
        }
    }
}

impl From<arrow::error::ArrowError> for EvalError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self(error.to_string())
    }
}

/// The evaluated arguments of one call on one batch.
pub(crate) struct Args<'a> {
    pub(crate) values: &'a [ColumnarValue],
    pub(crate) types: &'a [DataType],
    pub(crate) data_type: &'a DataType,
    pub(crate) ctx: &'a EvalContext,
    pub(crate) rows: usize,
    /// What this call keeps from batch to batch; 0 at first.
    pub(crate) memory: &'a AtomicU64,
}

/// One argument: `get(row)` whatever its shape.
pub(crate) struct Col<'a, A> {
    pub(crate) array: &'a A,
    scalar: bool,
}

impl<A: Array> Col<'_, A> {
    #[inline]
    pub(crate) fn index(&self, row: usize) -> Option<usize> {
        let index = if self.scalar { 0 } else { row };
        self.array.is_valid(index).then_some(index)
    }
}

impl<'a> Col<'a, StringArray> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&'a str> {
        self.index(row).map(|i| self.array.value(i))
    }
}

impl<'a> Col<'a, BinaryArray> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<&'a [u8]> {
        self.index(row).map(|i| self.array.value(i))
    }
}

impl Col<'_, BooleanArray> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<bool> {
        self.index(row).map(|i| self.array.value(i))
    }
}

impl<T: ArrowPrimitiveType> Col<'_, PrimitiveArray<T>> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> Option<T::Native> {
        self.index(row).map(|i| self.array.value(i))
    }
}

impl<'a> Args<'a> {
    pub(crate) fn col<'b, A>(&self, i: usize, array: &'b A) -> Col<'b, A> {
        Col { array, scalar: matches!(self.values[i], ColumnarValue::Scalar(_)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn any(&self, i: usize) -> Col<'a, ArrayRef> {
        self.col(i, self.values[i].array())
    }

    pub(crate) fn str(&self, i: usize) -> Col<'a, StringArray> {
        self.col(i, self.values[i].array().as_string::<i32>())
    }

    pub(crate) fn bin(&self, i: usize) -> Col<'a, BinaryArray> {
        self.col(i, self.values[i].array().as_binary::<i32>())
    }

    pub(crate) fn bool(&self, i: usize) -> Col<'a, BooleanArray> {
        self.col(i, self.values[i].array().as_boolean())
    }

    pub(crate) fn prim<T: ArrowPrimitiveType>(&self, i: usize) -> Col<'a, PrimitiveArray<T>> {
        self.col(i, self.values[i].array().as_primitive::<T>())
    }
}

/// Makes `expr` ready to run.
///
/// # Errors
/// When a function has no implementation for these types.
pub fn compile(expr: &ScalarExpr, ctx: &EvalContext) -> Result<ExprRef, FunctionError> {
    Ok(match expr {
        ScalarExpr::Column { index, data_type, .. } => {
            Arc::new(ColumnExpr { index: *index, data_type: data_type.clone() })
        }
        ScalarExpr::Literal { value, data_type } => {
            Arc::new(LiteralExpr { value: Arc::clone(value), data_type: data_type.clone() })
        }
        ScalarExpr::Cast { input, data_type, try_cast } => Arc::new(CastExpr {
            from: input.data_type().clone(),
            input: compile(input, ctx)?,
            data_type: data_type.clone(),
            try_cast: *try_cast,
            ctx: ctx.clone(),
        }),
        ScalarExpr::Call { function, args, data_type } => {
            let compiled = args.iter().map(|arg| compile(arg, ctx)).collect::<Result<Vec<_>, _>>()?;
            let lazy = args.iter().any(ScalarExpr::can_fail);
            let data_type = data_type.clone();
            match *function {
                "CASE" => Arc::new(CaseExpr { args: compiled, lazy, data_type }),
                "AND" | "OR" => Arc::new(LogicExpr {
                    and: *function == "AND",
                    lazy: args[1].can_fail(),
                    args: compiled,
                    data_type,
                }),
                name => {
                    let Some((kernel, per_row)) = kernel(name) else {
                        return Err(FunctionError::Unknown(name.to_owned()));
                    };
                    Arc::new(CallExpr {
                        name: function,
                        kernel,
                        per_row,
                        types: args.iter().map(|a| a.data_type().clone()).collect(),
                        args: compiled,
                        data_type,
                        ctx: ctx.clone(),
                        memory: AtomicU64::new(0),
                    })
                }
            }
        }
    })
}

/// Nothing is evaluated for no rows: not even a call of constants, which could fail.
fn no_rows(data_type: &DataType) -> ColumnarValue {
    ColumnarValue::Array(arrow::array::new_empty_array(&data_type.to_arrow()))
}

#[derive(Debug)]
struct ColumnExpr {
    index: usize,
    data_type: DataType,
}

impl Expr for ColumnExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        match batch.columns().get(self.index) {
            Some(column) => Ok(ColumnarValue::Array(Arc::clone(column))),
            None => Err(EvalError(format!("the batch has no column {}", self.index))),
        }
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

#[derive(Debug)]
struct LiteralExpr {
    value: ArrayRef,
    data_type: DataType,
}

impl Expr for LiteralExpr {
    fn eval(&self, _: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        Ok(ColumnarValue::Scalar(Arc::clone(&self.value)))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

#[derive(Debug)]
struct CastExpr {
    input: ExprRef,
    from: DataType,
    data_type: DataType,
    try_cast: bool,
    ctx: EvalContext,
}

impl Expr for CastExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        if batch.num_rows() == 0 {
            return Ok(no_rows(&self.data_type));
        }
        let run =
            |array: &ArrayRef| cast::cast_array(array, &self.from, &self.data_type, self.try_cast, &self.ctx);
        Ok(match self.input.eval(batch)? {
            ColumnarValue::Array(array) => ColumnarValue::Array(run(&array)?),
            ColumnarValue::Scalar(array) => ColumnarValue::Scalar(run(&array)?),
        })
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

struct CallExpr {
    name: &'static str,
    kernel: Kernel,
    per_row: bool,
    args: Vec<ExprRef>,
    types: Vec<DataType>,
    data_type: DataType,
    ctx: EvalContext,
    memory: AtomicU64,
}

impl std::fmt::Debug for CallExpr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallExpr").field("name", &self.name).field("args", &self.args).finish()
    }
}

impl Expr for CallExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        if batch.num_rows() == 0 {
            return Ok(no_rows(&self.data_type));
        }
        let values = self.args.iter().map(|arg| arg.eval(batch)).collect::<Result<Vec<_>, _>>()?;
        let scalar = !self.per_row && values.iter().all(|v| matches!(v, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { batch.num_rows() };
        let (types, data_type, ctx, memory) = (&self.types, &self.data_type, &self.ctx, &self.memory);
        let result = (self.kernel)(&Args { values: &values, types, data_type, ctx, rows, memory })
            .map_err(|e| EvalError(format!("{}: {}", self.name, e.0)))?;
        Ok(if scalar { ColumnarValue::Scalar(result) } else { ColumnarValue::Array(result) })
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

#[derive(Debug)]
struct LogicExpr {
    and: bool,
    lazy: bool,
    args: Vec<ExprRef>,
    data_type: DataType,
}

impl Expr for LogicExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        let rows = batch.num_rows();
        let left = self.args[0].eval(batch)?.into_array(rows)?;
        let left = left.as_boolean();
        let right = if self.lazy {
            let wanted: Vec<u32> = (0..rows)
                .filter(|&i| left.is_null(i) || left.value(i) == self.and)
                .map(|i| i as u32)
                .collect();
            let part = take_record_batch(batch, &UInt32Array::from(wanted.clone()))?;
            let part = self.args[1].eval(&part)?.into_array(wanted.len())?;
            let part = part.as_boolean();
            let mut all = BooleanBuilder::with_capacity(rows);
            let mut next = 0;
            for row in 0..rows {
                if wanted.get(next) == Some(&(row as u32)) {
                    all.append_option(part.is_valid(next).then(|| part.value(next)));
                    next += 1;
                } else {
                    all.append_value(!self.and);
                }
            }
            Arc::new(all.finish()) as ArrayRef
        } else {
            self.args[1].eval(batch)?.into_array(rows)?
        };
        let kernel = if self.and { and_kleene } else { or_kleene };
        Ok(ColumnarValue::Array(Arc::new(kernel(left, right.as_boolean())?)))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

/// `when1, then1, when2, then2, …, else`.
#[derive(Debug)]
struct CaseExpr {
    args: Vec<ExprRef>,
    lazy: bool,
    data_type: DataType,
}

impl Expr for CaseExpr {
    fn eval(&self, batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        let rows = batch.num_rows();
        let (last, branches) = self.args.split_last().expect("CASE always has an ELSE");
        if !self.lazy {
            let mut result = last.eval(batch)?.into_array(rows)?;
            for pair in branches.chunks_exact(2).rev() {
                let when = pair[0].eval(batch)?.into_array(rows)?;
                let when = when.as_boolean();
                let when = if when.null_count() > 0 {
                    arrow::compute::prep_null_mask_filter(when)
                } else {
                    when.clone()
                };
                result = zip(&when, &pair[1].eval(batch)?.into_array(rows)?, &result)?;
            }
            return Ok(ColumnarValue::Array(result));
        }
        let mut sources: Vec<(usize, usize)> = vec![(0, 0); rows];
        let mut parts: Vec<ArrayRef> = Vec::new();
        let mut open: Vec<u32> = (0..rows as u32).collect();
        for pair in branches.chunks_exact(2) {
            let part = take_record_batch(batch, &UInt32Array::from(open.clone()))?;
            let when = pair[0].eval(&part)?.into_array(open.len())?;
            let when = when.as_boolean();
            let hit = |i: usize| when.is_valid(i) && when.value(i);
            let taken: Vec<u32> = (0..open.len()).filter(|&i| hit(i)).map(|i| open[i]).collect();
            open = (0..open.len()).filter(|&i| !hit(i)).map(|i| open[i]).collect();
            branch(&pair[1], batch, &taken, &mut sources, &mut parts)?;
        }
        branch(last, batch, &open, &mut sources, &mut parts)?;
        if parts.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.data_type.to_arrow())));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(interleave(&parts, &sources)?))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }
}

fn branch(
    expr: &ExprRef,
    batch: &RecordBatch,
    rows: &[u32],
    sources: &mut [(usize, usize)],
    parts: &mut Vec<ArrayRef>,
) -> Result<(), EvalError> {
    if rows.is_empty() {
        return Ok(());
    }
    let part = take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?;
    for (i, row) in rows.iter().enumerate() {
        sources[*row as usize] = (parts.len(), i);
    }
    parts.push(expr.eval(&part)?.into_array(rows.len())?);
    Ok(())
}
