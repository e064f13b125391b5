//! Single values of any type as bytes that compare as the values do.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use arrow::row::{RowConverter, Rows, SortField};
use streamkeeper_dataflow::{OperatorError, OperatorResult};

/// Encodes and decodes values of one type.
#[derive(Debug)]
pub(super) struct RowCodec {
    converter: RowConverter,
    pub(super) data_type: ArrowType,
    null: Box<[u8]>,
}

impl RowCodec {
    pub(super) fn new(data_type: &ArrowType) -> OperatorResult<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let null = converter.convert_columns(&[new_null_array(data_type, 1)])?.row(0).data().into();
        Ok(Self { converter, data_type: data_type.clone(), null })
    }

    pub(super) fn encode(&self, values: &ArrayRef) -> OperatorResult<Rows> {
        Ok(self.converter.convert_columns(std::slice::from_ref(values))?)
    }

    /// `None` becomes NULL.
    pub(super) fn decode<'a>(
        &'a self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> OperatorResult<ArrayRef> {
        let parser = self.converter.parser();
        let rows = values.map(|value| parser.parse(value.unwrap_or(&self.null))).collect::<Vec<_>>();
        if rows.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let columns = self.converter.convert_rows(rows)?;
        columns.into_iter().next().ok_or_else(|| OperatorError::fatal("a value decoded to no column"))
    }
}

/// The type of a list of `item`.
pub(super) fn list_type(item: &ArrowType) -> ArrowType {
    ArrowType::List(Arc::new(ArrowField::new("item", item.clone(), true)))
}

/// A column of lists of the given lengths over `items`.
pub(super) fn list(items: ArrayRef, lengths: impl Iterator<Item = usize>) -> OperatorResult<ArrayRef> {
    let field = Arc::new(ArrowField::new("item", items.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, None)?))
}

/// The items of a list column, and for each the group of its row.
pub(super) fn unlist(column: &ArrayRef, groups: &[u32]) -> OperatorResult<(ArrayRef, Vec<u32>)> {
    let lists = column
        .as_list_opt::<i32>()
        .ok_or_else(|| OperatorError::fatal("a list was expected in a state column"))?;
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0], offsets[lists.len()]);
    let mut owners = Vec::with_capacity((last - first) as usize);
    for (row, group) in groups.iter().enumerate() {
        owners.extend(std::iter::repeat_n(*group, lists.value_length(row) as usize));
    }
    Ok((lists.values().slice(first as usize, (last - first) as usize), owners))
}
