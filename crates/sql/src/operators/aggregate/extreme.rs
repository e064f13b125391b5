//! MIN and MAX over rows that are never taken back: the best value so far of each group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Date32Type, Decimal128Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

use super::Accumulator;
use super::rows::RowCodec;

/// The accumulator of MIN, or MAX (`greatest`), over a column of type `argument`.
pub(super) fn extreme(argument: &ArrowType, greatest: bool) -> OperatorResult<Box<dyn Accumulator>> {
    fn of<T: ArrowPrimitiveType>(data_type: &ArrowType, greatest: bool) -> Box<dyn Accumulator> {
        let data_type = data_type.clone();
        Box::new(Extreme::<T> { values: Vec::new(), present: Vec::new(), data_type, greatest })
    }
    Ok(match argument {
        ArrowType::Int8 => of::<Int8Type>(argument, greatest),
        ArrowType::Int16 => of::<Int16Type>(argument, greatest),
        ArrowType::Int32 => of::<Int32Type>(argument, greatest),
        ArrowType::Int64 => of::<Int64Type>(argument, greatest),
        ArrowType::Float32 => of::<Float32Type>(argument, greatest),
        ArrowType::Float64 => of::<Float64Type>(argument, greatest),
        ArrowType::Decimal128(..) => of::<Decimal128Type>(argument, greatest),
        ArrowType::Date32 => of::<Date32Type>(argument, greatest),
        ArrowType::Time32(TimeUnit::Millisecond) => of::<Time32MillisecondType>(argument, greatest),
        ArrowType::Timestamp(TimeUnit::Millisecond, _) => of::<TimestampMillisecondType>(argument, greatest),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(argument, greatest),
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => of::<TimestampNanosecondType>(argument, greatest),
        other => {
            let codec = RowCodec::new(other)?;
            Box::new(ExtremeRows { codec, values: Vec::new(), greatest })
        }
    })
}

struct Extreme<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    present: Vec<bool>,
    data_type: ArrowType,
    greatest: bool,
}

impl<T: ArrowPrimitiveType> Extreme<T> {
    #[inline]
    fn step(&mut self, group: u32, value: T::Native) {
        let group = group as usize;
        let held = self.values[group];
        let better = if self.greatest { value > held } else { value < held };
        if better || !self.present[group] {
            self.values[group] = value;
            self.present[group] = true;
        }
    }

    fn array(&self, values: Vec<T::Native>, present: Vec<bool>) -> ArrayRef {
        let nulls = Some(NullBuffer::from(present)).filter(|nulls| nulls.null_count() > 0);
        Arc::new(
            PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)
                .with_data_type(self.data_type.clone()),
        )
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Extreme<T> {
    fn grow(&mut self, groups: usize) {
        if groups > self.values.len() {
            self.values.resize(groups, T::default_value());
            self.present.resize(groups, false);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let values = args[0].as_primitive::<T>();
        match values.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => groups.iter().zip(values.values()).for_each(|(group, value)| self.step(*group, *value)),
            Some(nulls) => {
                for ((group, value), valid) in groups.iter().zip(values.values()).zip(nulls.iter()) {
                    if valid {
                        self.step(*group, *value);
                    }
                }
            }
        }
        Ok(())
    }

    fn retract(&mut self, _groups: &[u32], _args: &[ArrayRef]) -> OperatorResult<()> {
        Err(OperatorError::fatal("MIN and MAX were planned for inserts only, but a row was retracted"))
    }

    fn reset(&mut self, group: u32) {
        self.present[group as usize] = false;
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        let values = groups.iter().map(|group| self.values[*group as usize]).collect();
        let present = groups.iter().map(|group| self.present[*group as usize]).collect();
        Ok(self.array(values, present))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![self.data_type.clone()]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        self.update(groups, state)
    }

    fn running(
        &mut self,
        groups: &[u32],
        args: &[ArrayRef],
        retract: Option<&[bool]>,
    ) -> OperatorResult<ArrayRef> {
        if retract.is_some_and(|retract| retract.contains(&true)) {
            self.retract(groups, args)?;
        }
        let column = args[0].as_primitive::<T>();
        let mut values = Vec::with_capacity(groups.len());
        let mut present = Vec::with_capacity(groups.len());
        for (row, (group, value)) in groups.iter().zip(column.values()).enumerate() {
            if column.is_valid(row) {
                self.step(*group, *value);
            }
            values.push(self.values[*group as usize]);
            present.push(self.present[*group as usize]);
        }
        Ok(self.array(values, present))
    }
}

/// The same for text and booleans, in an encoding that sorts as the values do.
struct ExtremeRows {
    codec: RowCodec,
    values: Vec<Option<Box<[u8]>>>,
    greatest: bool,
}

impl Accumulator for ExtremeRows {
    fn grow(&mut self, groups: usize) {
        if groups > self.values.len() {
            self.values.resize(groups, None);
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let rows = self.codec.encode(&args[0])?;
        for (row, group) in groups.iter().enumerate() {
            if args[0].is_null(row) {
                continue;
            }
            let value = rows.row(row);
            let held = &mut self.values[*group as usize];
            let better = held
                .as_deref()
                .is_none_or(|held| if self.greatest { value.data() > held } else { value.data() < held });
            if better {
                *held = Some(value.data().into());
            }
        }
        Ok(())
    }

    fn retract(&mut self, _groups: &[u32], _args: &[ArrayRef]) -> OperatorResult<()> {
        Err(OperatorError::fatal("MIN and MAX were planned for inserts only, but a row was retracted"))
    }

    fn reset(&mut self, group: u32) {
        self.values[group as usize] = None;
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        self.codec.decode(groups.iter().map(|group| self.values[*group as usize].as_deref()))
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![self.codec.data_type.clone()]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        self.update(groups, state)
    }
}
