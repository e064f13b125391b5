//! A stream's port becomes a table, and a query a port, in one graph.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::RecordBatch;
use streamkeeper_connectors::record::{Record, StreamRow, TableRow};
use streamkeeper_dataflow::batch::{Batch, Records};
use streamkeeper_dataflow::graph::{Exchange, Input, JobGraph, OperatorNode, Port};
use streamkeeper_dataflow::operator::Operator;
use streamkeeper_datastream::StreamInputs;
use streamkeeper_sql::error::{ErrorKind, SqlError};
use streamkeeper_sql::session::{BoundQuery, Session, StreamTable};

use crate::convert::{FromTable, ToTable, rowtime_field};

/// What a query emits, and by which operator.
#[derive(Debug, Clone)]
pub struct Output<T> {
    /// Where the records come from.
    pub port: Port<Records<T>>,
    /// Uid of the operator that emits them.
    pub uid: String,
}

/// Registers a stream as a temporary table. Its time attribute is the record's `#[record(rowtime)]` field, or a further column
/// `rowtime` with the event times of the records; the stream's watermarks speak of either.
///
/// # Errors
/// When the name is taken, or the record has a rowtime field or a column of that name already.
pub fn register<T: StreamRow + 'static>(
    session: &mut Session,
    graph: &mut JobGraph,
    name: &str,
    stream: StreamInputs<T>,
    rowtime: Option<&str>,
) -> Result<(), SqlError>
where
    Records<T>: Batch,
{
    let wrong = |message: String| Err(SqlError::new(ErrorKind::Validation, message));
    let mut columns = T::Record::fields();
    let mut rowtime_column = T::Record::ROWTIME;
    if let Some(rowtime) = rowtime {
        if let Some(at) = rowtime_column {
            return wrong(format!(
                "The record of stream `{name}` says that its field `{}` is the event time; a column `{rowtime}` cannot be \
                 as well",
                columns[at].name
            ));
        }
        if columns.iter().any(|field| field.name == rowtime) {
            return wrong(format!(
                "The record of stream `{name}` has a field `{rowtime}` already; call the rowtime column something else"
            ));
        }
        rowtime_column = Some(columns.len());
        columns.push(rowtime_field(rowtime));
    }
    let uid = unique(graph, format!("{}-table-{name}", stream.uid));
    let rowtime = rowtime.map(str::to_owned);
    let make = move || -> Box<dyn Operator<Records<T>, RecordBatch>> {
        Box::new(ToTable { rowtime: rowtime.clone(), records: PhantomData })
    };
    let node = OperatorNode::new(uid.clone(), format!("{name}[ToTable]"), Arc::new(make));
    let port = graph.add_operator(stream.parallelism, stream.inputs, node, Vec::new());
    session.create_temporary_table(
        name,
        StreamTable {
            columns,
            rowtime: rowtime_column,
            primary_key: T::Record::KEY.to_vec(),
            changelog: T::CHANGELOG,
            port,
            uid,
        },
    )
}

/// Adds a query to a graph. Its rows are records, whose event time is the query's time attribute; without one they have
/// none (`i64::MIN`).
///
/// # Errors
/// When the query's columns are not those of the record, when it updates rows and `T` is no changelog, or it cannot be executed.
pub fn add_query<T: TableRow + 'static>(
    session: &Session,
    graph: &mut JobGraph,
    query: &BoundQuery,
) -> Result<Output<T>, SqlError>
where
    Records<T>: Batch,
{
    let stream = session.add_query(query, T::required().as_deref(), T::CHANGELOG, graph)?;
    let uid = unique(graph, format!("{}-stream", stream.uid));
    let names: Arc<[String]> = stream.columns.into_iter().map(|field| field.name).collect();
    let rowtime = stream.rowtime;
    let make = move || -> Box<dyn Operator<RecordBatch, Records<T>>> {
        Box::new(FromTable { names: names.clone(), rowtime, records: PhantomData })
    };
    let node = OperatorNode::new(uid.clone(), "ToStream", Arc::new(make));
    let parallelism = graph.vertices[stream.port.vertex()].parallelism;
    let input = Input { from: stream.port, exchange: Exchange::Forward, index: 0 };
    Ok(Output { port: graph.add_operator(parallelism, vec![input], node, Vec::new()), uid })
}

/// `uid`, or where the graph has that already, the first of `uid-2`, `uid-3`, … that it has not.
fn unique(graph: &JobGraph, uid: String) -> String {
    let taken = |uid: &String| graph.vertices.iter().any(|vertex| vertex.operators.contains(uid));
    if !taken(&uid) {
        return uid;
    }
    let mut number = 2u64;
    loop {
        let numbered = format!("{uid}-{number}");
        if !taken(&numbered) {
            return numbered;
        }
        number += 1;
    }
}
