//! Streams as tables, and queries as streams: the seam between SQL and whoever else builds the same graph.
//!
//! Invariant: a registered stream means a vertex of one graph, and every statement that reads it is planned into that graph.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use sqlparser::ast::{
    Expr, Function, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Spanned,
};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::Field;
use streamkeeper_dataflow::graph::{JobGraph, Port};

use super::{Result, Session};
use crate::binder::record::to_record;
use crate::catalog::{CatalogTable, Column, ColumnSource, UniqueKey};
use crate::error::{ErrorKind, SqlError};
use crate::optimizer::optimize;
use crate::parser::{Insert, Statement, Watermark};
use crate::physical::{PlannedQuery, plan_query, refuse_updates};
use crate::plan::table::StreamInput;
use crate::plan::{Plan, changelog, fields};

/// A stream to be registered as a table.
#[derive(Debug, Clone)]
pub struct StreamTable {
    /// The columns of its batches. A changelog has the row kind behind them.
    pub columns: Vec<Field>,
    /// The column that the stream's watermarks speak of: a TIMESTAMP(3) or TIMESTAMP_LTZ(3).
    pub rowtime: Option<usize>,
    /// The columns that tell its rows apart; empty: none.
    pub primary_key: Vec<usize>,
    /// Its rows come with row kinds, and each `+U` comes after its `-U`.
    pub changelog: bool,
    /// Where its batches come from.
    pub port: Port<RecordBatch>,
    /// Uid of the operator that they come from.
    pub uid: String,
}

/// A registered stream, as its table refers to it.
#[derive(Debug)]
pub(super) struct RegisteredStream {
    pub(super) input: StreamInput,
    pub(super) uid: String,
}

/// A query whose names and types are known.
#[derive(Debug, Clone)]
pub struct BoundQuery {
    query: Box<Query>,
    plan: Plan,
}

impl BoundQuery {
    /// Its columns.
    pub fn columns(&self) -> Vec<Field> {
        fields(&self.plan.schema)
    }

    /// Whether it updates or deletes rows that it gave before.
    pub fn is_changelog(&self) -> bool {
        changelog::is_changelog(&self.plan)
    }
}

/// The rows of a query, as they leave its last operator.
#[derive(Debug, Clone)]
pub struct QueryStream {
    /// The batches. Those of a changelog have the row kind behind the columns.
    pub port: Port<RecordBatch>,
    /// The columns.
    pub columns: Vec<Field>,
    /// The column that the watermarks speak of.
    pub rowtime: Option<usize>,
    /// There is a row kind.
    pub changelog: bool,
    /// Uid of the last operator.
    pub uid: String,
}

impl Session {
    /// Registers a stream as a temporary table of the current database; `name` is taken as it is, without dots and quotes.
    ///
    /// # Errors
    /// When the name is taken, or the table is not valid.
    pub fn create_temporary_table(&mut self, name: &str, table: StreamTable) -> Result<()> {
        let column = |at: usize| {
            let found = table.columns.get(at).map(|field| field.name.clone());
            found.ok_or_else(|| {
                SqlError::new(ErrorKind::Validation, format!("The stream `{name}` has no column {at}"))
            })
        };
        let columns = table.columns.iter().map(|field| Column {
            name: field.name.clone(),
            data_type: Some(field.data_type.clone()),
            source: ColumnSource::Physical,
            comment: None,
        });
        let watermark = match table.rowtime {
            None => None,
            Some(at) => Some(Watermark { column: vec![Ident::new(column(at)?)], expr: source_watermark() }),
        };
        let key: Vec<String> = table.primary_key.iter().map(|at| column(*at)).collect::<Result<_>>()?;
        let primary_key =
            (!key.is_empty()).then(|| UniqueKey { name: format!("PK_{}", key.join("_")), columns: key });
        let catalog_table = CatalogTable {
            columns: columns.collect(),
            watermark,
            primary_key,
            stream: Some(self.streams.len()),
            ..CatalogTable::default()
        };
        self.catalog.add_temporary_table(name, catalog_table)?;
        let input = StreamInput { port: table.port, changelog: table.changelog };
        self.streams.push(RegisteredStream { input, uid: table.uid });
        Ok(())
    }

    /// Removes a temporary table or view of the current database; false when there is none.
    pub fn drop_temporary(&mut self, name: &str) -> bool {
        self.catalog.drop_temporary(name)
    }

    /// Registers a query as a temporary view of the current database.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create_temporary_view(&mut self, name: &str, query: &BoundQuery) -> Result<()> {
        self.catalog.add_temporary_view(name, query.query.clone(), query.columns())
    }

    /// Finds out what a query means.
    ///
    /// # Errors
    /// When it means nothing, or is not supported; with its place in the text.
    pub fn query(&self, query: &Query) -> Result<BoundQuery> {
        Ok(BoundQuery { query: Box::new(query.clone()), plan: self.bind_query(query)? })
    }

    /// Adds a query to a graph. `record`: it must have these columns, which it is cast to where Flink casts an INSERT's.
    /// `updates`: it may update and delete rows.
    ///
    /// # Errors
    /// When its columns are others, when it updates rows although it may not, or has two event times; the graph is as it was
    /// then. Also when it cannot be executed; the graph is of no use then.
    pub fn add_query(
        &self,
        query: &BoundQuery,
        record: Option<&[Field]>,
        updates: bool,
        graph: &mut JobGraph,
    ) -> Result<QueryStream> {
        let span = query.query.span();
        let changelog = query.is_changelog();
        if changelog && !updates {
            return Err(refuse_updates("A stream of rows", &query.plan, span));
        }
        let plan = match record {
            Some(record) => to_record(query.plan.clone(), record, span)?,
            None => query.plan.clone(),
        };
        let mut rowtimes = (0..plan.schema.len()).filter(|at| plan.schema[*at].rowtime);
        let (rowtime, second) = (rowtimes.next(), rowtimes.next());
        if let (Some(first), Some(second)) = (rowtime, second) {
            return Err(SqlError::validation(
                format!(
                    "The query has two rowtime attributes, '{}' and '{}', but a stream's records have one event time; \
                     cast the others to TIMESTAMP",
                    plan.schema[first].name, plan.schema[second].name
                ),
                span,
            ));
        }
        let columns = fields(&plan.schema);
        let planned = plan_query(optimize(plan), graph, &self.physical(), &self.context())?;
        refuse_config(&planned.config_documents, span)?;
        let PlannedQuery { port, uid, .. } = planned;
        Ok(QueryStream { port, columns, rowtime, changelog, uid })
    }

    /// Adds what an INSERT or a statement set writes to a graph; false for any other statement.
    ///
    /// # Errors
    /// As [`Session::execute`]; the graph is of no use then.
    pub fn add_inserts(&mut self, statement: &Statement, graph: &mut JobGraph) -> Result<bool> {
        let inserts: &[Insert] = match statement {
            Statement::Insert(insert) => std::slice::from_ref(&**insert),
            Statement::StatementSet(inserts) => inserts,
            Statement::Execute(statement) => return self.add_inserts(statement, graph),
            _ => return Ok(false),
        };
        let sinks = self.bind(inserts)?;
        refuse_config(&self.plan(sinks, graph)?, Span::empty())?;
        Ok(true)
    }
}

/// Nobody follows the documents for a graph that is built by others.
fn refuse_config(documents: &BTreeSet<String>, span: Span) -> Result<()> {
    match documents.first() {
        None => Ok(()),
        Some(name) => {
            Err(SqlError::unsupported(format!("CONFIG (of document '{name}') in the SQL of a program"), span))
        }
    }
}

/// `SOURCE_WATERMARK()`: the watermarks are those of the stream.
fn source_watermark() -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("SOURCE_WATERMARK")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
