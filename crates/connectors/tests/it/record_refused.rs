//! What is not in a struct's power is refused, by column.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use chrono::{DateTime, NaiveDate, Utc};
use streamkeeper_connectors::record::{Decimal, Record, Row};
use streamkeeper_derive::Record;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap()
}

fn refused<T: Record>(column: ArrayRef) -> String {
    T::from_batch(&batch(vec![("v", column)])).map(|_| ()).unwrap_err().to_string()
}

#[derive(Debug, PartialEq, Record)]
struct Number {
    v: i64,
}

#[derive(Debug, PartialEq, Record)]
struct MaybeNumber {
    v: Option<i64>,
}

#[derive(Debug, PartialEq, Record)]
struct Numbers {
    v: Vec<i64>,
}

#[derive(Debug, PartialEq, Record)]
struct Outer {
    v: Option<Number>,
}

#[test]
fn another_type_names_the_column_and_both_types() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert_eq!(refused::<Number>(texts.clone()), "column `v`: BIGINT NOT NULL is wanted, but it is STRING");
    assert_eq!(refused::<MaybeNumber>(texts.clone()), "column `v`: BIGINT is wanted, but it is STRING");
    assert_eq!(
        refused::<Outer>(texts.clone()),
        "column `v`: ROW<`v` BIGINT NOT NULL> is wanted, but it is STRING"
    );
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let list: ArrayRef = Arc::new(ListArray::new(field, OffsetBuffer::from_lengths([1]), ints, None));
    assert_eq!(refused::<Numbers>(list), "column `v[]`: BIGINT NOT NULL is wanted, but it is INT");
    let row: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("v", DataType::Utf8, true)), texts)]));
    assert_eq!(refused::<Outer>(row), "column `v.v`: BIGINT NOT NULL is wanted, but it is STRING");
}

#[test]
fn a_missing_column_names_those_that_are_there() {
    let columns: Vec<(&str, ArrayRef)> =
        vec![("a", Arc::new(Int64Array::from(vec![1]))), ("b", Arc::new(Int64Array::from(vec![1])))];
    let e = Number::from_batch(&batch(columns)).unwrap_err();
    assert_eq!(e.to_string(), "there is no column `v`; the columns are: a, b");
}

#[test]
fn null_is_refused_where_the_field_is_no_option() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    assert_eq!(
        refused::<Number>(numbers.clone()),
        "column `v` is NULL in row 1 of a batch, but its type is BIGINT NOT NULL; make the field an Option"
    );
    let numbers = batch(vec![("v", numbers)]);
    assert_eq!(
        MaybeNumber::from_batch(&numbers).unwrap(),
        [MaybeNumber { v: Some(1) }, MaybeNumber { v: None }]
    );
    // The NULL is not in this part.
    assert_eq!(Number::from_batch(&numbers.slice(0, 1)).unwrap(), [Number { v: 1 }]);
}

#[test]
fn a_null_inside_of_a_row_counts_only_where_the_row_is_none() {
    let outer = |rows: Vec<bool>| -> ArrayRef {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let fields = vec![Arc::new(Field::new("v", DataType::Int64, true))];
        Arc::new(StructArray::new(fields.into(), vec![values], Some(NullBuffer::from(rows))))
    };
    let ok = Outer::from_batch(&batch(vec![("v", outer(vec![true, false]))])).unwrap();
    assert_eq!(ok, [Outer { v: Some(Number { v: 1 }) }, Outer { v: None }]);
    assert!(refused::<Outer>(outer(vec![true, true])).starts_with("column `v.v` is NULL in row 1"));
}

#[test]
fn elements_of_a_list_that_is_null_are_not_looked_at() {
    #[derive(Debug, PartialEq, Record)]
    struct Lists {
        v: Option<Vec<i64>>,
    }
    let items: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let field = Arc::new(Field::new("item", DataType::Int64, true));
    let nulls = |valid: Vec<bool>| Some(NullBuffer::from(valid));
    let list = |valid| -> ArrayRef {
        Arc::new(ListArray::new(
            field.clone(),
            OffsetBuffer::from_lengths([1, 1, 1]),
            items.clone(),
            nulls(valid),
        ))
    };
    let read = Lists::from_batch(&batch(vec![("v", list(vec![true, false, true]))])).unwrap();
    assert_eq!(read, [Lists { v: Some(vec![1]) }, Lists { v: None }, Lists { v: Some(vec![3]) }]);
    assert!(refused::<Lists>(list(vec![true, true, true])).starts_with("column `v[]` is NULL in row 1"));
}

#[test]
fn values_that_a_type_does_not_hold_are_refused_both_ways() {
    #[derive(Record)]
    struct Day {
        v: NaiveDate,
    }
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MAX]));
    assert_eq!(refused::<Day>(days), "column `v`: day 2147483647 is beyond what DATE NOT NULL holds");

    #[derive(Debug, Record)]
    struct Price {
        v: Decimal<4, 2>,
    }
    let prices = |precision, scale, value| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
    };
    assert_eq!(
        refused::<Price>(prices(4, 1, 1)),
        "column `v`: DECIMAL(4, 2) NOT NULL is wanted, but it is DECIMAL(4, 1)"
    );
    assert_eq!(
        refused::<Price>(prices(5, 2, 1)),
        "column `v`: DECIMAL(4, 2) NOT NULL is wanted, but it is DECIMAL(5, 2)"
    );
    assert_eq!(
        refused::<Price>(prices(4, 2, 10_000)),
        "column `v`: 100.00 is beyond what DECIMAL(4, 2) NOT NULL holds"
    );
    assert_eq!(Price::from_batch(&batch(vec![("v", prices(3, 2, 100))])).unwrap()[0].v.to_string(), "1.00");

    #[derive(Record)]
    struct Instants {
        v: BTreeMap<i32, DateTime<Utc>>,
    }
    let late = DateTime::from_timestamp(1 << 40, 0).unwrap();
    let e = Instants::to_batch(&[Instants { v: BTreeMap::from([(1, late)]) }]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "column `v[value]`: +36812-02-20 00:36:16 UTC is beyond what TIMESTAMP_LTZ(9) NOT NULL holds"
    );
}

#[test]
fn a_decimal_keeps_to_its_digits() {
    assert!(Decimal::<4, 2>::new(9_999).is_some());
    assert!(Decimal::<4, 2>::new(10_000).is_none());
    assert!(
        "100".parse::<Decimal<4, 2>>().unwrap_err().to_string().contains("beyond what DECIMAL(4, 2) holds")
    );
    assert_eq!("1.005".parse::<Decimal<4, 2>>().unwrap().to_string(), "1.01");
    assert!("1,5".parse::<Decimal<4, 2>>().is_err());
    let most: Decimal<4, 2> = "99.99".parse().unwrap();
    assert_eq!(most.checked_add("0.01".parse().unwrap()), None);
    assert_eq!(most.checked_sub("0.99".parse().unwrap()).unwrap().to_string(), "99.00");
    let bytes = postcard::to_allocvec(&most).unwrap();
    assert_eq!(postcard::from_bytes::<Decimal<4, 2>>(&bytes).unwrap(), most);
    assert!(postcard::from_bytes::<Decimal<3, 2>>(&bytes).is_err());
}

#[test]
fn rows_need_their_columns() {
    let names: Arc<[String]> = Arc::from(["a".to_owned(), "b".to_owned()]);
    let e = Row::from_batch(&batch(vec![("a", Arc::new(Int64Array::from(vec![1])))]), &names).unwrap_err();
    assert_eq!(e.to_string(), "rows of 2 columns are wanted, but the batch has 1");
    let row = Row::new(["a"], [streamkeeper_connectors::record::Value::Null]);
    assert_eq!(row.get::<i64>("b").unwrap_err().to_string(), "there is no column `b`; the columns are: a");
    assert_eq!(row.get::<i64>(1).unwrap_err().to_string(), "there is no column `1`; the columns are: a");
    assert_eq!(
        row.get::<i64>("a").unwrap_err().to_string(),
        "column `a`: BIGINT NOT NULL is wanted, but it is NULL"
    );
}
