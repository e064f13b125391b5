//! Statements as text that parses to the same statement.
//!
//! `sqlparser` prints its own nodes; where that text is not Flink's (hints, WITHIN, quotes in strings), a copy of the
//! tree is changed before it is printed.

use std::fmt::{self, Display, Write as _};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, MatchRecognizePattern, MatchRecognizeSymbol, ObjectNamePart, TableFactor, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};

use super::ast::*;
use super::statement::SHOW;
use super::tokens::WITHIN;

/// Flink's text of a query or expression.
pub fn to_sql<T: Clone + VisitMut + Display>(node: &T) -> String {
    let mut copy = node.clone();
    let _ = copy.visit(&mut Printable);
    let text = copy.to_string();
    if text.contains(OPEN) { text.replace(OPEN, ") ").replace(&format!("{CLOSE})"), "") } else { text }
}

/// Around a clause that belongs behind the parenthesis it is printed in; no text of a user gets here unquoted.
const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

struct Printable;

impl VisitorMut for Printable {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            // Flink has hints and time before the alias, `sqlparser` prints them behind it: they go with the name.
            TableFactor::Table { name, with_hints, version, .. } => {
                let mut suffix = String::new();
                if !with_hints.is_empty() {
                    let _ = write!(suffix, " /*+ {} */", list(std::mem::take(with_hints)));
                }
                if let Some(version) = version.take() {
                    let _ = write!(suffix, " {version}");
                }
                match name.0.last_mut() {
                    Some(ObjectNamePart::Identifier(last)) if !suffix.is_empty() => {
                        *last = Ident::new(format!("{last}{suffix}"));
                    }
                    _ => {}
                }
            }
            TableFactor::MatchRecognize { pattern, .. } => {
                if let Some(within) = within_mut(pattern) {
                    within.value = format!("{OPEN}{}{CLOSE}", within.value);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) = &value.value
            && text.contains('\'')
        {
            value.value = Value::Placeholder(quote(text));
        }
        ControlFlow::Continue(())
    }
}

fn within_mut(pattern: &mut MatchRecognizePattern) -> Option<&mut Ident> {
    let last = match pattern {
        MatchRecognizePattern::Concat(patterns) => patterns.last_mut()?,
        MatchRecognizePattern::Alternation(patterns) => return within_mut(patterns.last_mut()?),
        other => other,
    };
    match last {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(ident))
            if ident.value.starts_with(WITHIN) =>
        {
            Some(ident)
        }
        _ => None,
    }
}

/// A string literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut out = String::new();
    for (i, item) in items.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(out, "{comma}{item}");
    }
    out
}

fn options(options: &Options) -> String {
    list(options.iter().map(|(key, value)| format!("{} = {}", quote(key), quote(value))))
}

fn with(pairs: &Options) -> String {
    if pairs.is_empty() { String::new() } else { format!(" WITH ({})", options(pairs)) }
}

fn keys(keys: &[String]) -> String {
    list(keys.iter().map(|k| quote(k)))
}

fn comment(text: &Option<String>) -> String {
    text.as_ref().map_or(String::new(), |text| format!(" COMMENT {}", quote(text)))
}

fn flag(is_set: bool, words: &'static str) -> &'static str {
    if is_set { words } else { "" }
}

fn partition(values: &[PartitionValue]) -> String {
    if values.is_empty() { String::new() } else { format!(" PARTITION ({})", list(values)) }
}

impl Display for PartitionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, " = {}", to_sql(value)))
    }
}

impl Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.data_type)
    }
}

impl Display for ColumnDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match &self.kind {
            ColumnKind::Physical(data_type) => write!(f, "{data_type}")?,
            ColumnKind::Computed(expr) => write!(f, "AS {}", to_sql(expr))?,
            ColumnKind::Metadata { data_type, key, is_virtual } => {
                write!(f, "{data_type} METADATA")?;
                if let Some(key) = key {
                    write!(f, " FROM {}", quote(key))?;
                }
                f.write_str(flag(*is_virtual, " VIRTUAL"))?;
            }
        }
        f.write_str(&comment(&self.comment))
    }
}

impl Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column: Vec<String> = self.column.iter().map(Ident::to_string).collect();
        write!(f, "WATERMARK FOR {} AS {}", column.join("."), to_sql(&self.expr))
    }
}

impl Display for PrimaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "CONSTRAINT {name} ")?;
        }
        let enforced = if self.enforced { "ENFORCED" } else { "NOT ENFORCED" };
        write!(f, "PRIMARY KEY ({}) {enforced}", list(&self.columns))
    }
}

impl Distribution {
    fn text(&self) -> String {
        let mut out = String::new();
        if !self.columns.is_empty() {
            let _ = write!(out, " BY {}({})", self.algorithm.as_deref().unwrap_or(""), list(&self.columns));
        }
        if let Some(buckets) = self.buckets {
            let _ = write!(out, " INTO {buckets} BUCKETS");
        }
        out
    }
}

impl Display for TableLike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        if self.options.is_empty() {
            return Ok(());
        }
        let options: Vec<String> = self
            .options
            .iter()
            .map(|(strategy, feature)| format!("{strategy:?} {feature:?}").to_ascii_uppercase())
            .collect();
        write!(f, " ({})", options.join(" "))
    }
}

impl CreateTable {
    /// From the name to the options.
    fn body(&self) -> String {
        let mut out = self.name.to_string();
        let mut elements: Vec<String> = self.columns.iter().map(ColumnDef::to_string).collect();
        elements.extend(self.watermark.iter().map(Watermark::to_string));
        elements.extend(self.primary_key.iter().map(PrimaryKey::to_string));
        if !elements.is_empty() {
            let _ = write!(out, " ({})", elements.join(", "));
        }
        out.push_str(&comment(&self.comment));
        if let Some(distribution) = &self.distributed_by {
            let _ = write!(out, " DISTRIBUTED{}", distribution.text());
        }
        if !self.partitioned_by.is_empty() {
            let _ = write!(out, " PARTITIONED BY ({})", list(&self.partitioned_by));
        }
        out.push_str(&with(&self.options));
        out
    }
}

impl Display for CreateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replace = flag(self.or_replace, "OR REPLACE ");
        let temporary = flag(self.temporary, "TEMPORARY ");
        let exists = flag(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {replace}{temporary}TABLE {exists}{}", self.body())?;
        if let Some(like) = &self.like {
            write!(f, " LIKE {like}")?;
        }
        self.as_query.as_ref().map_or(Ok(()), |query| write!(f, " AS {}", to_sql(&**query)))
    }
}

impl Display for CreateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporary = flag(self.temporary, "TEMPORARY ");
        let exists = flag(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {temporary}VIEW {exists}{}", self.name)?;
        if !self.columns.is_empty() {
            write!(f, " ({})", list(&self.columns))?;
        }
        write!(f, "{} AS {}", comment(&self.comment), to_sql(&*self.query))
    }
}

impl Display for CreateMaterializedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CREATE {}MATERIALIZED TABLE {}", flag(self.or_alter, "OR ALTER "), self.table.body())?;
        if let Some(freshness) = &self.freshness {
            write!(f, " FRESHNESS = {}", to_sql(freshness))?;
        }
        if let Some(mode) = &self.refresh_mode {
            write!(f, " REFRESH_MODE = {mode}")?;
        }
        self.table.as_query.as_ref().map_or(Ok(()), |query| write!(f, " AS {}", to_sql(&**query)))
    }
}

impl CreateFunction {
    fn text(&self, verb: &str, condition: &'static str) -> String {
        let temporary = flag(self.temporary, "TEMPORARY ");
        let system = flag(self.system, "SYSTEM ");
        let condition = flag(self.if_condition, condition);
        let mut out = format!(
            "{verb} {temporary}{system}FUNCTION {condition}{} AS {}",
            self.name,
            quote(&self.class_name)
        );
        if let Some(language) = &self.language {
            let _ = write!(out, " LANGUAGE {language}");
        }
        if !self.jars.is_empty() {
            let _ = write!(out, " USING {}", list(self.jars.iter().map(|jar| format!("JAR {}", quote(jar)))));
        }
        out.push_str(&with(&self.options));
        out
    }
}

impl Display for CreateModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let temporary = flag(self.temporary, "TEMPORARY ");
        let exists = flag(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE {temporary}MODEL {exists}{}", self.name)?;
        for (word, columns) in [("INPUT", &self.input), ("OUTPUT", &self.output)] {
            if !columns.is_empty() {
                write!(f, " {word} ({})", list(columns))?;
            }
        }
        write!(f, "{}{}", comment(&self.comment), with(&self.options))
    }
}

impl Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DropKind::MaterializedTable => "MATERIALIZED TABLE".to_string(),
            kind => format!("{kind:?}").to_ascii_uppercase(),
        };
        let temporary = flag(self.temporary, "TEMPORARY ");
        let system = flag(self.system, "SYSTEM ");
        let exists = flag(self.if_exists, "IF EXISTS ");
        write!(f, "DROP {temporary}{system}{kind} {exists}{}{}", self.name, flag(self.cascade, " CASCADE"))
    }
}

impl Display for TableElements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut elements: Vec<String> = Vec::new();
        for (column, position) in &self.columns {
            elements.push(match position {
                None => column.to_string(),
                Some(ColumnPosition::First) => format!("{column} FIRST"),
                Some(ColumnPosition::After(other)) => format!("{column} AFTER {other}"),
            });
        }
        elements.extend(self.watermark.iter().map(Watermark::to_string));
        elements.extend(self.primary_key.iter().map(PrimaryKey::to_string));
        elements.extend(self.distribution.iter().map(|d| format!("DISTRIBUTION{}", d.text())));
        write!(f, "({})", elements.join(", "))
    }
}

impl Display for AlterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RenameTo(name) => write!(f, "RENAME TO {name}"),
            Self::RenameColumn { from, to } => write!(f, "RENAME {from} TO {to}"),
            Self::Set(pairs) => write!(f, "SET ({})", options(pairs)),
            Self::Reset(names) => write!(f, "RESET ({})", keys(names)),
            Self::Add(elements) => write!(f, "ADD {elements}"),
            Self::Modify(elements) => write!(f, "MODIFY {elements}"),
            Self::DropColumns(columns) => write!(f, "DROP ({})", list(columns)),
            Self::DropPrimaryKey => f.write_str("DROP PRIMARY KEY"),
            Self::DropConstraint(name) => write!(f, "DROP CONSTRAINT {name}"),
            Self::DropWatermark => f.write_str("DROP WATERMARK"),
            Self::DropDistribution => f.write_str("DROP DISTRIBUTION"),
            Self::AddPartition { if_not_exists, partition: values, options } => {
                let exists = flag(*if_not_exists, " IF NOT EXISTS");
                write!(f, "ADD{exists}{}{}", partition(values), with(options))
            }
            Self::DropPartition { if_exists, partition: values } => {
                write!(f, "DROP{}{}", flag(*if_exists, " IF EXISTS"), partition(values))
            }
        }
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = SHOW.iter().find(|(_, kind)| *kind == self.kind).map_or(&[][..], |(words, _)| words);
        write!(f, "SHOW {}", words.join(" "))?;
        use ShowKind::*;
        let is_object = matches!(
            self.kind,
            CreateTable | CreateView | CreateCatalog | CreateMaterializedTable | CreateModel | Partitions
        );
        if let Some(name) = &self.name {
            write!(f, "{} {name}", flag(!is_object, " FROM"))?;
        }
        f.write_str(&partition(&self.partition))?;
        if let Some(like) = &self.like {
            let word = if like.ignore_case { "ILIKE" } else { "LIKE" };
            write!(f, "{} {word} {}", flag(like.negated, " NOT"), quote(&like.pattern))?;
        }
        Ok(())
    }
}

impl Display for ExplainDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EstimatedCost => "ESTIMATED_COST",
            Self::ChangelogMode => "CHANGELOG_MODE",
            Self::JsonExecutionPlan => "JSON_EXECUTION_PLAN",
            Self::PlanAdvice => "PLAN_ADVICE",
        })
    }
}

impl Display for Insert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let into = if self.overwrite { "OVERWRITE" } else { "INTO" };
        write!(f, "INSERT {into} {}", self.table)?;
        if !self.hints.is_empty() {
            write!(f, " /*+ {} */", list(self.hints.iter().map(to_sql)))?;
        }
        f.write_str(&partition(&self.partition))?;
        if !self.columns.is_empty() {
            write!(f, " ({})", list(&self.columns))?;
        }
        write!(f, " {}", to_sql(&*self.source))
    }
}

fn statement_set(inserts: &[Insert]) -> String {
    let inserts: Vec<String> = inserts.iter().map(|insert| format!("{insert}; ")).collect();
    format!("STATEMENT SET BEGIN {}END", inserts.concat())
}

fn selection(expr: &Option<Expr>) -> String {
    expr.as_ref().map_or(String::new(), |expr| format!(" WHERE {}", to_sql(expr)))
}

impl Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(query) => f.write_str(&to_sql(&**query)),
            Self::Insert(insert) => write!(f, "{insert}"),
            Self::StatementSet(inserts) => write!(f, "EXECUTE {}", statement_set(inserts)),
            Self::BeginStatementSet => f.write_str("BEGIN STATEMENT SET"),
            Self::EndStatementSet => f.write_str("END"),
            Self::Execute(inner) => write!(f, "EXECUTE {inner}"),
            Self::Explain { details, statement } => {
                f.write_str("EXPLAIN ")?;
                if !details.is_empty() {
                    write!(f, "{} ", list(details))?;
                }
                inner_set(f, statement)
            }
            Self::CreateTable(table) => write!(f, "{table}"),
            Self::CreateView(view) => write!(f, "{view}"),
            Self::CreateMaterializedTable(table) => write!(f, "{table}"),
            Self::CreateFunction(function) => f.write_str(&function.text("CREATE", "IF NOT EXISTS ")),
            Self::AlterFunction(function) => f.write_str(&function.text("ALTER", "IF EXISTS ")),
            Self::CreateModel(model) => write!(f, "{model}"),
            Self::CreateCatalog { if_not_exists, name, comment: text, options } => {
                let exists = flag(*if_not_exists, "IF NOT EXISTS ");
                write!(f, "CREATE CATALOG {exists}{name}{}{}", comment(text), with(options))
            }
            Self::CreateDatabase { if_not_exists, name, comment: text, options } => {
                let exists = flag(*if_not_exists, "IF NOT EXISTS ");
                write!(f, "CREATE DATABASE {exists}{name}{}{}", comment(text), with(options))
            }
            Self::Drop(drop) => write!(f, "{drop}"),
            Self::AlterTable { if_exists, name, operation } => {
                write!(f, "ALTER TABLE {}{name} {operation}", flag(*if_exists, "IF EXISTS "))
            }
            Self::AlterView { name, operation: AlterView::RenameTo(new) } => {
                write!(f, "ALTER VIEW {name} RENAME TO {new}")
            }
            Self::AlterView { name, operation: AlterView::As(query) } => {
                write!(f, "ALTER VIEW {name} AS {}", to_sql(&**query))
            }
            Self::AlterDatabase { name, options: pairs } => {
                write!(f, "ALTER DATABASE {name} SET ({})", options(pairs))
            }
            Self::AlterCatalog { name, operation } => match operation {
                AlterCatalog::Set(pairs) => write!(f, "ALTER CATALOG {name} SET ({})", options(pairs)),
                AlterCatalog::Reset(names) => write!(f, "ALTER CATALOG {name} RESET ({})", keys(names)),
                AlterCatalog::Comment(text) => write!(f, "ALTER CATALOG {name} COMMENT {}", quote(text)),
            },
            Self::AlterMaterializedTable { name, operation } => {
                write!(f, "ALTER MATERIALIZED TABLE {name} ")?;
                match operation {
                    AlterMaterializedTable::Suspend => f.write_str("SUSPEND"),
                    AlterMaterializedTable::Resume(options) => write!(f, "RESUME{}", with(options)),
                    AlterMaterializedTable::Refresh(values) => write!(f, "REFRESH{}", partition(values)),
                    AlterMaterializedTable::As(query) => write!(f, "AS {}", to_sql(&**query)),
                }
            }
            other => other.fmt_session(f),
        }
    }
}

/// A set inside of another statement has no EXECUTE.
fn inner_set(f: &mut fmt::Formatter<'_>, statement: &Statement) -> fmt::Result {
    match statement {
        Statement::StatementSet(inserts) => f.write_str(&statement_set(inserts)),
        other => write!(f, "{other}"),
    }
}

impl Statement {
    /// Statements on the session and on jobs.
    fn fmt_session(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(None) => f.write_str("SET"),
            Self::Set(Some((key, value))) => write!(f, "SET {} = {}", quote(key), quote(value)),
            Self::Reset(None) => f.write_str("RESET"),
            Self::Reset(Some(key)) => write!(f, "RESET {}", quote(key)),
            Self::UseCatalog(name) => write!(f, "USE CATALOG {name}"),
            Self::Use(name) => write!(f, "USE {name}"),
            Self::UseModules(names) => write!(f, "USE MODULES {}", list(names)),
            Self::Show(show) => write!(f, "{show}"),
            Self::Describe { object, extended, name } => {
                let object = match object {
                    DescribeObject::Table => String::new(),
                    other => format!("{other:?} ").to_ascii_uppercase(),
                };
                write!(f, "DESCRIBE {object}{}{name}", flag(*extended, "EXTENDED "))
            }
            Self::AddJar(path) => write!(f, "ADD JAR {}", quote(path)),
            Self::RemoveJar(path) => write!(f, "REMOVE JAR {}", quote(path)),
            Self::LoadModule { name, options } => write!(f, "LOAD MODULE {name}{}", with(options)),
            Self::UnloadModule(name) => write!(f, "UNLOAD MODULE {name}"),
            Self::Analyze { table, partition: values, columns } => {
                write!(f, "ANALYZE TABLE {table}{} COMPUTE STATISTICS", partition(values))?;
                match columns {
                    AnalyzeColumns::None => Ok(()),
                    AnalyzeColumns::All => f.write_str(" FOR ALL COLUMNS"),
                    AnalyzeColumns::Some(columns) => write!(f, " FOR COLUMNS {}", list(columns)),
                }
            }
            Self::Truncate(name) => write!(f, "TRUNCATE TABLE {name}"),
            Self::Delete { table, selection: filter } => {
                write!(f, "DELETE FROM {table}{}", selection(filter))
            }
            Self::Update { table, assignments, selection: filter } => {
                let assignments = list(assignments.iter().map(|(c, e)| format!("{c} = {}", to_sql(e))));
                write!(f, "UPDATE {table} SET {assignments}{}", selection(filter))
            }
            Self::Call(expr) => write!(f, "CALL {}", to_sql(expr)),
            Self::CompilePlan { execute, path, if_not_exists, statement } => {
                let execute = flag(*execute, "AND EXECUTE ");
                let exists = flag(*if_not_exists, "IF NOT EXISTS ");
                write!(f, "COMPILE {execute}PLAN {} {exists}FOR ", quote(path))?;
                inner_set(f, statement)
            }
            Self::ExecutePlan(path) => write!(f, "EXECUTE PLAN {}", quote(path)),
            Self::StopJob { id, savepoint, drain } => {
                let savepoint = flag(*savepoint, " WITH SAVEPOINT");
                write!(f, "STOP JOB {}{savepoint}{}", quote(id), flag(*drain, " WITH DRAIN"))
            }
            // Printed by `Display`, which calls this for the rest only.
            _ => Ok(()),
        }
    }
}
