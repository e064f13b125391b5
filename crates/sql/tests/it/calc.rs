use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use streamkeeper_connectors::schema::DataType;
use streamkeeper_sql::expr::{ColumnarValue, EvalError, Expr, ExprRef};
use streamkeeper_sql::operators::calc::Calc;
use streamkeeper_sql::operators::harness::{Harness, batch, rows};
use streamkeeper_sql::operators::spec::CalcSpec;

use crate::join_support::{Column, Less, bigint, string};

#[derive(Debug)]
struct Seven(DataType);

impl Expr for Seven {
    fn eval(&self, _batch: &RecordBatch) -> Result<ColumnarValue, EvalError> {
        Ok(ColumnarValue::Scalar(Arc::new(Int64Array::from(vec![7]))))
    }

    fn data_type(&self) -> &DataType {
        &self.0
    }
}

#[test]
fn calc_keeps_row_kinds_drops_unknown_and_repeats_constants() {
    let input = [bigint("a"), bigint("b"), string("c")];
    let spec = CalcSpec {
        live: None,
        filter: Some(Arc::new(Less::new(0, 1))),
        projection: Some(vec![
            Arc::new(Column(2, DataType::string())) as ExprRef,
            Arc::new(Seven(bigint("").data_type)),
        ]),
        output: vec![string("c"), bigint("seven")],
        changelog: true,
    };
    let mut calc = Harness::open(Calc::new(spec)).unwrap();
    let lines = ["+I|1|2|x", "-U|2|1|y", "+U|null|3|z", "-D|0|5|w"];
    calc.push(0, batch(&input, true, &lines).unwrap()).unwrap();
    assert_eq!(calc.take(), ["+I[x, 7]", "-D[w, 7]"]);
    calc.push(0, batch(&input, true, &["+I|2|1|x"]).unwrap()).unwrap();
    assert!(calc.take_batches().is_empty());
}

#[test]
fn calc_copies_no_column_when_every_row_passes() {
    let input = [bigint("a"), bigint("b"), string("c")];
    let spec = CalcSpec {
        live: None,
        filter: Some(Arc::new(Less::new(0, 1))),
        projection: None,
        output: input.to_vec(),
        changelog: false,
    };
    let mut calc = Harness::open(Calc::new(spec)).unwrap();
    let pushed = batch(&input, false, &["1|2|x", "2|3|y"]).unwrap();
    calc.push(0, pushed.clone()).unwrap();
    let emitted = calc.take_batches();
    assert_eq!(rows(&emitted), ["+I[1, 2, x]", "+I[2, 3, y]"]);
    assert!(Arc::ptr_eq(emitted[0].column(2), pushed.column(2)));
}

#[test]
fn calc_without_columns_keeps_the_number_of_rows() {
    let spec = CalcSpec {
        live: None,
        filter: None,
        projection: Some(Vec::new()),
        output: Vec::new(),
        changelog: false,
    };
    let mut calc = Harness::open(Calc::new(spec)).unwrap();
    calc.push(0, batch(&[bigint("a")], false, &["1", "2"]).unwrap()).unwrap();
    assert_eq!(calc.take_batches()[0].num_rows(), 2);
}
