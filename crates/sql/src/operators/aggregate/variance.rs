//! STDDEV and VAR: count, mean and squared distance from it, updated a value at a time and merged pairwise.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Float64Type};
use streamkeeper_dataflow::OperatorResult;

use super::Accumulator;
use crate::operators::spec::AggregateFunction;

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

pub(super) struct Variance {
    groups: Vec<Moments>,
    function: AggregateFunction,
    result: ArrowType,
}

impl Variance {
    pub(super) fn new(function: AggregateFunction, result: ArrowType) -> Self {
        Self { groups: Vec::new(), function, result }
    }
}

impl Accumulator for Variance {
    fn grow(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize(groups, Moments::default());
        }
    }

    fn update(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let values = cast(&args[0], &ArrowType::Float64)?;
        for (group, value) in groups.iter().zip(values.as_primitive::<Float64Type>()) {
            if let Some(value) = value {
                let m = &mut self.groups[*group as usize];
                m.count += 1.0;
                let delta = value - m.mean;
                m.mean += delta / m.count;
                m.squares += delta * (value - m.mean);
            }
        }
        Ok(())
    }

    fn retract(&mut self, groups: &[u32], args: &[ArrayRef]) -> OperatorResult<()> {
        let values = cast(&args[0], &ArrowType::Float64)?;
        for (group, value) in groups.iter().zip(values.as_primitive::<Float64Type>()) {
            if let Some(value) = value {
                let m = &mut self.groups[*group as usize];
                if m.count <= 1.0 {
                    *m = Moments::default();
                    continue;
                }
                m.count -= 1.0;
                let delta = value - m.mean;
                m.mean -= delta / m.count;
                m.squares -= delta * (value - m.mean);
            }
        }
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        self.groups[group as usize] = Moments::default();
    }

    fn evaluate(&self, groups: &[u32]) -> OperatorResult<ArrayRef> {
        let sample = matches!(self.function, AggregateFunction::StddevSamp | AggregateFunction::VarSamp);
        let root = matches!(self.function, AggregateFunction::StddevSamp | AggregateFunction::StddevPop);
        let values = groups.iter().map(|group| {
            let m = self.groups[*group as usize];
            let divisor = if sample { m.count - 1.0 } else { m.count };
            let variance = (divisor > 0.0).then(|| m.squares / divisor)?;
            // Flink takes the root by POWER(x, 0.5).
            Some(if root { variance.powf(0.5) } else { variance })
        });
        let values: ArrayRef = Arc::new(values.collect::<Float64Array>());
        let options = CastOptions { safe: true, ..CastOptions::default() };
        Ok(cast_with_options(&values, &self.result, &options)?)
    }

    fn state_types(&self) -> Vec<ArrowType> {
        vec![ArrowType::Float64; 3]
    }

    fn state(&self, groups: &[u32]) -> OperatorResult<Vec<ArrayRef>> {
        let column = |pick: fn(&Moments) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|g| pick(&self.groups[*g as usize]))))
        };
        Ok(vec![column(|m| m.count), column(|m| m.mean), column(|m| m.squares)])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> OperatorResult<()> {
        let [counts, means, squares] = [0, 1, 2].map(|i| state[i].as_primitive::<Float64Type>().values());
        for (row, group) in groups.iter().enumerate() {
            let m = &mut self.groups[*group as usize];
            let count = m.count + counts[row];
            if counts[row] > 0.0 {
                let delta = means[row] - m.mean;
                m.squares += squares[row] + delta * delta * m.count * counts[row] / count;
                m.mean += delta * counts[row] / count;
                m.count = count;
            }
        }
        Ok(())
    }
}
