//! From `sqlparser`'s AST to the logical plan: names, types, time attributes and windows.
//!
//! What Flink knows and Streamkeeper does not is refused here, by name and place: a plan that leaves the binder means
//! what Flink would mean by it.
//!
//! - [`scope`]: names; `from`: tables, joins and window table functions; `select`: one SELECT; `aggregate`: its
//!   aggregates; `insert`: the schema check of a sink; `record`: that of a record

mod aggregate;
mod from;
pub(crate) mod insert;
pub(crate) mod record;
pub(crate) mod scope;
mod select;
mod temporal;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use self::scope::Scope;
use crate::error::SqlError;
use crate::expr::{EvalContext, ScalarExpr, cast, common_type};
use crate::plan::{Column, Node, Plan, Schema, Table, all_columns};

/// What a name in FROM stands for.
pub(crate) enum Named {
    /// A table.
    Table(Arc<Table>),
    /// A view: its query and the names of its columns (empty: those of the query).
    View { path: [String; 3], query: Box<ast::Query>, columns: Vec<String>, database: String },
}

/// Where the binder finds tables and views.
pub(crate) trait Names {
    /// The table or view of this name, with `hints` merged into its options; an unqualified one is of `database`
    /// (none: the current one).
    ///
    /// # Errors
    /// When there is none.
    fn find(
        &self,
        database: Option<&str>,
        name: &[String],
        hints: &BTreeMap<String, String>,
        span: Span,
    ) -> Result<Named, SqlError>;
}

/// Views in views, subqueries in subqueries: deeper than this is refused.
const MAX_DEPTH: usize = 64;

/// Binds one statement.
pub(crate) struct Binder<'a> {
    pub(crate) names: &'a dyn Names,
    pub(crate) ctx: &'a EvalContext,
    ctes: Vec<(String, Plan)>,
    /// Where a view's unqualified names are looked up.
    database: Option<String>,
    depth: usize,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(names: &'a dyn Names, ctx: &'a EvalContext) -> Self {
        Self { names, ctx, ctes: Vec::new(), database: None, depth: 0 }
    }

    fn find(&self, name: &[String], hints: &BTreeMap<String, String>, span: Span) -> Result<Named, SqlError> {
        self.names.find(self.database.as_deref(), name, hints, span)
    }

    /// Binds a query.
    pub(crate) fn query(&mut self, query: &ast::Query) -> Result<Plan, SqlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SqlError::unsupported(
                format!("A query nested more than {MAX_DEPTH} levels deep"),
                query.span(),
            ));
        }
        let ctes = self.ctes.len();
        let plan = self.query_in_scope(query);
        self.ctes.truncate(ctes);
        self.depth -= 1;
        plan
    }

    fn query_in_scope(&mut self, query: &ast::Query) -> Result<Plan, SqlError> {
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(SqlError::unsupported("WITH RECURSIVE", with.span()));
            }
            for cte in &with.cte_tables {
                let plan = self.query(&cte.query)?;
                let plan = rename(plan, &column_names(&cte.alias.columns), cte.alias.name.span)?;
                self.ctes.push((cte.alias.name.value.clone(), plan));
            }
        }
        if let Some(order_by) = &query.order_by {
            return Err(SqlError::unsupported("ORDER BY on an unbounded stream", order_by.span()));
        }
        if let Some(limit) = &query.limit_clause {
            return Err(SqlError::unsupported("LIMIT or OFFSET on a stream", limit.span()));
        }
        if let Some(fetch) = &query.fetch {
            let span = fetch.quantity.as_ref().map_or(query.span(), Spanned::span);
            return Err(SqlError::unsupported("FETCH FIRST on a stream", span));
        }
        self.set_expr(&query.body)
    }

    fn set_expr(&mut self, body: &ast::SetExpr) -> Result<Plan, SqlError> {
        match body {
            ast::SetExpr::Select(select) => self.select(select),
            ast::SetExpr::Query(query) => self.query(query),
            ast::SetExpr::Values(values) => self.values(values),
            ast::SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let all = matches!(set_quantifier, ast::SetQuantifier::All);
                if *op != ast::SetOperator::Union || !all {
                    let all = if all { " ALL" } else { "" };
                    return Err(SqlError::unsupported(format!("{op}{all}"), body.span()));
                }
                self.union(left, right, body.span())
            }
            other => Err(SqlError::unsupported(format!("`{other}` as a query"), other.span())),
        }
    }

    fn union(&mut self, left: &ast::SetExpr, right: &ast::SetExpr, span: Span) -> Result<Plan, SqlError> {
        let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
        if left.schema.len() != right.schema.len() {
            return Err(SqlError::validation(
                format!(
                    "Column count mismatch in UNION ALL: {} on the left, {} on the right",
                    left.schema.len(),
                    right.schema.len()
                ),
                span,
            ));
        }
        let mut schema: Schema = Vec::new();
        for (i, (l, r)) in left.schema.iter().zip(&right.schema).enumerate() {
            let types = [l.data_type.clone(), r.data_type.clone()];
            let data_type = common_type(&types).ok_or_else(|| {
                SqlError::validation(
                    format!(
                        "Type mismatch in column {} of UNION ALL: {} on the left, {} on the right",
                        i + 1,
                        l.data_type,
                        r.data_type
                    ),
                    span,
                )
            })?;
            schema.push(Column {
                rowtime: l.rowtime && r.rowtime,
                proctime: l.proctime && r.proctime,
                window: l.window.filter(|w| r.window == Some(*w)),
                ..Column::new(l.name.clone(), data_type)
            });
        }
        let mut inputs = Vec::new();
        for side in [left, right] {
            let side = cast_columns(side, &schema, span)?;
            match side.node {
                Node::Union { inputs: nested } => inputs.extend(nested),
                _ => inputs.push(side),
            }
        }
        Ok(Plan { node: Node::Union { inputs }, schema })
    }

    fn values(&mut self, values: &ast::Values) -> Result<Plan, SqlError> {
        let scope = Scope::default();
        let mut rows: Vec<Vec<ScalarExpr>> = Vec::new();
        for row in &values.rows {
            let bound: Result<Vec<_>, _> = row.content.iter().map(|e| self.scalar(e, &scope)).collect();
            rows.push(bound?);
        }
        let width = rows.first().map_or(0, Vec::len);
        let span = values.rows.first().and_then(|r| r.content.first()).map_or(Span::empty(), Spanned::span);
        if rows.iter().any(|row| row.len() != width) {
            return Err(SqlError::validation(
                "All rows of VALUES must have the same number of columns",
                span,
            ));
        }
        let mut schema = Vec::new();
        for i in 0..width {
            let types: Vec<_> = rows.iter().map(|row| row[i].data_type().clone()).collect();
            let data_type = common_type(&types).ok_or_else(|| {
                SqlError::validation(
                    format!("The rows of VALUES have no common type in column {}", i + 1),
                    span,
                )
            })?;
            schema.push(Column::new(format!("EXPR${i}"), data_type));
        }
        for row in &mut rows {
            for (expr, column) in row.iter_mut().zip(&schema) {
                *expr = implicit_cast(expr.clone(), &column.data_type, span)?;
            }
        }
        Ok(Plan { node: Node::Values { rows }, schema })
    }

    /// Binds a scalar expression.
    pub(crate) fn scalar(&self, expr: &ast::Expr, scope: &Scope) -> Result<ScalarExpr, SqlError> {
        let bound = crate::expr::bind::bind_expr(expr, scope, self.ctx)?;
        Ok(crate::expr::fold(&bound, self.ctx))
    }

    /// Binds a condition.
    pub(crate) fn condition(
        &self,
        expr: &ast::Expr,
        scope: &Scope,
        clause: &str,
    ) -> Result<ScalarExpr, SqlError> {
        use streamkeeper_connectors::schema::TypeKind;
        let bound = self.scalar(expr, scope)?;
        match bound.data_type().kind {
            TypeKind::Boolean => Ok(bound),
            TypeKind::Null => implicit_cast(bound, &TypeKind::Boolean.into(), expr.span()),
            _ => Err(SqlError::validation(
                format!("{clause} must be a condition, but it is of type {}", bound.data_type()),
                expr.span(),
            )),
        }
    }
}

impl crate::expr::bind::Scope for Scope {
    fn resolve(&self, parts: &[ast::Ident]) -> Result<(ScalarExpr, usize), SqlError> {
        Scope::resolve(self, parts)
    }
}

/// The expression as `data_type`, where they differ.
pub(crate) fn implicit_cast(
    expr: ScalarExpr,
    data_type: &streamkeeper_connectors::schema::DataType,
    span: Span,
) -> Result<ScalarExpr, SqlError> {
    if expr.data_type().kind == data_type.kind {
        return Ok(expr);
    }
    cast(expr, data_type.clone(), false).map_err(|e| SqlError::validation(e.to_string(), span))
}

/// The relation with its columns cast to those of `schema`, under its names.
pub(crate) fn cast_columns(plan: Plan, schema: &[Column], span: Span) -> Result<Plan, SqlError> {
    let mut changed = false;
    let mut projection = Vec::new();
    for (expr, to) in all_columns(&plan.schema).into_iter().zip(schema) {
        changed |= expr.data_type().kind != to.data_type.kind;
        projection.push(implicit_cast(expr, &to.data_type, span)?);
    }
    if !changed {
        return Ok(plan);
    }
    Ok(plan.calc(None, projection, schema.iter().map(|c| c.name.clone()).collect()))
}

/// The names in `AS t (a, b)`.
pub(crate) fn column_names(columns: &[ast::TableAliasColumnDef]) -> Vec<String> {
    columns.iter().map(|c| c.name.value.clone()).collect()
}

/// The relation with its columns renamed; no names: as it is.
pub(crate) fn rename(mut plan: Plan, names: &[String], span: Span) -> Result<Plan, SqlError> {
    if names.is_empty() {
        return Ok(plan);
    }
    if names.len() != plan.schema.len() {
        return Err(SqlError::validation(
            format!("{} column names are given for a relation of {} columns", names.len(), plan.schema.len()),
            span,
        ));
    }
    for (column, name) in plan.schema.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    Ok(plan)
}
