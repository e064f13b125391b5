use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use streamkeeper_connectors::lookup::{LookupSource, LookupTable};
use streamkeeper_connectors::schema::Field;
use streamkeeper_dataflow::OperatorResult;
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::join::LookupJoin;
use streamkeeper_sql::operators::spec::{CalcSpec, JoinKind, JoinSpec, LookupJoinSpec};

use crate::join_support::{Column, Less, bigint, string};

/// What the test has said of the table: its changes, and whether it is complete.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<RecordBatch>, bool)>>);

impl Script {
    fn say(&self, changes: &[&str]) {
        let batch = batch(&table(), true, changes).unwrap();
        self.0.lock().unwrap().0.push_back(batch);
    }

    fn complete(&self) {
        self.0.lock().unwrap().1 = true;
    }
}

impl LookupSource for Script {
    fn follow(&self, _: &OperatorContext) -> OperatorResult<Box<dyn LookupTable>> {
        Ok(Box::new(self.clone()))
    }
}

impl LookupTable for Script {
    fn changes(&mut self) -> OperatorResult<Option<RecordBatch>> {
        Ok(self.0.lock().unwrap().0.pop_front())
    }

    fn has_changes(&self) -> bool {
        !self.0.lock().unwrap().0.is_empty()
    }

    fn is_complete(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

fn table() -> Vec<Field> {
    vec![string("name"), bigint("n")]
}

fn input() -> Vec<Field> {
    vec![string("k"), bigint("v")]
}

fn spec(kind: JoinKind, script: &Script, by_key: bool) -> LookupJoinSpec {
    let keys = if by_key { vec![0] } else { vec![] };
    LookupJoinSpec {
        join: JoinSpec {
            kind,
            left: input(),
            right: table(),
            left_keys: keys.clone(),
            right_keys: keys,
            condition: None,
            output: [input(), table()].concat(),
        },
        table: Arc::new(script.clone()),
        calcs: Vec::new(),
    }
}

fn look_up(join: &mut Harness, rows: &[&str]) -> Vec<String> {
    join.push(0, batch(&input(), false, rows).unwrap()).unwrap();
    join.take()
}

#[test]
fn rows_meet_the_table_as_it_is_when_they_come() {
    let script = Script::default();
    script.complete();
    let mut join = Harness::open(LookupJoin::new(spec(JoinKind::Left, &script, true))).unwrap();
    assert_eq!(look_up(&mut join, &["a | 1"]), ["+I[a, 1, null, null]"]);
    script.say(&["+I | a | 10", "+I | b | 20", "+I | a | 11"]);
    assert_eq!(
        look_up(&mut join, &["b | 2", "a | 3", "null | 4", "c | 5"]),
        [
            "+I[b, 2, b, 20]",
            "+I[a, 3, a, 10]",
            "+I[a, 3, a, 11]",
            "+I[null, 4, null, null]",
            "+I[c, 5, null, null]"
        ]
    );
    script.say(&["-U | b | 20", "+U | b | 21", "-D | a | 10"]);
    script.say(&["-D | a | 11", "+I | null | 7"]);
    assert_eq!(
        look_up(&mut join, &["a | 6", "b | 7", "null | 8"]),
        ["+I[a, 6, null, null]", "+I[b, 7, b, 21]", "+I[null, 8, null, null]"]
    );
}

#[test]
fn no_row_comes_in_before_the_whole_table_was_read() {
    let script = Script::default();
    let mut join = Harness::open(LookupJoin::new(spec(JoinKind::Inner, &script, true))).unwrap();
    assert!(!join.wants_input());
    assert_eq!(join.next_processing_time(), None);
    script.say(&["+I | a | 1"]);
    assert!(join.next_processing_time().is_some());
    join.processing_time(0).unwrap();
    assert!(!join.wants_input());
    script.complete();
    script.say(&["+I | b | 2"]);
    join.processing_time(0).unwrap();
    assert!(join.wants_input());
    assert_eq!(join.next_processing_time(), None);
    assert_eq!(look_up(&mut join, &["b | 1", "c | 1"]), ["+I[b, 1, b, 2]"]);
}

#[test]
fn other_conditions_decide_among_the_rows_found() {
    let script = Script::default();
    script.complete();
    script.say(&["+I | a | 1", "+I | a | 5", "+I | b | 9"]);
    for (by_key, expected) in [
        (true, vec!["+I[a, 3, a, 5]", "+I[a, 7, null, null]", "+I[c, 3, null, null]"]),
        (
            false,
            vec!["+I[a, 3, a, 5]", "+I[a, 3, b, 9]", "+I[a, 7, b, 9]", "+I[c, 3, a, 5]", "+I[c, 3, b, 9]"],
        ),
    ] {
        let again = Script::default();
        again.0.lock().unwrap().clone_from(&script.0.lock().unwrap());
        let mut spec = spec(JoinKind::Left, &again, by_key);
        spec.join.condition = Some(Arc::new(Less::new(1, 3)));
        let mut join = Harness::open(LookupJoin::new(spec)).unwrap();
        let mut found = look_up(&mut join, &["a | 3", "a | 7", "c | 3"]);
        found.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_computed_of_the_table_is_looked_up() {
    let script = Script::default();
    script.complete();
    // Rows that the filter hides are not found, and are not missed when they go.
    script.say(&["+I | a | 1", "+I | b | 5"]);
    script.say(&["-U | a | 1", "+U | a | 7", "-U | b | 5", "+U | b | 0"]);
    let mut spec = spec(JoinKind::Left, &script, true);
    let small = Field::new("small", bigint("small").data_type);
    let column = |at: usize| Arc::new(Column(at, table()[at].data_type.clone())) as _;
    let constant = CalcSpec {
        live: None,
        filter: None,
        projection: Some(vec![column(0), column(1), Arc::new(Column(1, small.data_type.clone())) as _]),
        output: [table(), vec![small]].concat(),
        changelog: true,
    };
    let filtered = CalcSpec {
        live: None,
        filter: Some(Arc::new(Positive)),
        projection: Some(vec![column(0), column(1)]),
        output: table(),
        changelog: true,
    };
    spec.calcs = vec![constant, filtered];
    let mut join = Harness::open(LookupJoin::new(spec)).unwrap();
    assert_eq!(look_up(&mut join, &["a | 1", "b | 2"]), ["+I[a, 1, a, 7]", "+I[b, 2, null, null]"]);
}

/// `n > 1`.
#[derive(Debug)]
struct Positive;

impl streamkeeper_sql::expr::Expr for Positive {
    fn eval(
        &self,
        batch: &RecordBatch,
    ) -> Result<streamkeeper_sql::expr::ColumnarValue, streamkeeper_sql::expr::EvalError> {
        use arrow::array::AsArray;
        let n = batch.column(1).as_primitive::<arrow::datatypes::Int64Type>();
        let mask = arrow::array::BooleanArray::from_iter(n.iter().map(|n| n.map(|n| n > 1)));
        Ok(streamkeeper_sql::expr::ColumnarValue::Array(Arc::new(mask)))
    }

    fn data_type(&self) -> &streamkeeper_connectors::schema::DataType {
        static BOOLEAN: streamkeeper_connectors::schema::DataType =
            streamkeeper_connectors::schema::DataType {
                kind: streamkeeper_connectors::schema::TypeKind::Boolean,
                nullable: true,
            };
        &BOOLEAN
    }
}
