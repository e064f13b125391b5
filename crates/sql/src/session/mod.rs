//! A session: configuration, catalog, and what each statement does to them. Queries become jobs, which the caller runs.
//!
//! - [`Session`]: statements one after the other; `tables`: the catalog as the binder sees it; `show`: SHOW and DESCRIBE
//! - `definitions`: the catalog as statements, for who keeps it, and for jobs that are planned elsewhere
//! - `streams`: streams as tables, and queries as streams, in a graph that others build as well

mod definitions;
mod show;
mod streams;
mod tables;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use sqlparser::ast::{Query, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_dataflow::graph::JobGraph;

pub use self::definitions::Definition;
use self::streams::RegisteredStream;
pub use self::streams::{BoundQuery, QueryStream, StreamTable};
use self::tables::CatalogNames;
use crate::binder::Binder;
use crate::catalog::{Catalog, ObjectPath};
use crate::config::{self, Config, ZOOKEEPER_QUORUM};
use crate::error::{ErrorKind, SqlError};
use crate::explain;
use crate::expr::{EvalContext, ScalarExpr};
use crate::optimizer::optimize;
use crate::parser::{CreateTable, CreateView, DescribeObject, Insert, Statement};
use crate::physical::{PhysicalConfig, SinkPlan, plan_sinks};
use crate::plan::table::{Table, TableColumn};
use crate::plan::{Plan, fields};

/// What came of a statement.
#[derive(Debug)]
pub enum StatementResult {
    /// Done; a line for a person.
    Ok(String),
    /// Rows to show.
    Table {
        /// Names of the columns.
        columns: Vec<String>,
        /// A text per column.
        rows: Vec<Vec<String>>,
    },
    /// A text of many lines.
    Text(String),
    /// A job to run.
    Job(Box<PlannedJob>),
}

/// A job that is ready to run.
pub struct PlannedJob {
    /// `pipeline.name`, or what the job inserts into.
    pub name: String,
    /// Its tasks.
    pub graph: JobGraph,
    /// The tables that it writes to, in order.
    pub sinks: Vec<String>,
    /// The configuration documents that it reads, by the names that CONFIG gives them.
    pub config_documents: BTreeSet<String>,
    /// The statements that make, in an empty catalog, the tables and views that it needs, in an order in which they can be executed.
    pub definitions: Vec<String>,
}

impl std::fmt::Debug for PlannedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tasks: Vec<_> = self.graph.vertices.iter().map(|v| (&v.name, v.parallelism)).collect();
        f.debug_struct("PlannedJob").field("name", &self.name).field("tasks", &tasks).finish_non_exhaustive()
    }
}

/// Executes statements.
#[derive(Debug)]
pub struct Session {
    config: Config,
    initial: Config,
    catalog: Catalog,
    streams: Vec<RegisteredStream>,
    warnings: Vec<String>,
    /// The INSERTs since BEGIN STATEMENT SET.
    open_set: Option<Vec<Insert>>,
    /// What the binder has asked for in the statement that is executed, in order.
    lookups: RefCell<Vec<ObjectPath>>,
    /// What relative paths are relative to.
    base_dir: PathBuf,
}

type Result<T> = std::result::Result<T, SqlError>;

impl Session {
    /// A session with an empty catalog.
    pub fn new(config: Config) -> Self {
        let initial = config.clone();
        Self {
            config,
            initial,
            catalog: Catalog::new(),
            streams: Vec::new(),
            warnings: Vec::new(),
            open_set: None,
            lookups: RefCell::default(),
            base_dir: PathBuf::new(),
        }
    }

    /// Makes the paths of tables that are relative be relative to `directory`; otherwise they are to the process's.
    pub fn set_base_directory(&mut self, directory: PathBuf) {
        self.base_dir = directory;
    }

    /// Sets a key; see [`Config::set`].
    ///
    /// # Errors
    /// When the value is not of the key's type.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>> {
        self.config.set(key, value).map_err(|reason| SqlError::new(ErrorKind::Configuration, reason))
    }

    /// The configuration, with all that SET changed.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What a person should know of the statements since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Executes a statement.
    ///
    /// # Errors
    /// When it means nothing, or is not supported; with its place in the text.
    pub fn execute(&mut self, statement: &Statement) -> Result<StatementResult> {
        self.lookups.borrow_mut().clear();
        let done = || Ok(StatementResult::Ok("OK".to_owned()));
        match statement {
            Statement::Query(query) => {
                let sinks = vec![self.collect(query)?];
                self.job(sinks, "collect")
            }
            Statement::Insert(insert) => {
                if let Some(set) = &mut self.open_set {
                    set.push((**insert).clone());
                    return Ok(StatementResult::Ok("Added to the statement set".to_owned()));
                }
                self.inserts(std::slice::from_ref(&**insert))
            }
            Statement::StatementSet(inserts) => self.inserts(inserts),
            Statement::BeginStatementSet => {
                if self.open_set.replace(Vec::new()).is_some() {
                    return Err(SqlError::new(
                        ErrorKind::Validation,
                        "A statement set is open already; END it first",
                    ));
                }
                Ok(StatementResult::Ok("Begin a statement set".to_owned()))
            }
            Statement::EndStatementSet => match self.open_set.take() {
                Some(inserts) if !inserts.is_empty() => self.inserts(&inserts),
                _ => Err(SqlError::new(
                    ErrorKind::Validation,
                    "There is no INSERT in the statement set to END",
                )),
            },
            Statement::Execute(statement) => self.execute(statement),
            Statement::Explain { statement, .. } => self.explain(statement),
            Statement::CreateTable(create) => self.create_table(create).and_then(|()| done()),
            Statement::CreateView(create) => self.create_view(create).and_then(|()| done()),
            Statement::CreateDatabase { if_not_exists, name, comment, options } => {
                let mut database = crate::catalog::Database::default();
                database.comment.clone_from(comment);
                database.options.clone_from(options);
                self.catalog.create_database(name, *if_not_exists, database).and_then(|()| done())
            }
            Statement::Drop(drop) => self.catalog.drop(drop).and_then(|()| done()),
            Statement::AlterTable { if_exists, name, operation } => {
                self.catalog.alter_table(name, *if_exists, operation).and_then(|()| done())
            }
            Statement::AlterView { name, operation } => {
                self.catalog.alter_view(name, operation).and_then(|()| done())
            }
            Statement::AlterDatabase { name, options } => {
                self.catalog.alter_database(name, options).and_then(|()| done())
            }
            Statement::UseCatalog(name) => self.catalog.use_catalog(name).and_then(|()| done()),
            Statement::Use(name) => self.catalog.use_database(name).and_then(|()| done()),
            Statement::Set(None) => Ok(show::configuration(&self.config)),
            Statement::Set(Some((key, value))) => {
                let warning = self.set(key, value)?;
                self.warnings.extend(warning);
                done()
            }
            Statement::Reset(key) => {
                self.reset(key.as_deref())?;
                done()
            }
            Statement::Show(show) => show::show(show, &self.catalog),
            Statement::Describe { object: DescribeObject::Table, name, .. } => {
                show::describe(&self.catalog, name)
            }
            other => Err(unsupported(other)),
        }
    }

    fn context(&self) -> EvalContext {
        EvalContext::new(config::time_zone(&self.config))
    }

    fn names<'a>(&'a self, ctx: &'a EvalContext) -> CatalogNames<'a> {
        CatalogNames { catalog: &self.catalog, ctx, streams: &self.streams, lookups: &self.lookups }
    }

    /// RESET goes back to what the session began with.
    fn reset(&mut self, key: Option<&str>) -> Result<()> {
        match key {
            None => self.config = self.initial.clone(),
            Some(key) => {
                self.config.reset(Some(key));
                if let Some(value) = self.initial.entries().get(key).cloned() {
                    self.set(key, &value)?;
                }
            }
        }
        Ok(())
    }

    fn create_table(&mut self, create: &CreateTable) -> Result<()> {
        if let Some(query) = &create.as_query {
            return Err(SqlError::unsupported("CREATE TABLE … AS", query.span()));
        }
        let mut table = self.catalog.resolve_table(create)?;
        tables::set_computed_types(&mut table, &self.context())?;
        table.check_watermark()?;
        self.catalog.add_table(create, table)?;
        Ok(())
    }

    fn create_view(&mut self, create: &CreateView) -> Result<()> {
        let ctx = self.context();
        let names = self.names(&ctx);
        let plan = Binder::new(&names, &ctx).query(&create.query)?;
        let columns: Vec<String> = create.columns.iter().map(|c| c.value.clone()).collect();
        let plan = crate::binder::rename(plan, &columns, create.name.span())?;
        self.catalog.create_view(create, Some(fields(&plan.schema)))?;
        Ok(())
    }

    fn bind(&self, inserts: &[Insert]) -> Result<Vec<SinkPlan>> {
        let ctx = self.context();
        let names = self.names(&ctx);
        inserts.iter().map(|insert| Binder::new(&names, &ctx).insert(insert)).collect()
    }

    fn bind_query(&self, query: &Query) -> Result<Plan> {
        let ctx = self.context();
        let names = self.names(&ctx);
        Binder::new(&names, &ctx).query(query)
    }

    /// A query whose rows are shown as the print connector shows them.
    fn collect(&self, query: &Query) -> Result<SinkPlan> {
        let plan = self.bind_query(query)?;
        let physical = fields(&plan.schema);
        let columns = physical
            .iter()
            .enumerate()
            .map(|(index, field)| TableColumn {
                field: field.clone(),
                value: ScalarExpr::Column {
                    index,
                    name: field.name.clone(),
                    data_type: field.data_type.clone(),
                },
                is_physical: true,
            })
            .collect();
        let table = Table {
            path: ["default_catalog", "default_database", "collect"].map(str::to_owned),
            columns,
            physical,
            metadata: Vec::new(),
            watermark: None,
            primary_key: Vec::new(),
            options: BTreeMap::from([("connector".to_owned(), "print".to_owned())]),
            stream: None,
        };
        Ok(SinkPlan { table: Arc::new(table), plan, not_null: false, span: query.span() })
    }

    fn inserts(&mut self, inserts: &[Insert]) -> Result<StatementResult> {
        let sinks = self.bind(inserts)?;
        let names: Vec<String> = sinks.iter().map(|s| s.table.name()).collect();
        self.job(sinks, &format!("insert-into_{}", names.join(",")))
    }

    fn job(&mut self, sinks: Vec<SinkPlan>, name: &str) -> Result<StatementResult> {
        let names = sinks.iter().map(|s| s.table.name()).collect();
        let mut graph = JobGraph::new(self.config.max_parallelism());
        let config_documents = self.plan(sinks, &mut graph)?;
        if !config_documents.is_empty() && self.config.get(ZOOKEEPER_QUORUM).is_none() {
            return Err(SqlError::new(
                ErrorKind::Configuration,
                format!(
                    "CONFIG reads documents in ZooKeeper; set '{ZOOKEEPER_QUORUM}' to its servers, as host:port,host:port"
                ),
            ));
        }
        let name = self.config.get("pipeline.name").unwrap_or(name).to_owned();
        let definitions = self.looked_up();
        let job = PlannedJob { name, graph, sinks: names, config_documents, definitions };
        Ok(StatementResult::Job(Box::new(job)))
    }

    fn plan(&self, sinks: Vec<SinkPlan>, graph: &mut JobGraph) -> Result<BTreeSet<String>> {
        let sinks = sinks.into_iter().map(|sink| SinkPlan { plan: optimize(sink.plan), ..sink }).collect();
        plan_sinks(sinks, graph, &self.physical(), &self.context())
    }

    fn physical(&self) -> PhysicalConfig {
        PhysicalConfig {
            parallelism: config::parallelism(&self.config),
            idle_timeout: config::source_idle_timeout(&self.config),
            drop_nulls: config::drops_null_for_not_null(&self.config),
            base_dir: self.base_dir.clone(),
        }
    }

    fn explain(&self, statement: &Statement) -> Result<StatementResult> {
        let sinks = match statement {
            Statement::Query(query) => {
                let plan = self.bind_query(query)?;
                return Ok(StatementResult::Text(explain::explain(&[(None, plan)])));
            }
            Statement::Insert(insert) => self.bind(std::slice::from_ref(&**insert))?,
            Statement::StatementSet(inserts) => self.bind(inserts)?,
            Statement::Execute(statement) => return self.explain(statement),
            other => return Err(unsupported(other)),
        };
        let plans: Vec<_> = sinks.into_iter().map(|s| (Some(s.table), s.plan)).collect();
        Ok(StatementResult::Text(explain::explain(&plans)))
    }
}

/// Names a statement that Flink has and Streamkeeper has not.
fn unsupported(statement: &Statement) -> SqlError {
    let (construct, span) = match statement {
        Statement::CreateMaterializedTable(create) => ("CREATE MATERIALIZED TABLE", create.table.name.span()),
        Statement::CreateCatalog { name, .. } => ("CREATE CATALOG", name.span),
        Statement::CreateFunction(create) => ("CREATE FUNCTION", create.name.span()),
        Statement::CreateModel(create) => ("CREATE MODEL", create.name.span()),
        Statement::AlterCatalog { name, .. } => ("ALTER CATALOG", name.span),
        Statement::AlterFunction(alter) => ("ALTER FUNCTION", alter.name.span()),
        Statement::AlterMaterializedTable { name, .. } => ("ALTER MATERIALIZED TABLE", name.span()),
        Statement::UseModules(names) => ("USE MODULES", names.first().map_or(Span::empty(), |n| n.span)),
        Statement::Describe { name, .. } => ("DESCRIBE of anything but a table", name.span()),
        Statement::AddJar(_) => ("ADD JAR", Span::empty()),
        Statement::RemoveJar(_) => ("REMOVE JAR", Span::empty()),
        Statement::LoadModule { name, .. } => ("LOAD MODULE", name.span),
        Statement::UnloadModule(name) => ("UNLOAD MODULE", name.span),
        Statement::Analyze { table, .. } => ("ANALYZE TABLE", table.span()),
        Statement::Truncate(table) => ("TRUNCATE TABLE", table.span()),
        Statement::Delete { table, .. } => ("DELETE", table.span()),
        Statement::Update { table, .. } => ("UPDATE", table.span()),
        Statement::Call(call) => ("CALL", call.span()),
        Statement::CompilePlan { .. } => ("COMPILE PLAN", Span::empty()),
        Statement::ExecutePlan(_) => ("EXECUTE PLAN", Span::empty()),
        Statement::StopJob { .. } => ("STOP JOB", Span::empty()),
        _ => ("This statement", Span::empty()),
    };
    SqlError::unsupported(construct, span)
}
