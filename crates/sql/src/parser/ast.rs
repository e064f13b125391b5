//! Flink's statements as data. Queries and expressions are `sqlparser`'s, with spans; the rest is ours.
//!
//! Invariant: the text of a statement (`Display`) parses to an equal statement; spans take no part in equality.

use std::ops::Range;

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::DataType;

/// A node with its place in the script.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The node.
    pub node: T,
    /// Bytes of the script, from the statement's first token to behind its last one.
    pub span: Range<usize>,
    /// Line of the first token, from 1.
    pub line: u64,
    /// Column of the first token in characters, from 1.
    pub column: u64,
}

/// A data type as written; equality ignores the span.
#[derive(Debug, Clone)]
pub struct TypeName {
    /// What it means.
    pub data_type: DataType,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for TypeName {
    fn eq(&self, other: &Self) -> bool {
        self.data_type == other.data_type
    }
}

/// Pairs of a `WITH (…)` clause, in the order written.
pub type Options = Vec<(String, String)>;

/// A statement of Flink SQL.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub enum Statement {
    /// `SELECT …`, `WITH …`, `VALUES …`.
    Query(Box<Query>),
    /// `INSERT INTO | OVERWRITE …`.
    Insert(Box<Insert>),
    /// `EXECUTE STATEMENT SET BEGIN …; END` and `BEGIN STATEMENT SET; …; END`.
    StatementSet(Vec<Insert>),
    /// `BEGIN STATEMENT SET` whose END is not part of the text.
    BeginStatementSet,
    /// `END` on its own, which closes a set begun in an earlier text.
    EndStatementSet,
    /// `EXECUTE <query or insert>`.
    Execute(Box<Statement>),
    /// `EXPLAIN [details | PLAN FOR] …`.
    Explain { details: Vec<ExplainDetail>, statement: Box<Statement> },
    /// `CREATE TABLE`.
    CreateTable(Box<CreateTable>),
    /// `CREATE VIEW`.
    CreateView(Box<CreateView>),
    /// `CREATE MATERIALIZED TABLE`.
    CreateMaterializedTable(Box<CreateMaterializedTable>),
    /// `CREATE CATALOG`.
    CreateCatalog { if_not_exists: bool, name: Ident, comment: Option<String>, options: Options },
    /// `CREATE DATABASE`.
    CreateDatabase { if_not_exists: bool, name: ObjectName, comment: Option<String>, options: Options },
    /// `CREATE FUNCTION`.
    CreateFunction(Box<CreateFunction>),
    /// `CREATE MODEL`.
    CreateModel(Box<CreateModel>),
    /// `DROP …`.
    Drop(Drop),
    /// `ALTER TABLE`.
    AlterTable { if_exists: bool, name: ObjectName, operation: Box<AlterTable> },
    /// `ALTER VIEW … RENAME TO | AS`.
    AlterView { name: ObjectName, operation: AlterView },
    /// `ALTER DATABASE … SET`.
    AlterDatabase { name: ObjectName, options: Options },
    /// `ALTER CATALOG … SET | RESET | COMMENT`.
    AlterCatalog { name: Ident, operation: AlterCatalog },
    /// `ALTER FUNCTION … AS`.
    AlterFunction(Box<CreateFunction>),
    /// `ALTER MATERIALIZED TABLE`.
    AlterMaterializedTable { name: ObjectName, operation: AlterMaterializedTable },
    /// `SET` (none: show all) or `SET 'key' = 'value'`.
    Set(Option<(String, String)>),
    /// `RESET` (none: all) or `RESET 'key'`.
    Reset(Option<String>),
    /// `USE CATALOG c`.
    UseCatalog(Ident),
    /// `USE [catalog.]database`.
    Use(ObjectName),
    /// `USE MODULES a, b`.
    UseModules(Vec<Ident>),
    /// `SHOW …`.
    Show(Show),
    /// `DESCRIBE | DESC [CATALOG | DATABASE | JOB | FUNCTION | MODEL] [EXTENDED] name`.
    Describe { object: DescribeObject, extended: bool, name: ObjectName },
    /// `ADD JAR`.
    AddJar(String),
    /// `REMOVE JAR`.
    RemoveJar(String),
    /// `LOAD MODULE`.
    LoadModule { name: Ident, options: Options },
    /// `UNLOAD MODULE`.
    UnloadModule(Ident),
    /// `ANALYZE TABLE … COMPUTE STATISTICS`.
    Analyze { table: ObjectName, partition: Vec<PartitionValue>, columns: AnalyzeColumns },
    /// `TRUNCATE TABLE`.
    Truncate(ObjectName),
    /// `DELETE FROM`.
    Delete { table: ObjectName, selection: Option<Expr> },
    /// `UPDATE … SET`.
    Update { table: ObjectName, assignments: Vec<(Ident, Expr)>, selection: Option<Expr> },
    /// `CALL procedure(…)`.
    Call(Expr),
    /// `COMPILE [AND EXECUTE] PLAN 'file' [IF NOT EXISTS] FOR …`.
    CompilePlan { execute: bool, path: String, if_not_exists: bool, statement: Box<Statement> },
    /// `EXECUTE PLAN 'file'`.
    ExecutePlan(String),
    /// `STOP JOB 'id' [WITH SAVEPOINT] [WITH DRAIN]`.
    StopJob { id: String, savepoint: bool, drain: bool },
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CreateTable {
    /// `CREATE OR REPLACE TABLE … AS`.
    pub or_replace: bool,
    /// `TEMPORARY`.
    pub temporary: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The table.
    pub name: Name,
    /// Its columns, in order.
    pub columns: Vec<ColumnDef>,
    /// `WATERMARK FOR`.
    pub watermark: Option<Watermark>,
    /// `PRIMARY KEY`, of the table or of a column.
    pub primary_key: Option<PrimaryKey>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `DISTRIBUTED BY | INTO`.
    pub distributed_by: Option<Distribution>,
    /// `PARTITIONED BY`.
    pub partitioned_by: Vec<Ident>,
    /// `WITH`.
    pub options: Options,
    /// `LIKE`.
    pub like: Option<TableLike>,
    /// `AS SELECT …`.
    pub as_query: Option<Box<Query>>,
}

/// A table's name: `sqlparser`'s `ObjectName` with a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub ObjectName);

impl Default for Name {
    fn default() -> Self {
        Self(ObjectName(Vec::new()))
    }
}

impl std::ops::Deref for Name {
    type Target = ObjectName;
    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

/// A column of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// Its name.
    pub name: Ident,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// `COMMENT`.
    pub comment: Option<String>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a table has few columns")]
pub enum ColumnKind {
    /// From the record itself.
    Physical(TypeName),
    /// `name AS expression`.
    Computed(Expr),
    /// `name type METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        /// The declared type.
        data_type: TypeName,
        /// The connector's key, if it is not the column's name.
        key: Option<String>,
        /// Left out when writing.
        is_virtual: bool,
    },
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    /// The rowtime column; several parts name a field of a row.
    pub column: Vec<Ident>,
    /// The watermark strategy.
    pub expr: Expr,
}

/// `[CONSTRAINT name] PRIMARY KEY (columns) [NOT] ENFORCED`.
#[derive(Debug, Clone, PartialEq)]
pub struct PrimaryKey {
    /// The constraint's name.
    pub name: Option<Ident>,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// False only for `NOT ENFORCED`, the one form that Flink takes.
    pub enforced: bool,
}

/// `DISTRIBUTED [BY [HASH | RANGE] (columns)] [INTO n BUCKETS]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// `HASH` or `RANGE`.
    pub algorithm: Option<String>,
    /// The bucket keys.
    pub columns: Vec<Ident>,
    /// The number of buckets.
    pub buckets: Option<u64>,
}

/// `LIKE table (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableLike {
    /// The table to start from.
    pub table: ObjectName,
    /// What to take of it, in the order written.
    pub options: Vec<(LikeStrategy, LikeFeature)>,
}

/// How `LIKE` merges one feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum LikeStrategy {
    Including,
    Excluding,
    Overwriting,
}

/// A part of a table that `LIKE` can take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum LikeFeature {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// `CREATE VIEW`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct CreateView {
    pub temporary: bool,
    pub if_not_exists: bool,
    pub name: ObjectName,
    pub columns: Vec<Ident>,
    pub comment: Option<String>,
    pub query: Box<Query>,
}

/// `CREATE MATERIALIZED TABLE`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct CreateMaterializedTable {
    pub or_alter: bool,
    pub table: CreateTable,
    pub freshness: Option<Expr>,
    /// `CONTINUOUS` or `FULL`.
    pub refresh_mode: Option<String>,
}

/// `CREATE FUNCTION` and `ALTER FUNCTION`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct CreateFunction {
    pub temporary: bool,
    pub system: bool,
    /// `IF NOT EXISTS`, or `IF EXISTS` of ALTER.
    pub if_condition: bool,
    pub name: ObjectName,
    pub class_name: String,
    pub language: Option<String>,
    pub jars: Vec<String>,
    pub options: Options,
}

/// `CREATE MODEL`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct CreateModel {
    pub temporary: bool,
    pub if_not_exists: bool,
    pub name: ObjectName,
    pub input: Vec<ColumnDef>,
    pub output: Vec<ColumnDef>,
    pub comment: Option<String>,
    pub options: Options,
}

/// What `DROP` drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum DropKind {
    Catalog,
    Database,
    Table,
    View,
    Function,
    Model,
    MaterializedTable,
}

/// `DROP …`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct Drop {
    pub kind: DropKind,
    pub temporary: bool,
    /// `TEMPORARY SYSTEM FUNCTION`.
    pub system: bool,
    pub if_exists: bool,
    pub name: ObjectName,
    /// `CASCADE` of a database.
    pub cascade: bool,
}

/// An action of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub enum AlterTable {
    RenameTo(ObjectName),
    RenameColumn { from: Ident, to: Ident },
    Set(Options),
    Reset(Vec<String>),
    Add(TableElements),
    Modify(TableElements),
    DropColumns(Vec<Ident>),
    DropPrimaryKey,
    DropConstraint(Ident),
    DropWatermark,
    DropDistribution,
    AddPartition { if_not_exists: bool, partition: Vec<PartitionValue>, options: Options },
    DropPartition { if_exists: bool, partition: Vec<PartitionValue> },
}

/// What `ALTER TABLE ADD | MODIFY (…)` names.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "the fields carry the names of the clauses they hold")]
pub struct TableElements {
    pub columns: Vec<(ColumnDef, Option<ColumnPosition>)>,
    pub watermark: Option<Watermark>,
    pub primary_key: Option<PrimaryKey>,
    pub distribution: Option<Distribution>,
}

/// Where an added column goes.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnPosition {
    /// `FIRST`.
    First,
    /// `AFTER column`.
    After(Ident),
}

/// An action of `ALTER VIEW`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum AlterView {
    RenameTo(ObjectName),
    As(Box<Query>),
}

/// An action of `ALTER CATALOG`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum AlterCatalog {
    Set(Options),
    Reset(Vec<String>),
    Comment(String),
}

/// An action of `ALTER MATERIALIZED TABLE`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum AlterMaterializedTable {
    Suspend,
    Resume(Options),
    Refresh(Vec<PartitionValue>),
    As(Box<Query>),
}

/// What `DESCRIBE` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum DescribeObject {
    Table,
    Catalog,
    Database,
    Job,
    Function,
    Model,
}

/// `SHOW …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// What to show.
    pub kind: ShowKind,
    /// `FROM | IN name`, or the name of the object (`SHOW CREATE TABLE name`).
    pub name: Option<ObjectName>,
    /// `[NOT] LIKE | ILIKE 'pattern'`.
    pub like: Option<ShowLike>,
    /// `PARTITION (…)` of `SHOW PARTITIONS`.
    pub partition: Vec<PartitionValue>,
}

/// `[NOT] LIKE | ILIKE 'pattern'`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowLike {
    /// `NOT`.
    pub negated: bool,
    /// `ILIKE`.
    pub ignore_case: bool,
    /// The pattern, with `%` and `_`.
    pub pattern: String,
}

/// What `SHOW` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum ShowKind {
    Catalogs,
    CurrentCatalog,
    Databases,
    CurrentDatabase,
    Tables,
    MaterializedTables,
    Views,
    Functions,
    UserFunctions,
    Procedures,
    Models,
    Modules,
    FullModules,
    Jars,
    Jobs,
    Columns,
    Partitions,
    CreateTable,
    CreateView,
    CreateCatalog,
    CreateMaterializedTable,
    CreateModel,
}

/// What `EXPLAIN` adds to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Flink's keywords")]
pub enum ExplainDetail {
    EstimatedCost,
    ChangelogMode,
    JsonExecutionPlan,
    PlanAdvice,
}

/// The columns of `ANALYZE TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalyzeColumns {
    /// Row counts only.
    None,
    /// `FOR ALL COLUMNS`.
    All,
    /// `FOR COLUMNS a, b`.
    Some(Vec<Ident>),
}

/// `column [= literal]` of a `PARTITION (…)` clause.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionValue {
    /// The partition column.
    pub column: Ident,
    /// Its value; none only where Flink takes a bare column.
    pub value: Option<Expr>,
}

/// `INSERT`.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// `OVERWRITE` instead of `INTO`.
    pub overwrite: bool,
    /// The sink.
    pub table: ObjectName,
    /// `/*+ OPTIONS(…) */`, one call each.
    pub hints: Vec<Expr>,
    /// `PARTITION (…)`.
    pub partition: Vec<PartitionValue>,
    /// The target columns; empty: all.
    pub columns: Vec<Ident>,
    /// The rows.
    pub source: Box<Query>,
}
