//! From logical plans to the graph of a job: operators, exchanges between them, and chains where none is needed.
//!
//! Invariants: an operator's uid depends on what it does and on its inputs, never on the parallelism; equal parts of
//! the plans of one job are computed once, and so each table is read once.

mod digest;
pub(crate) mod distribution;
pub(crate) mod join;
mod operators;
mod share;
mod stream;
mod temporal;
mod unbounded;
mod values;
mod watermark;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::table::{
    ChangelogSupport, MetadataColumn, ScanRequest, SinkRequest, TableDescriptor, create_sink, create_source,
    sink_accepts, sink_keys,
};
use streamkeeper_dataflow::graph::{JobGraph, OperatorNode, Port, Vertex};
use streamkeeper_dataflow::operator::Operator;
use streamkeeper_dataflow::source::WatermarkStrategy;

use self::digest::{digest, fields_text, table_text};
use self::stream::{Hash, Head, Stream};
use crate::error::{ErrorKind, SqlError};
use crate::explain;
use crate::expr::live::documents;
use crate::expr::{EvalContext, ExprRef, ScalarExpr, compile};
use crate::operators::project::Project;
use crate::operators::sink_kinds::{ConstraintEnforcer, NotNullEnforcer, TypeLengthEnforcer};
use crate::plan::table::{Metadata, StreamInput};
use crate::plan::{Plan, Table, changelog};

/// One INSERT: rows of `plan` into `table`. The plan's columns are the table's physical columns.
#[derive(Debug, Clone)]
pub(crate) struct SinkPlan {
    pub(crate) table: Arc<Table>,
    pub(crate) plan: Plan,
    /// A NULL may come for a NOT NULL column.
    pub(crate) not_null: bool,
    /// Where the INSERT stands in the text.
    pub(crate) span: Span,
}

/// What the physical planner needs of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct PhysicalConfig {
    pub(crate) parallelism: usize,
    pub(crate) idle_timeout: Option<Duration>,
    /// Drop rows with NULL for a NOT NULL column, instead of failing.
    pub(crate) drop_nulls: bool,
    /// What relative paths of tables are relative to.
    pub(crate) base_dir: PathBuf,
}

/// Adds what runs all of `sinks` to a graph; returns the configuration documents that it reads.
///
/// # Errors
/// When a plan cannot be executed, or a connector refuses its options; the graph is of no use then.
pub(crate) fn plan_sinks(
    mut sinks: Vec<SinkPlan>,
    graph: &mut JobGraph,
    config: &PhysicalConfig,
    ctx: &EvalContext,
) -> Result<BTreeSet<String>, SqlError> {
    share::widen_scans(&mut sinks.iter_mut().map(|sink| &mut sink.plan).collect::<Vec<_>>());
    let uses = share::count_uses(sinks.iter().map(|sink| &sink.plan));
    let mut builder = Builder::new(graph, config, ctx, uses);
    for sink in &sinks {
        builder.sink(sink)?;
    }
    let config_documents = builder.config_documents;
    graph.validate().map_err(|e| SqlError::new(ErrorKind::Validation, e.to_string()))?;
    Ok(config_documents)
}

/// A query in a graph.
pub(crate) struct PlannedQuery {
    /// Its rows come out here.
    pub(crate) port: Port<RecordBatch>,
    /// Uid of its last operator.
    pub(crate) uid: String,
    /// The configuration documents that it reads.
    pub(crate) config_documents: BTreeSet<String>,
}

/// Adds what computes `plan` to a graph.
///
/// # Errors
/// As [`plan_sinks`].
pub(crate) fn plan_query(
    mut plan: Plan,
    graph: &mut JobGraph,
    config: &PhysicalConfig,
    ctx: &EvalContext,
) -> Result<PlannedQuery, SqlError> {
    share::widen_scans(&mut [&mut plan]);
    let mut builder = Builder::new(graph, config, ctx, share::count_uses([&plan]));
    let stream = builder.build(&plan, true)?;
    let uid = stream.uid.clone();
    let port = builder.close(stream);
    let config_documents = builder.config_documents;
    graph.validate().map_err(|e| SqlError::new(ErrorKind::Validation, e.to_string()))?;
    Ok(PlannedQuery { port, uid, config_documents })
}

/// A query that updates its rows, for a sink that does not take that.
pub(crate) fn refuse_updates(sink: &str, plan: &Plan, span: Span) -> SqlError {
    let producer = changelog::update_producer(plan);
    let kinds = changelog::changes_of(producer);
    SqlError::validation(
        format!(
            "{sink} doesn't support consuming {kinds} which is produced by node {}",
            explain::describe(producer)
        ),
        span,
    )
}

/// The connector's view of a table.
pub(crate) fn descriptor(table: &Table, base_dir: &std::path::Path) -> TableDescriptor {
    let physical = |i: &usize| {
        let name = &table.columns[*i].field.name;
        table.physical.iter().position(|f| f.name == *name)
    };
    TableDescriptor {
        name: table.name(),
        columns: table.physical.clone(),
        metadata_columns: table.metadata.iter().map(metadata_column).collect(),
        options: table.options.clone(),
        primary_key: table.primary_key.iter().filter_map(physical).collect(),
        base_dir: base_dir.to_owned(),
        ..TableDescriptor::default()
    }
}

fn metadata_column(metadata: &Metadata) -> MetadataColumn {
    let (name, data_type) = (metadata.field.name.clone(), metadata.field.data_type.clone());
    MetadataColumn { name, key: metadata.key.clone(), data_type }
}

pub(crate) struct Builder<'a> {
    graph: &'a mut JobGraph,
    config: &'a PhysicalConfig,
    ctx: &'a EvalContext,
    /// How often each part is used, by its digest.
    uses: BTreeMap<String, usize>,
    /// The ports of parts that are used more than once.
    shared: HashMap<String, (Port<RecordBatch>, usize, String)>,
    /// How often each uid was given, to tell identical siblings apart.
    uids: HashMap<String, usize>,
    /// The documents that CONFIG names.
    config_documents: BTreeSet<String>,
    /// The uids that were in the graph before.
    taken: HashSet<String>,
}

impl<'a> Builder<'a> {
    fn new(
        graph: &'a mut JobGraph,
        config: &'a PhysicalConfig,
        ctx: &'a EvalContext,
        uses: BTreeMap<String, usize>,
    ) -> Self {
        let taken = graph.vertices.iter().flat_map(|v| v.operators.iter().cloned()).collect();
        Self {
            graph,
            config,
            ctx,
            uses,
            shared: HashMap::new(),
            uids: HashMap::new(),
            config_documents: BTreeSet::new(),
            taken,
        }
    }
}

impl Builder<'_> {
    fn sink(&mut self, sink: &SinkPlan) -> Result<(), SqlError> {
        let descriptor = descriptor(&sink.table, &self.config.base_dir);
        let wrong =
            |e: &dyn std::fmt::Display| SqlError::new(ErrorKind::Configuration, e.to_string()).at(sink.span);
        let accepts = sink_accepts(&descriptor).map_err(|e| wrong(&e))?;
        let changes = changelog::is_changelog(&sink.plan);
        if changes && accepts == ChangelogSupport::InsertOnly {
            return Err(refuse_updates(
                &format!("Table sink '{}'", sink.table.name()),
                &sink.plan,
                sink.span,
            ));
        }
        // Flink's blackhole drops updates' old rows, so they are not made for it.
        let need_before = accepts == ChangelogSupport::All && sink.table.connector() != "blackhole";
        let stream = self.build(&sink.plan, need_before).map_err(|e| e.at(sink.span))?;
        let stream = if sink.not_null {
            let columns = sink.table.physical.clone();
            let not_null =
                if self.config.drop_nulls { NotNullEnforcer::Drop } else { NotNullEnforcer::Error };
            let uid = self.uid("ConstraintEnforcer", &fields_text(&columns), &[&stream.uid]);
            let make = move || -> Box<dyn Operator<RecordBatch, RecordBatch>> {
                Box::new(ConstraintEnforcer::new(columns.clone(), not_null, TypeLengthEnforcer::Ignore))
            };
            self.chain(stream, OperatorNode::new(uid, "ConstraintEnforcer", Arc::new(make)))
        } else {
            stream
        };
        let uid = self.uid("Sink", &table_text(&sink.table), &[&stream.uid]);
        let request = SinkRequest { changelog: changes, uid: uid.clone() };
        let table = create_sink(&descriptor, &request).map_err(|e| wrong(&e))?;
        let name = format!("{}[{}]", sink.table.path[2], "Sink");
        let node = streamkeeper_dataflow::sink::node(uid, name, table.sink);
        let stream = match sink_keys(&descriptor) {
            Some(keys) => self.connect(vec![(stream, Hash(keys))], node),
            None => self.chain(stream, node),
        };
        self.close(stream);
        Ok(())
    }

    /// The stream of `plan`; `need_before`: its consumer needs the old rows of updates.
    pub(crate) fn build(&mut self, plan: &Plan, need_before: bool) -> Result<Stream, SqlError> {
        let digest = digest(plan);
        if let Some((port, parallelism, uid)) = self.shared.get(&digest) {
            return Ok(Stream {
                head: Head::Port(*port),
                rest: vec![],
                parallelism: *parallelism,
                uid: uid.clone(),
            });
        }
        if self.uses.get(&digest).is_none_or(|uses| *uses < 2) {
            return self.operator(plan, need_before);
        }
        let stream = self.operator(plan, true)?;
        let (uid, parallelism) = (stream.uid.clone(), stream.parallelism);
        let port = self.close(stream);
        self.shared.insert(digest, (port, parallelism, uid.clone()));
        Ok(Stream { head: Head::Port(port), rest: vec![], parallelism, uid })
    }

    fn source(&mut self, plan: &Plan, table: &Table, columns: &[usize]) -> Result<Stream, SqlError> {
        if let Some(stream) = table.stream {
            return self.stream(plan, table, columns, stream);
        }
        let descriptor = descriptor(table, &self.config.base_dir);
        let request = ScanRequest { projection: columns.to_vec(), limit: None };
        let scan = create_source(&descriptor, &request)
            .map_err(|e| SqlError::new(ErrorKind::Configuration, e.to_string()))?;
        let watermarks: Option<Arc<dyn WatermarkStrategy<RecordBatch>>> = match &table.watermark {
            None => None,
            Some(watermark) => {
                let at = |physical: usize| columns.iter().position(|c| *c == physical).unwrap_or(0);
                let expression = self.compile(&watermark.expression.remap_columns(&at))?;
                Some(Arc::new(watermark::ExpressionWatermark {
                    expression,
                    idle_timeout: self.config.idle_timeout,
                }))
            }
        };
        let uid = self.uid("Source", &digest(plan), &[]);
        let name = format!("{}[Source]", table.path[2]);
        let head = Head::Source { name, uid: uid.clone(), source: scan.source, watermarks };
        Ok(Stream { head, rest: vec![], parallelism: self.config.parallelism, uid })
    }

    /// The columns of a stream that is in the graph.
    fn stream(
        &mut self,
        plan: &Plan,
        table: &Table,
        columns: &[usize],
        stream: StreamInput,
    ) -> Result<Stream, SqlError> {
        let vertex = self.graph.vertices.get(stream.port.vertex());
        let is_same = |v: &&Vertex| table.options.get("stream").is_some_and(|uid| v.operators.contains(uid));
        let Some(Vertex { parallelism, .. }) = vertex.filter(is_same) else {
            return Err(SqlError::catalog(format!(
                "the stream of table `{}` belongs to another job, which was started already; drop the table and register a \
                 stream of this job",
                table.name()
            )));
        };
        let parallelism = *parallelism;
        let uid = self.uid("Stream", &table_text(table), &[]);
        let input = Stream { head: Head::Port(stream.port), rest: vec![], parallelism, uid };
        if columns.iter().copied().eq(0..table.physical.len()) {
            return Ok(input);
        }
        let mut projection = columns.to_vec();
        projection.extend(stream.changelog.then_some(table.physical.len()));
        let node = self.node(plan, "Project", move || Box::new(Project { columns: projection.clone() }));
        Ok(self.chain(input, node))
    }

    fn compile(&self, expr: &ScalarExpr) -> Result<ExprRef, SqlError> {
        if !documents(expr).is_empty() {
            return Err(SqlError::new(
                ErrorKind::Unsupported,
                format!(
                    "CONFIG in `{expr}`: it can be used in SELECT lists and WHERE, not in join conditions, VALUES, UNNEST or watermarks"
                ),
            ));
        }
        compile(expr, self.ctx).map_err(|e| SqlError::new(ErrorKind::Validation, e.to_string()))
    }

    /// A uid that is the same in every process that plans the same statement.
    fn uid(&mut self, kind: &str, specification: &str, inputs: &[&str]) -> String {
        let text = format!("{kind}\n{specification}\n{}", inputs.join("\n"));
        let base = fingerprint(&text);
        let count = self.uids.entry(base.clone()).or_default();
        loop {
            *count += 1;
            let uid = if *count == 1 { base.clone() } else { fingerprint(&format!("{text}\n#{count}")) };
            if !self.taken.contains(&uid) {
                return uid;
            }
        }
    }
}

/// 128 bits of FNV-1a, in hexadecimal.
fn fingerprint(text: &str) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for byte in text.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    format!("{hash:032x}")
}
