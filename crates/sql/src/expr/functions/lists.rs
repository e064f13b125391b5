//! Functions on arrays.
//!
//! Invariant: a resulting array is a choice of elements of the arguments; elements are moved by one gather a batch, and
//! compared by their row encoding, in which NULLs are equal and come first.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType as ArrowType, Int32Type, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::string::texts;
use crate::expr::eval::Args;
use crate::expr::{ColumnarValue, EvalError};

/// An argument that is an array: where in `values` the elements of a row are.
pub(crate) struct Lists<'a> {
    list: &'a ListArray,
    scalar: bool,
}

impl<'a> Lists<'a> {
    pub(crate) fn new(a: &'a Args<'_>, i: usize) -> Self {
        let value = &a.values[i];
        Self { list: value.array().as_list::<i32>(), scalar: matches!(value, ColumnarValue::Scalar(_)) }
    }

    pub(crate) fn get(&self, row: usize) -> Option<Range<usize>> {
        let row = if self.scalar { 0 } else { row };
        let offsets = self.list.value_offsets();
        self.list.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
    }

    pub(crate) fn values(&self) -> &'a ArrayRef {
        self.list.values()
    }
}

/// An element as `(which source, which place in it)`.
pub(crate) type Place = (usize, usize);

/// The chosen elements of each row as arrays of the call's type; NULL where `choose` gives `None`.
pub(crate) fn gather(
    a: &Args<'_>,
    sources: &[&dyn Array],
    mut choose: impl FnMut(usize, &mut Vec<Place>) -> Result<Option<()>, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let (mut places, mut valid) = (Vec::new(), Vec::with_capacity(a.rows));
    let mut offsets = vec![0_i32];
    for row in 0..a.rows {
        let start = places.len();
        let chosen = choose(row, &mut places)?;
        if chosen.is_none() {
            places.truncate(start);
        }
        valid.push(chosen.is_some());
        let end = i32::try_from(places.len());
        offsets.push(end.map_err(|_| EvalError("the arrays of a batch have too many elements".into()))?);
    }
    let ArrowType::List(item) = a.data_type.to_arrow() else {
        return Err(EvalError(format!("{} is no array", a.data_type.kind)));
    };
    let values = interleave(sources, &places)?;
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(Arc::new(ListArray::try_new(item, offsets, values, Some(NullBuffer::from(valid)))?))
}

/// Encodes arrays of one type so that they can be compared.
pub(crate) fn encoded(arrays: &[&ArrayRef]) -> Result<Vec<Rows>, EvalError> {
    let converter = RowConverter::new(vec![SortField::new(arrays[0].data_type().clone())])?;
    arrays.iter().map(|array| Ok(converter.convert_columns(&[Arc::clone(array)])?)).collect()
}

/// `ARRAY[a, b, …]`.
pub(crate) fn array(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let sources: Vec<&dyn Array> = a.values.iter().map(|v| v.array().as_ref()).collect();
    gather(a, &sources, |row, places| {
        places.extend(a.values.iter().enumerate().map(|(i, value)| (i, place(value, row))));
        Ok(Some(()))
    })
}

pub(crate) fn place(value: &ColumnarValue, row: usize) -> usize {
    if matches!(value, ColumnarValue::Scalar(_)) { 0 } else { row }
}

/// The arguments in this order, of which the first is an array and the second an element.
pub(crate) fn concat(a: &Args<'_>, order: &[usize]) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    gather(a, &[lists.values(), a.values[1].array()], |row, places| {
        let Some(range) = lists.get(row) else { return Ok(None) };
        for source in order {
            match source {
                0 => places.extend(range.clone().map(|i| (0, i))),
                _ => places.push((1, place(&a.values[1], row))),
            }
        }
        Ok(Some(()))
    })
}

pub(crate) fn concat_all(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists: Vec<_> = (0..a.len()).map(|i| Lists::new(a, i)).collect();
    let sources: Vec<&dyn Array> = lists.iter().map(|l| l.values().as_ref()).collect();
    gather(a, &sources, |row, places| {
        for (source, list) in lists.iter().enumerate() {
            let Some(range) = list.get(row) else { return Ok(None) };
            places.extend(range.map(|i| (source, i)));
        }
        Ok(Some(()))
    })
}

/// Different elements of the first array, if `keep(place, it is in the second array)`.
pub(crate) fn set(a: &Args<'_>, keep: fn(usize, bool) -> bool) -> Result<ArrayRef, EvalError> {
    let lists: Vec<_> = (0..a.len()).map(|i| Lists::new(a, i)).collect();
    let rows = encoded(&lists.iter().map(Lists::values).collect::<Vec<_>>())?;
    let (mut seen, mut second) = (HashSet::new(), HashSet::new());
    gather(a, &[lists[0].values()], |row, places| {
        seen.clear();
        second.clear();
        let Some(range) = lists[0].get(row) else { return Ok(None) };
        if let Some(other) = lists.get(1) {
            let Some(range) = other.get(row) else { return Ok(None) };
            second.extend(range.map(|i| rows[1].row(i)));
        }
        places.extend(
            range
                .filter(|&i| keep(i, second.contains(&rows[0].row(i))) && seen.insert(rows[0].row(i)))
                .map(|i| (0, i)),
        );
        Ok(Some(()))
    })
}

pub(crate) fn union(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists = [Lists::new(a, 0), Lists::new(a, 1)];
    let rows = encoded(&[lists[0].values(), lists[1].values()])?;
    let mut seen = HashSet::new();
    gather(a, &[lists[0].values(), lists[1].values()], |row, places| {
        seen.clear();
        for (source, list) in lists.iter().enumerate() {
            let Some(range) = list.get(row) else { return Ok(None) };
            places.extend(range.filter(|&i| seen.insert(rows[source].row(i))).map(|i| (source, i)));
        }
        Ok(Some(()))
    })
}

/// Where the wanted element of a row is in its array, from 0.
fn found(a: &Args<'_>) -> Result<Vec<Option<Option<usize>>>, EvalError> {
    let lists = Lists::new(a, 0);
    let rows = encoded(&[lists.values(), a.values[1].array()])?;
    let one = |row| {
        let wanted = rows[1].row(place(&a.values[1], row));
        lists.get(row).map(|mut range| range.position(|i| rows[0].row(i) == wanted))
    };
    Ok((0..a.rows).map(one).collect())
}

pub(crate) fn contains(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let found = found(a)?.into_iter().map(|at| at.map(|at| at.is_some()));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

pub(crate) fn position(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let wanted = a.any(1);
    let one = |(row, at): (usize, Option<Option<usize>>)| {
        wanted.index(row)?;
        at.map(|at| at.map_or(0, |at| at as i32 + 1))
    };
    Ok(Arc::new(found(a)?.into_iter().enumerate().map(one).collect::<Int32Array>()))
}

pub(crate) fn remove(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    let rows = encoded(&[lists.values(), a.values[1].array()])?;
    gather(a, &[lists.values()], |row, places| {
        let wanted = rows[1].row(place(&a.values[1], row));
        let Some(range) = lists.get(row) else { return Ok(None) };
        places.extend(range.filter(|&i| rows[0].row(i) != wanted).map(|i| (0, i)));
        Ok(Some(()))
    })
}

pub(crate) fn reverse(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    gather(a, &[lists.values()], |row, places| {
        let Some(range) = lists.get(row) else { return Ok(None) };
        places.extend(range.rev().map(|i| (0, i)));
        Ok(Some(()))
    })
}

/// `ARRAY_SLICE(array, start, end)`: both count from 1, or from the end when negative; 0 is 1.
pub(crate) fn slice(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (lists, start) = (Lists::new(a, 0), a.prim::<Int32Type>(1));
    let end = (a.len() > 2).then(|| a.prim::<Int32Type>(2));
    gather(a, &[lists.values()], |row, places| {
        let (Some(range), Some(start)) = (lists.get(row), start.get(row)) else { return Ok(None) };
        let length = range.len() as i64;
        let at = |place: i32| match i64::from(place) {
            0 => 1,
            place @ 1.. => place,
            place => length + place + 1,
        };
        let end = match &end {
            Some(end) => match end.get(row) {
                Some(end) => at(end).min(length),
                None => return Ok(None),
            },
            None => length,
        };
        places.extend((at(start).max(1)..=end).map(|i| (0, range.start + i as usize - 1)));
        Ok(Some(()))
    })
}

/// `ARRAY_SORT(array, ascending, NULLs first)`.
pub(crate) fn sort(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    let rows = encoded(&[lists.values()])?.remove(0);
    let (ascending, first) = ((a.len() > 1).then(|| a.bool(1)), (a.len() > 2).then(|| a.bool(2)));
    gather(a, &[lists.values()], |row, places| {
        let Some(range) = lists.get(row) else { return Ok(None) };
        let ascending = match &ascending {
            Some(ascending) => ascending.get(row),
            None => Some(true),
        };
        let first = match &first {
            Some(first) => first.get(row),
            None => ascending,
        };
        let (Some(ascending), Some(first)) = (ascending, first) else { return Ok(None) };
        let null = |i: usize| lists.values().is_null(i);
        let mut order: Vec<usize> = range.clone().filter(|&i| !null(i)).collect();
        order.sort_by(|&x, &y| {
            let order = rows.row(x).cmp(&rows.row(y));
            if ascending { order } else { order.reverse() }
        });
        let nulls = range.filter(|&i| null(i));
        if first {
            places.extend(nulls.chain(order).map(|i| (0, i)));
        } else {
            places.extend(order.into_iter().chain(nulls).map(|i| (0, i)));
        }
        Ok(Some(()))
    })
}

/// The chosen element of each row's array.
pub(crate) fn pick(
    a: &Args<'_>,
    values: &ArrayRef,
    choose: impl Fn(usize) -> Result<Option<usize>, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let rows = (0..a.rows).map(|row| Ok(choose(row)?.map(|i| i as u32)));
    let places = rows.collect::<Result<arrow::array::UInt32Array, EvalError>>()?;
    Ok(arrow::compute::take(values, &places, None)?)
}

pub(crate) fn extreme(a: &Args<'_>, greatest: bool) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    let values = lists.values();
    let rows = encoded(&[values])?.remove(0);
    pick(a, values, |row| {
        let Some(range) = lists.get(row) else { return Ok(None) };
        let filled = range.filter(|&i| values.is_valid(i));
        let order = |x: &usize, y: &usize| rows.row(*x).cmp(&rows.row(*y));
        Ok(if greatest { filled.max_by(order) } else { filled.min_by(order) })
    })
}

pub(crate) fn element(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let lists = Lists::new(a, 0);
    pick(a, lists.values(), |row| match lists.get(row) {
        Some(range) if range.len() > 1 => {
            Err(EvalError(format!("the array has {} elements, more than one", range.len())))
        }
        Some(range) => Ok(range.into_iter().next()),
        None => Ok(None),
    })
}

/// NULLs are left out, or replaced by the third argument.
pub(crate) fn join(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (lists, separator) = (Lists::new(a, 0), a.str(1));
    let values: &StringArray = lists.values().as_string();
    let instead = (a.len() > 2).then(|| a.str(2));
    texts(a, |row, out| {
        let (range, separator) = (lists.get(row)?, separator.get(row)?);
        let instead = match &instead {
            Some(instead) => Some(instead.get(row)?),
            None => None,
        };
        let parts = range.filter_map(|i| if values.is_valid(i) { Some(values.value(i)) } else { instead });
        for (n, part) in parts.enumerate() {
            if n > 0 {
                out.push_str(separator);
            }
            out.push_str(part);
        }
        Some(())
    })
}

/// `ELT(n, a, b, …)`: the n-th of the others, NULL when there are fewer or n is 0.
pub(crate) fn choose(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let index = a.prim::<Int64Type>(0);
    let null = new_null_array(a.values[1].array().data_type(), 1);
    let mut sources: Vec<&dyn Array> = vec![&null];
    sources.extend(a.values[1..].iter().map(|v| v.array().as_ref()));
    let one = |row| match index.get(row) {
        Some(negative) if negative < 0 => {
            Err(EvalError(format!("the index has to be 0 or more, but was {negative}")))
        }
        Some(n) => match usize::try_from(n).ok().filter(|n| (1..a.len()).contains(n)) {
            Some(n) => Ok((n, place(&a.values[n], row))),
            None => Ok((0, 0)),
        },
        None => Ok((0, 0)),
    };
    let places = (0..a.rows).map(one).collect::<Result<Vec<Place>, _>>()?;
    Ok(interleave(&sources, &places)?)
}
