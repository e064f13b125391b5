//! COUNT, SUM, $SUM0 and AVG.
//!
//! Invariant: values of a group are added one after the other in the order of arrival, so that sums of doubles agree
//! with Flink's bit for bit where the order of the input does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeTypeOp, ArrowPrimitiveType, DataType as ArrowType, Decimal128Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, i256,
};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::Accumulator;

/// `COUNT(*)` and `COUNT(x)`.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Count {
    fn add(&mut self, groups: &[u32], args: &[ArrayRef], step: i64) {
        match args.first().and_then(|arg| arg.logical_nulls()).filter(|nulls| nulls.null_count() > 0) {
            None => groups.iter().for_each(|group| self.counts[*group as usize] += step),
            Some(nulls) => {
                for (group, valid) in groups.iter().zip(nulls.iter()) {
                    self.counts[*group as usize] += if valid { step } else { 0 };
                }
            }
        }
    }
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize) {
        if groups > self.counts.len() {
            self.counts.resize(groups, 0);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, args, 1);
        Ok(())
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, args, -1);
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| self.counts[*group as usize]))))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![ArrowType::Int64]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let counts = state[0].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(group, count)| self.counts[*group as usize] += count);
        Ok(())
    }

    fn running(
        &mut self,
        groups: &[u32],
        args: &[ArrayRef],
        retract: Option<&[bool]>,
    ) -> OperatorResult<ArrayRef> {
        let nulls = args.first().and_then(|arg| arg.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
        let mut results = Vec::with_capacity(groups.len());
        match (nulls, retract) {
            (None, None) => results.extend(groups.iter().map(|group| {
                let count = &mut self.counts[*group as usize];
                *count += 1;
                *count
            })),
            (nulls, retract) => {
                for (row, group) in groups.iter().enumerate() {
                    let count = &mut self.counts[*group as usize];
                    if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                        *count += if retract.is_some_and(|retract| retract[row]) { -1 } else { 1 };
                    }
                    results.push(*count);
                }
            }
        }
        Ok(Arc::new(Int64Array::from(results)))
    }
}

/// The accumulator of SUM over a column of type `argument`.
pub(super) fn sum(
    argument: &ArrowType,
    result: ArrowType,
    zero: bool,
) -> OperatorResult<Box<dyn Accumulator>> {
    Ok(match argument {
        ArrowType::Int8 => Box::new(Sum::<Int8Type>::new(result, zero)),
        ArrowType::Int16 => Box::new(Sum::<Int16Type>::new(result, zero)),
        ArrowType::Int32 => Box::new(Sum::<Int32Type>::new(result, zero)),
        ArrowType::Int64 => Box::new(Sum::<Int64Type>::new(result, zero)),
        ArrowType::Float32 => Box::new(Sum::<Float32Type>::new(result, zero)),
        ArrowType::Float64 => Box::new(Sum::<Float64Type>::new(result, zero)),
        ArrowType::Decimal128(..) => Box::new(Sum::<Decimal128Type>::new(result, zero)),
        other => {
            return Err(OperatorError::fatal(format!("SUM does not take an argument of Arrow type {other}")));
        }
    })
}

struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    /// Values added so far, NULLs apart.
    counts: Vec<i64>,
    data_type: ArrowType,
    /// 0 instead of NULL of no values.
    zero: bool,
    initial: T::Native,
}

impl<T: ArrowPrimitiveType> Sum<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn new(data_type: ArrowType, zero: bool) -> Self {
        // Adding to -0.0 leaves every double as it is, 0.0 would turn -0.0 into 0.0.
        let initial = if zero { T::Native::ZERO } else { T::Native::ZERO.neg_wrapping() };
        Self { sums: Vec::new(), counts: Vec::new(), data_type, zero, initial }
    }

    #[inline]
    fn step(&mut self, group: u32, value: T::Native, count: i64, retract: bool) {
        let group = group as usize;
        let (sum, total) = (self.sums[group], self.counts[group]);
        if retract {
            self.sums[group] = sum.sub_wrapping(value);
            self.counts[group] = total - count;
        } else {
            self.sums[group] = sum.add_wrapping(value);
            self.counts[group] = total + count;
        }
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, retract: bool) -> OperatorResult<()> {
        let values = values.as_primitive::<T>();
        match values.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                for (group, value) in groups.iter().zip(values.values()) {
                    self.step(*group, *value, 1, retract);
                }
            }
            Some(nulls) => {
                for ((group, value), valid) in groups.iter().zip(values.values()).zip(nulls.iter()) {
                    if valid {
                        self.step(*group, *value, 1, retract);
                    }
                }
            }
        }
        self.check(groups)
    }

    /// A decimal sum of more than 38 digits has no value.
    fn check(&self, groups: &[u32]) -> OperatorResult<()> {
        if !matches!(self.data_type, ArrowType::Decimal128(..)) {
            return Ok(());
        }
        let sums: &dyn std::any::Any = &self.sums;
        let Some(sums) = sums.downcast_ref::<Vec<i128>>() else { return Ok(()) };
        const LIMIT: u128 = 10u128.pow(38);
        if groups.iter().any(|group| sums[*group as usize].unsigned_abs() >= LIMIT) {
            return Err(OperatorError::fatal(
                "a SUM or AVG of decimals exceeds 38 digits; cast the argument to DOUBLE or to fewer digits",
            ));
        }
        Ok(())
    }

    fn array(&self, sums: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
        let nulls = nulls.filter(|nulls| !self.zero && nulls.null_count() > 0);
        Arc::new(
            PrimitiveArray::<T>::new(ScalarBuffer::from(sums), nulls).with_data_type(self.data_type.clone()),
        )
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Sum<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn grow(&mut self, groups: usize) {
        if groups > self.sums.len() {
            self.sums.resize(groups, self.initial);
            self.counts.resize(groups, 0);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, &args[0], false)
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.add(groups, &args[0], true)
    }

    fn reset(&mut self, group: u32) {
        self.sums[group as usize] = self.initial;
        self.counts[group as usize] = 0;
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        let sums = groups.iter().map(|group| self.sums[*group as usize]).collect();
        let nulls = NullBuffer::from_iter(groups.iter().map(|group| self.counts[*group as usize] != 0));
        Ok(self.array(sums, Some(nulls)))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![self.data_type.clone(), ArrowType::Int64]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let sums = groups.iter().map(|group| self.sums[*group as usize]).collect();
        let counts = groups.iter().map(|group| self.counts[*group as usize]).collect::<Vec<_>>();
        Ok(vec![self.array(sums, None), Arc::new(Int64Array::from(counts))])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let sums = state[0].as_primitive::<T>().values();
        let counts = state[1].as_primitive::<Int64Type>().values();
        for ((group, sum), count) in groups.iter().zip(sums).zip(counts) {
            self.step(*group, *sum, *count, false);
        }
        self.check(groups)
    }

    fn running(
        &mut self,
        groups: &[u32],
        args: &[ArrayRef],
        retract: Option<&[bool]>,
    ) -> OperatorResult<ArrayRef> {
        let values = args[0].as_primitive::<T>();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut sums = Vec::with_capacity(groups.len());
        let mut valid = Vec::with_capacity(groups.len());
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                self.step(*group, *value, 1, retract.is_some_and(|retract| retract[row]));
            }
            sums.push(self.sums[*group as usize]);
            valid.push(self.counts[*group as usize] != 0);
        }
        self.check(groups)?;
        Ok(self.array(sums, Some(NullBuffer::from(valid))))
    }
}

/// The accumulator of AVG over a column of type `argument`.
pub(super) fn avg(argument: &ArrowType, result: ArrowType) -> OperatorResult<Box<dyn Accumulator>> {
    Ok(match argument {
        ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32 | ArrowType::Int64 => {
            Box::new(Avg::<Int64Type> {
                sum: Sum::new(ArrowType::Int64, false),
                result,
                divide: Box::new(|sum, count| sum.wrapping_div(count)),
            })
        }
        ArrowType::Float32 | ArrowType::Float64 => Box::new(Avg::<Float64Type> {
            sum: Sum::new(ArrowType::Float64, false),
            result,
            divide: Box::new(|sum, count| sum / count as f64),
        }),
        ArrowType::Decimal128(_, scale) => {
            let ArrowType::Decimal128(_, result_scale) = result else {
                return Err(OperatorError::fatal("AVG of decimals must give a DECIMAL"));
            };
            let shift = u8::try_from(result_scale - scale).unwrap_or(0);
            Box::new(Avg::<Decimal128Type> {
                sum: Sum::new(ArrowType::Decimal128(38, *scale), false),
                result,
                divide: Box::new(move |sum, count| divide_half_up(sum, count, shift)),
            })
        }
        other => {
            return Err(OperatorError::fatal(format!("AVG does not take an argument of Arrow type {other}")));
        }
    })
}

/// `sum * 10^shift / count`, rounded half away from zero.
fn divide_half_up(sum: i128, count: i64, shift: u8) -> i128 {
    let scaled = i256::from_i128(sum).wrapping_mul(i256::from_i128(10i128.pow(u32::from(shift))));
    let count = i256::from_i128(i128::from(count));
    let quotient = scaled.wrapping_div(count);
    let rest = scaled.wrapping_sub(quotient.wrapping_mul(count)).wrapping_abs();
    let up = rest.wrapping_add(rest) >= count.wrapping_abs();
    let away = if (sum < 0) == (count < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    (if up { quotient.wrapping_add(away) } else { quotient }).as_i128()
}

type Divide<N> = Box<dyn Fn(N, i64) -> N + Send>;

struct Avg<T: ArrowPrimitiveType> {
    /// Over the argument widened to BIGINT or DOUBLE.
    sum: Sum<T>,
    result: ArrowType,
    divide: Divide<T::Native>,
}

impl<T: ArrowPrimitiveType> Avg<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn widened(&self, args: &[ArrayRef]) -> OperatorResult<ArrayRef> {
        let widen = args[0].data_type() != &T::DATA_TYPE && !matches!(self.result, ArrowType::Decimal128(..));
        Ok(if widen { cast(&args[0], &T::DATA_TYPE)? } else { args[0].clone() })
    }

    fn results(&self, pairs: impl Iterator<Item = (T::Native, i64)>) -> OperatorResult<ArrayRef> {
        let values = pairs.map(|(sum, count)| (count != 0).then(|| (self.divide)(sum, count)));
        let values = values.collect::<PrimitiveArray<T>>();
        if matches!(self.result, ArrowType::Decimal128(..)) {
            return Ok(Arc::new(values.with_data_type(self.result.clone())));
        }
        let values: ArrayRef = Arc::new(values);
        Ok(if values.data_type() == &self.result { values } else { cast(&values, &self.result)? })
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Avg<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn grow(&mut self, groups: usize) {
        self.sum.grow(groups);
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.sum.add(groups, &self.widened(args)?, false)
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        self.sum.add(groups, &self.widened(args)?, true)
    }

    fn reset(&mut self, group: u32) {
        self.sum.reset(group);
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        self.results(groups.iter().map(|g| (self.sum.sums[*g as usize], self.sum.counts[*g as usize])))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        self.sum.state_types()
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        self.sum.state(groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        self.sum.merge(groups, state)
    }

    fn running(
        &mut self,
        groups: &[u32],
        args: &[ArrayRef],
        retract: Option<&[bool]>,
    ) -> OperatorResult<ArrayRef> {
        let values = self.widened(args)?;
        let values = values.as_primitive::<T>();
        let mut pairs = Vec::with_capacity(groups.len());
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if values.is_valid(row) {
                self.sum.step(*group, *value, 1, retract.is_some_and(|retract| retract[row]));
            }
            pairs.push((self.sum.sums[*group as usize], self.sum.counts[*group as usize]));
        }
        self.sum.check(groups)?;
        self.results(pairs.into_iter())
    }
}
