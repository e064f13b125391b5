//! Functions on maps and rows, and the access to elements.
//!
//! Invariant: the entries of a map stay in the order in which its keys first came; of equal keys the last value counts.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, MapArray, StructArray, make_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{DataType as ArrowType, Int32Type};
use streamkeeper_connectors::schema::TypeKind;

use super::lists::{Lists, Place, encoded, pick, place};
use crate::expr::eval::Args;
use crate::expr::{ColumnarValue, EvalError};

/// The text of a constant.
pub(crate) fn text(value: &ArrayRef) -> Option<&str> {
    value.as_string_opt::<i32>().filter(|s| s.len() == 1 && s.is_valid(0)).map(|s| s.value(0))
}

fn entries(a: &Args<'_>, i: usize, row: usize) -> Option<std::ops::Range<usize>> {
    let map = a.values[i].array().as_map();
    let row = place(&a.values[i], row);
    let offsets = map.value_offsets();
    map.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
}

/// Collects entries; an entry is a place of its key and one of its value.
struct Entries {
    keys: Vec<Place>,
    values: Vec<Place>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Entries {
    fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), offsets: vec![0], valid: Vec::new() }
    }

    fn push(&mut self, entries: Option<Vec<(Place, Place)>>) -> Result<(), EvalError> {
        self.valid.push(entries.is_some());
        for (key, value) in entries.into_iter().flatten() {
            self.keys.push(key);
            self.values.push(value);
        }
        let end = i32::try_from(self.keys.len());
        self.offsets.push(end.map_err(|_| EvalError("the maps of a batch have too many entries".into()))?);
        Ok(())
    }

    fn finish(self, a: &Args<'_>, keys: &[&dyn Array], values: &[&dyn Array]) -> Result<ArrayRef, EvalError> {
        let ArrowType::Map(field, sorted) = a.data_type.to_arrow() else {
            return Err(EvalError(format!("{} is no map", a.data_type.kind)));
        };
        let ArrowType::Struct(fields) = field.data_type().clone() else {
            return Err(EvalError("a map has entries of keys and values".into()));
        };
        let keys = interleave(keys, &self.keys)?;
        if keys.null_count() > 0 {
            return Err(EvalError("a key of a map is NULL".into()));
        }
        let columns = vec![keys, interleave(values, &self.values)?];
        let entries = StructArray::try_new(fields, columns, None)?;
        let (offsets, nulls) = (OffsetBuffer::new(self.offsets.into()), NullBuffer::from(self.valid));
        Ok(Arc::new(MapArray::try_new(field, offsets, entries, Some(nulls), sorted)?))
    }
}

/// `MAP[k1, v1, k2, v2, …]`.
pub(crate) fn map(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let side = |odd: usize| a.values.iter().skip(odd).step_by(2).collect::<Vec<&ColumnarValue>>();
    let (keys, values) = (side(0), side(1));
    let rows = encoded(&keys.iter().map(|k| k.array()).collect::<Vec<_>>())?;
    let mut result = Entries::new();
    for row in 0..a.rows {
        let mut known: HashMap<arrow::row::Row<'_>, usize> = HashMap::new();
        let mut entries: Vec<(Place, Place)> = Vec::with_capacity(keys.len());
        for (i, (key, value)) in keys.iter().zip(&values).enumerate() {
            let (key, value) = ((i, place(key, row)), (i, place(value, row)));
            match known.get(&rows[i].row(key.1)) {
                Some(at) => entries[*at].1 = value,
                None => {
                    known.insert(rows[i].row(key.1), entries.len());
                    entries.push((key, value));
                }
            }
        }
        result.push(Some(entries))?;
    }
    let arrays = |side: &[&ColumnarValue]| side.iter().map(|v| Arc::clone(v.array())).collect::<Vec<_>>();
    let (keys, values) = (arrays(&keys), arrays(&values));
    result.finish(a, &dynamic(&keys), &dynamic(&values))
}

fn dynamic(arrays: &[ArrayRef]) -> Vec<&dyn Array> {
    arrays.iter().map(AsRef::as_ref).collect()
}

/// `MAP_UNION(m1, m2, …)`: a later map's value counts.
pub(crate) fn union(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let sides = |f: fn(&MapArray) -> &ArrayRef| {
        a.values.iter().map(|v| Arc::clone(f(v.array().as_map()))).collect::<Vec<_>>()
    };
    let (keys, values) = (sides(MapArray::keys), sides(MapArray::values));
    let rows = encoded(&keys.iter().collect::<Vec<_>>())?;
    let mut result = Entries::new();
    for row in 0..a.rows {
        let mut known: HashMap<arrow::row::Row<'_>, usize> = HashMap::new();
        let mut all: Vec<(Place, Place)> = Vec::new();
        let mut null = false;
        for (i, rows) in rows.iter().enumerate() {
            let Some(range) = entries(a, i, row) else {
                null = true;
                break;
            };
            for at in range {
                match known.get(&rows.row(at)) {
                    Some(known) => all[*known].1 = (i, at),
                    None => {
                        known.insert(rows.row(at), all.len());
                        all.push(((i, at), (i, at)));
                    }
                }
            }
        }
        result.push((!null).then_some(all))?;
    }
    result.finish(a, &dynamic(&keys), &dynamic(&values))
}

pub(crate) fn from_arrays(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (keys, values) = (Lists::new(a, 0), Lists::new(a, 1));
    let mut result = Entries::new();
    for row in 0..a.rows {
        let (Some(k), Some(v)) = (keys.get(row), values.get(row)) else {
            result.push(None)?;
            continue;
        };
        if k.len() != v.len() {
            return Err(EvalError(format!("there are {} keys, but {} values", k.len(), v.len())));
        }
        result.push(Some(k.zip(v).map(|(k, v)| ((0, k), (0, v))).collect()))?;
    }
    result.finish(a, &[keys.values()], &[values.values()])
}

/// The keys (0), the values (1) or both as an array.
pub(crate) fn parts(a: &Args<'_>, column: Option<usize>) -> Result<ArrayRef, EvalError> {
    let map = a.values[0].array().as_map();
    let ArrowType::List(item) = a.data_type.to_arrow() else {
        return Err(EvalError(format!("{} is no array", a.data_type.kind)));
    };
    let values: ArrayRef = match (column, item.data_type()) {
        (Some(column), _) => Arc::clone(map.entries().column(column)),
        (None, ArrowType::Struct(fields)) => {
            Arc::new(StructArray::try_new(fields.clone(), map.entries().columns().to_vec(), None)?)
        }
        (None, other) => return Err(EvalError(format!("an entry is a row, not {other}"))),
    };
    Ok(Arc::new(ListArray::try_new(item, map.offsets().clone(), values, map.nulls().cloned())?))
}

pub(crate) fn cardinality(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let list = matches!(a.types[0].kind, TypeKind::Array(_));
    let lists = list.then(|| Lists::new(a, 0));
    let one = |row| match &lists {
        Some(lists) => lists.get(row).map(|r| r.len() as i32),
        None => entries(a, 0, row).map(|r| r.len() as i32),
    };
    Ok(Arc::new((0..a.rows).map(one).collect::<Int32Array>()))
}

/// `array[place]`, from 1, or `map[key]`.
pub(crate) fn item(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    if matches!(a.types[0].kind, TypeKind::Array(_)) {
        let (lists, at) = (Lists::new(a, 0), a.prim::<Int32Type>(1));
        return pick(a, lists.values(), |row| {
            let (Some(range), Some(at)) = (lists.get(row), at.get(row)) else { return Ok(None) };
            let Some(skipped) = usize::try_from(at).ok().and_then(|at| at.checked_sub(1)) else {
                return Err(EvalError(format!(
                    "the first element of an array is number 1, but {at} is asked for"
                )));
            };
            Ok((skipped < range.len()).then(|| range.start + skipped))
        });
    }
    let (map, key) = (a.values[0].array().as_map(), a.any(1));
    let (keys, values) = (map.keys(), map.values());
    // Later entries count, should a map have a key twice.
    if let (Some(known), Some(_)) = (keys.as_string_opt::<i32>(), key.array.as_string_opt::<i32>()) {
        let wanted = a.str(1);
        return pick(a, values, |row| {
            let (Some(mut range), Some(wanted)) = (entries(a, 0, row), wanted.get(row)) else {
                return Ok(None);
            };
            Ok(range.rfind(|&i| known.value(i) == wanted))
        });
    }
    let rows = encoded(&[keys, key.array])?;
    pick(a, values, |row| {
        let (Some(mut range), Some(wanted)) = (entries(a, 0, row), key.index(row)) else { return Ok(None) };
        Ok(range.rfind(|&i| rows[0].row(i) == rows[1].row(wanted)))
    })
}

/// `ROW(a, b, …)`.
pub(crate) fn row(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let ArrowType::Struct(fields) = a.data_type.to_arrow() else {
        return Err(EvalError(format!("{} is no row", a.data_type.kind)));
    };
    let columns = a.values.iter().map(|v| v.clone().into_array(a.rows)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
}

/// `row.name`: NULL when the row is.
pub(crate) fn field(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let TypeKind::Row(fields) = &a.types[0].kind else {
        return Err(EvalError(format!("{} is no row", a.types[0].kind)));
    };
    let name = text(a.values[1].array());
    let Some(at) = fields.iter().position(|f| name == Some(&f.name)) else {
        return Err(EvalError(format!("the row has no field {}", name.unwrap_or("NULL"))));
    };
    let rows = a.values[0].array().as_struct();
    let column = rows.column(at);
    let Some(nulls) = rows.nulls() else { return Ok(Arc::clone(column)) };
    let nulls = NullBuffer::union(Some(nulls), column.logical_nulls().as_ref());
    Ok(make_array(column.to_data().into_builder().nulls(nulls).build()?))
}
