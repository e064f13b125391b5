use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch,
    StringBuilder, StructBuilder,
};
use arrow::datatypes::Field as ArrowField;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind, to_arrow_schema};
use streamkeeper_sql::operators::harness::Harness;
use streamkeeper_sql::operators::spec::UnnestSpec;
use streamkeeper_sql::operators::unnest::Unnest;

use crate::join_support::{Column, bigint, string};

fn unnest(
    collection: Field,
    array: ArrayRef,
    elements: &[Field],
    outer: bool,
    ordinality: bool,
) -> Vec<String> {
    let input = vec![bigint("id"), collection.clone()];
    let mut output = [input.clone(), elements.to_vec()].concat();
    if ordinality {
        output.push(Field::new("ordinality", TypeKind::Int.into()));
    }
    let mut fields = input.clone();
    fields.push(Field::new("$row_kind", TypeKind::TinyInt.into()));
    let rows = array.len();
    let ids = arrow::array::Int64Array::from_iter_values(0..rows as i64);
    let kinds = arrow::array::Int8Array::from_iter_values((0..rows).map(|row| (row % 4) as i8));
    let batch =
        RecordBatch::try_new(to_arrow_schema(&fields), vec![Arc::new(ids), array, Arc::new(kinds)]).unwrap();
    let spec = UnnestSpec {
        input,
        collection: Arc::new(Column(1, collection.data_type)),
        outer,
        with_ordinality: ordinality,
        output,
        changelog: true,
    };
    let mut unnest = Harness::open(Unnest::new(spec)).unwrap();
    unnest.push(0, batch).unwrap();
    let rows = unnest.take_batches().into_iter().map(|batch| {
        // The collection itself is not of interest here.
        let kept = (0..batch.num_columns()).filter(|column| *column != 1).collect::<Vec<_>>();
        batch.project(&kept).unwrap()
    });
    streamkeeper_sql::operators::harness::rows(&rows.collect::<Vec<_>>())
}

fn map(entries: &[Option<&[(&str, i32)]>]) -> ArrayRef {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
    for entry in entries {
        for (key, value) in entry.unwrap_or_default() {
            builder.keys().append_value(key);
            builder.values().append_value(*value);
        }
        builder.append(entry.is_some()).unwrap();
    }
    Arc::new(builder.finish())
}

#[test]
fn unnest_of_an_array_keeps_order_row_kind_and_null_elements() {
    let data_type = DataType::from(TypeKind::Array(Box::new(bigint("").data_type)));
    let field = Arc::new(ArrowField::new("item", arrow::datatypes::DataType::Int64, true));
    let mut list = ListBuilder::new(Int64Builder::new()).with_field(field);
    list.append_value([Some(10), None]);
    list.append_null();
    list.append_value([]);
    list.append_value([Some(30)]);
    let list: ArrayRef = Arc::new(list.finish());
    let rows = unnest(Field::new("a", data_type.clone()), list.clone(), &[bigint("x")], false, true);
    assert_eq!(rows, ["+I[0, 10, 1]", "+I[0, null, 2]", "-D[3, 30, 1]"]);
    let rows = unnest(Field::new("a", data_type), list, &[bigint("x")], true, true);
    let expected =
        ["+I[0, 10, 1]", "+I[0, null, 2]", "-U[1, null, null]", "+U[2, null, null]", "-D[3, 30, 1]"];
    assert_eq!(rows, expected);
}

#[test]
fn unnest_of_rows_gives_their_fields() {
    let fields = vec![bigint("x"), string("y")];
    let row = DataType::from(TypeKind::Row(fields.clone()));
    let data_type = DataType::from(TypeKind::Array(Box::new(row.clone())));
    let builders: Vec<Box<dyn arrow::array::ArrayBuilder>> =
        vec![Box::new(Int64Builder::new()), Box::new(StringBuilder::new())];
    let structs = StructBuilder::new(to_arrow_schema(&fields).fields().clone(), builders);
    let mut list = ListBuilder::new(structs).with_field(Arc::new(row.to_arrow_field("item")));
    let element = list.values();
    element.field_builder::<Int64Builder>(0).unwrap().append_value(1);
    element.field_builder::<StringBuilder>(1).unwrap().append_value("a");
    element.append(true);
    element.field_builder::<Int64Builder>(0).unwrap().append_value(99);
    element.field_builder::<StringBuilder>(1).unwrap().append_value("hidden");
    element.append(false);
    list.append(true);
    let rows = unnest(Field::new("a", data_type), Arc::new(list.finish()), &fields, false, false);
    assert_eq!(rows, ["+I[0, 1, a]", "+I[0, null, null]"]);
}

#[test]
fn unnest_of_a_map_gives_entries_and_of_a_multiset_each_element_as_often_as_it_is_in_it() {
    let int = || DataType::from(TypeKind::Int);
    let key = || Box::new(DataType::string());
    let entries: [Option<&[(&str, i32)]>; 3] = [Some(&[("a", 2), ("b", 1)]), None, Some(&[("c", 1)])];
    let map_type = DataType::from(TypeKind::Map(key(), Box::new(int())));
    let value = Field::new("v", int());
    let rows = unnest(Field::new("m", map_type), map(&entries), &[string("k"), value], false, true);
    assert_eq!(rows, ["+I[0, a, 2, 1]", "+I[0, b, 1, 2]", "+U[2, c, 1, 1]"]);
    let multiset = DataType::from(TypeKind::Multiset(key()));
    let rows = unnest(Field::new("m", multiset), map(&entries), &[string("k")], true, true);
    let expected = ["+I[0, a, 1]", "+I[0, a, 2]", "+I[0, b, 3]", "-U[1, null, null]", "+U[2, c, 1]"];
    assert_eq!(rows, expected);
}
