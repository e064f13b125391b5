//! Tables to look up rows in.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use streamkeeper_connectors::lookup::LookupTable;
use streamkeeper_connectors::schema::{DataType, Field};
use streamkeeper_connectors::table::{ScanRequest, TableDescriptor, create_lookup};
use streamkeeper_dataflow::operator::OperatorContext;
use streamkeeper_zookeeper::{CreateMode, block_on};

use super::server::{Other, quorum, server};
use crate::harness::context;

struct Looked {
    table: Box<dyn LookupTable>,
    context: OperatorContext,
}

impl Looked {
    fn follow(quorum: &str) -> Self {
        let options = [
            ("connector", "zookeeper"),
            ("zookeeper.quorum", quorum),
            ("path", "/t"),
            ("mode", "children"),
            ("format", "raw"),
            ("zookeeper.session-timeout", "2 s"),
        ];
        let options: BTreeMap<_, _> =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let columns = vec![Field::new("name", DataType::string()), Field::new("v", DataType::string())];
        let table = TableDescriptor {
            name: "t".into(),
            columns,
            options,
            primary_key: vec![0],
            ..Default::default()
        };
        let request = ScanRequest { projection: vec![0, 1], limit: None };
        let context = context(2, 3);
        let table =
            create_lookup(&table, &request).expect("a table").follow(&context).expect("it is followed");
        Self { table, context }
    }

    /// What comes until `last`; waits as a task does.
    fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        while all.last().is_none_or(|seen| seen != last) {
            match self.table.changes().expect("it is followed on") {
                Some(batch) => all.extend(rows(&batch)),
                None => self.wait(),
            }
        }
        all
    }

    /// Waits for something to take.
    fn wait(&self) {
        while !self.table.has_changes() {
            self.context.waker.wait(None);
        }
    }
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    let (names, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let kinds = batch.column(2).as_primitive::<Int8Type>();
    let row = |row| {
        let kind = ["+I", "-U", "+U", "-D"][kinds.value(row) as usize];
        format!("{kind} {}={}", names.value(row), values.value(row))
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn each_subtask_is_handed_the_whole_table_and_then_what_changes() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let (address, other) = (keeper.client_address(), Other::at(&keeper));
    other.create("/t", "");
    other.create("/t/a", "1");
    other.create("/t/b", "2");
    let mut looked = Looked::follow(&quorum(&keeper));
    assert!(!looked.table.is_complete());
    assert_eq!(looked.until("+I b=2"), ["+I a=1", "+I b=2"]);
    assert!(looked.table.is_complete());
    other.set("/t/a", "3");
    assert_eq!(looked.until("+U a=3"), ["-U a=1", "+U a=3"]);
    // While nobody can be asked there is nothing new, and no error.
    keeper.stop().unwrap();
    assert!(!looked.table.has_changes());
    assert!(looked.table.changes().unwrap().is_none() && looked.table.is_complete());
    let keeper = server(address, Some(directory.path()));
    other.delete("/t/b");
    assert_eq!(looked.until("-D b=2"), ["-D b=2"]);
    drop(keeper);
}

#[test]
fn a_table_of_nothing_is_complete_as_well() {
    let keeper = server(None, None);
    let other = Other::at(&keeper);
    let mut looked = Looked::follow(&quorum(&keeper));
    while !looked.table.is_complete() {
        looked.wait();
        assert!(looked.table.changes().unwrap().is_none());
    }
    block_on(other.0.create("/t", "", CreateMode::Persistent)).unwrap();
    other.create("/t/a", "1");
    assert_eq!(looked.until("+I a=1"), ["+I a=1"]);
}

#[test]
fn what_cannot_be_looked_up_in_says_so() {
    let options = BTreeMap::from([("connector".to_owned(), "datagen".to_owned())]);
    let table = TableDescriptor { name: "t".into(), options, ..Default::default() };
    let Err(error) = create_lookup(&table, &ScanRequest::default()) else { panic!("it is none") };
    assert!(error.to_string().contains("cannot be used for lookups"), "{error}");
}
