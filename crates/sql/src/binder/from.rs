//! FROM: tables, views, subqueries, joins and UNNEST.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{self, JoinConstraint, JoinOperator, ObjectName, Spanned, TableFactor};
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::scope::Scope;
use super::{Binder, Named, column_names, rename};
use crate::error::SqlError;
use crate::expr::{ScalarExpr, conjuncts, literal_boolean};
use crate::operators::spec::JoinKind;
use crate::physical::join::is_append_join;
use crate::plan::{Column, Node, Plan, Schema, Table};

impl Binder<'_> {
    /// The product of all relations in FROM.
    pub(crate) fn from(&mut self, from: &[ast::TableWithJoins]) -> Result<(Plan, Scope), SqlError> {
        let mut all: Option<(Plan, Scope)> = None;
        for table in from {
            all = Some(match all {
                None => self.table_with_joins(table)?,
                Some((plan, scope)) => {
                    let joined = self.join(plan, scope, &table.relation, JoinKind::Inner, None)?;
                    table.joins.iter().try_fold(joined, |left, join| self.join_clause(left, join))?
                }
            });
        }
        match all {
            Some(all) => Ok(all),
            None => {
                // SELECT without FROM: one row without columns.
                let plan = Plan { node: Node::Values { rows: vec![vec![]] }, schema: Vec::new() };
                Ok((plan, Scope::default()))
            }
        }
    }

    fn table_with_joins(&mut self, table: &ast::TableWithJoins) -> Result<(Plan, Scope), SqlError> {
        let first = self.factor(&table.relation)?;
        table.joins.iter().try_fold(first, |left, join| self.join_clause(left, join))
    }

    fn join_clause(&mut self, left: (Plan, Scope), join: &ast::Join) -> Result<(Plan, Scope), SqlError> {
        let span = join.span();
        let (kind, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => (JoinKind::Inner, c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinKind::Left, c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinKind::Right, c),
            JoinOperator::FullOuter(c) => (JoinKind::Full, c),
            JoinOperator::CrossJoin(c) => (JoinKind::Inner, c),
            other => return Err(SqlError::unsupported(format!("{other:?} join"), span)),
        };
        let condition = match constraint {
            JoinConstraint::On(condition) => Some(condition),
            JoinConstraint::None => None,
            JoinConstraint::Using(_) => return Err(SqlError::unsupported("JOIN … USING", span)),
            JoinConstraint::Natural => return Err(SqlError::unsupported("NATURAL JOIN", span)),
        };
        self.join(left.0, left.1, &join.relation, kind, condition)
    }

    fn join(
        &mut self,
        left: Plan,
        scope: Scope,
        relation: &TableFactor,
        kind: JoinKind,
        condition: Option<&ast::Expr>,
    ) -> Result<(Plan, Scope), SqlError> {
        if let TableFactor::UNNEST { .. } = relation {
            return self.unnest(left, &scope, relation, kind, condition);
        }
        if let TableFactor::Table { version: Some(version), .. } = relation {
            return self.temporal_join(left, &scope, relation, version, kind, condition);
        }
        let (right, right_scope) = self.factor(relation)?;
        let scope = scope.join(&right_scope);
        let on = condition;
        let condition = self.join_condition(on, &scope)?;
        let mut schema = scope.schema.clone();
        let left_len = left.schema.len();
        let compares_proctime = |c: &ScalarExpr| {
            let (left, right): (Vec<usize>, Vec<usize>) =
                c.columns().into_iter().filter(|i| schema[*i].proctime).partition(|i| *i < left_len);
            !left.is_empty() && !right.is_empty()
        };
        if let Some(on) = on.filter(|_| condition.iter().any(compares_proctime)) {
            return Err(SqlError::unsupported("A join within an interval of processing time", on.span()));
        }
        for (i, column) in schema.iter_mut().enumerate() {
            let outer = match kind {
                JoinKind::Left => i >= left_len,
                JoinKind::Right => i < left_len,
                JoinKind::Full => true,
                _ => false,
            };
            if outer {
                column.data_type.nullable = true;
                column.window = None;
                column.proctime = false;
            }
        }
        let node = Node::Join { left: Box::new(left), right: Box::new(right), kind, condition };
        let mut plan = Plan { node, schema };
        if !is_append_join(&plan) {
            plan.schema.iter_mut().for_each(|column| column.proctime = false);
        }
        let scope = Scope { schema: plan.schema.clone(), ..scope };
        Ok((plan, scope))
    }

    /// The conditions of ON.
    pub(super) fn join_condition(
        &self,
        on: Option<&ast::Expr>,
        scope: &Scope,
    ) -> Result<Vec<ScalarExpr>, SqlError> {
        let Some(on) = on else { return Ok(Vec::new()) };
        refuse_subqueries(on)?;
        let condition = conjuncts(&self.condition(on, scope, "ON")?);
        Ok(condition.into_iter().filter(|c| *c != literal_boolean(true)).collect())
    }

    fn unnest(
        &mut self,
        left: Plan,
        scope: &Scope,
        relation: &TableFactor,
        kind: JoinKind,
        condition: Option<&ast::Expr>,
    ) -> Result<(Plan, Scope), SqlError> {
        let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = relation else {
            return Err(SqlError::unsupported("This relation", relation.span()));
        };
        let [collection] = array_exprs.as_slice() else {
            return Err(SqlError::unsupported("UNNEST of several collections", relation.span()));
        };
        let outer = match kind {
            JoinKind::Inner => false,
            JoinKind::Left => true,
            _ => return Err(SqlError::unsupported("RIGHT or FULL JOIN UNNEST", relation.span())),
        };
        let mut filter = Vec::new();
        let collection_expr = self.scalar(collection, scope)?;
        let mut columns = element_columns(collection_expr.data_type()).ok_or_else(|| {
            SqlError::validation(
                format!(
                    "UNNEST takes an ARRAY, MAP or MULTISET, but its argument is of type {}",
                    collection_expr.data_type()
                ),
                collection.span(),
            )
        })?;
        if *with_ordinality {
            columns.push(Column::new("ORDINALITY", DataType::from(TypeKind::Int).not_null()));
        }
        if outer {
            columns.iter_mut().for_each(|c| c.data_type.nullable = true);
        }
        let mut name = vec!["$unnest".to_owned()];
        if let Some(alias) = alias {
            name = vec![alias.name.value.clone()];
            let names = column_names(&alias.columns);
            if !names.is_empty() {
                if names.len() != columns.len() {
                    return Err(SqlError::validation(
                        format!(
                            "UNNEST gives {} columns, but {} names are given",
                            columns.len(),
                            names.len()
                        ),
                        alias.name.span,
                    ));
                }
                columns.iter_mut().zip(names).for_each(|(c, n)| c.name = n);
            }
        }
        let scope = scope.join(&Scope::of(columns, name));
        if let Some(on) = condition {
            filter = conjuncts(&self.condition(on, &scope, "ON")?);
            filter.retain(|c| *c != literal_boolean(true));
            if outer && !filter.is_empty() {
                return Err(SqlError::unsupported(
                    "LEFT JOIN UNNEST with a condition other than TRUE",
                    on.span(),
                ));
            }
        }
        let node = Node::Unnest {
            input: Box::new(left),
            collection: collection_expr,
            outer,
            with_ordinality: *with_ordinality,
        };
        Ok((Plan { node, schema: scope.schema.clone() }.filter(filter), scope))
    }

    pub(super) fn factor(&mut self, factor: &TableFactor) -> Result<(Plan, Scope), SqlError> {
        match factor {
            TableFactor::Table { version: Some(_), .. } => Err(SqlError::validation(
                "Temporal table can only be used in temporal join and only supports 'FOR SYSTEM_TIME AS OF' left table's \
                 time attribute field: SELECT … FROM a JOIN b FOR SYSTEM_TIME AS OF a.time ON …",
                factor.span(),
            )),
            TableFactor::Table { sample: Some(_), .. } => {
                Err(SqlError::unsupported("TABLESAMPLE", factor.span()))
            }
            TableFactor::Table { name, alias, args: None, with_hints, .. } => {
                let hints = option_hints(with_hints)?;
                let (plan, path) = self.named(name, &hints)?;
                aliased(plan, alias.as_ref(), path)
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let plan = self.window_tvf(name, &args.args, factor.span())?;
                aliased(plan, alias.as_ref(), Vec::new())
            }
            TableFactor::Function { lateral: false, name, args, alias, .. } => {
                let plan = self.window_tvf(name, args, factor.span())?;
                aliased(plan, alias.as_ref(), Vec::new())
            }
            TableFactor::TableFunction { expr: ast::Expr::Function(function), alias } => {
                let ast::FunctionArguments::List(list) = &function.args else {
                    return Err(SqlError::unsupported(format!("TABLE({function})"), factor.span()));
                };
                let plan = self.window_tvf(&function.name, &list.args, factor.span())?;
                aliased(plan, alias.as_ref(), Vec::new())
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let plan = self.query(subquery)?;
                aliased(plan, alias.as_ref(), Vec::new())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.table_with_joins(table_with_joins)
            }
            TableFactor::UNNEST { .. } => {
                let one = Plan { node: Node::Values { rows: vec![vec![]] }, schema: Vec::new() };
                self.unnest(one, &Scope::default(), factor, JoinKind::Inner, None)
            }
            TableFactor::MatchRecognize { .. } => {
                Err(SqlError::unsupported("MATCH_RECOGNIZE", factor.span()))
            }
            TableFactor::Function { lateral: true, .. } => {
                Err(SqlError::unsupported("LATERAL TABLE(…)", factor.span()))
            }
            TableFactor::Derived { lateral: true, .. } => {
                Err(SqlError::unsupported("LATERAL with a subquery", factor.span()))
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                Err(SqlError::unsupported("PIVOT", factor.span()))
            }
            other => Err(SqlError::unsupported(format!("`{other}` in FROM"), other.span())),
        }
    }

    /// The relation of this name: of WITH, a table, or a view.
    pub(crate) fn named(
        &mut self,
        name: &ObjectName,
        hints: &BTreeMap<String, String>,
    ) -> Result<(Plan, Vec<String>), SqlError> {
        let span = name.span();
        let parts = name_parts(name)?;
        if let [single] = parts.as_slice()
            && let Some((_, plan)) = self.ctes.iter().rev().find(|(cte, _)| cte == single)
        {
            return Ok((plan.clone(), parts));
        }
        match self.find(&parts, hints, span)? {
            Named::Table(table) => {
                let path = table.path.to_vec();
                Ok((scan(&table), path))
            }
            Named::View { path, query, columns, database } => {
                // Names in a view's text never mean the WITH of the query that uses the view.
                let mut inner = Binder {
                    depth: self.depth,
                    database: Some(database),
                    ..Binder::new(self.names, self.ctx)
                };
                let plan = inner.query(&query).map_err(|mut e| {
                    e.message = format!("In view '{}': {}", path[2], e.message);
                    e.location = None;
                    e.at(span)
                })?;
                Ok((rename(plan, &columns, span)?, path.to_vec()))
            }
        }
    }
}

/// All columns of a table, with its event-time attribute.
pub(crate) fn scan(table: &Arc<Table>) -> Plan {
    let schema: Schema = table.scanned().map(|f| Column::new(f.name.clone(), f.data_type.clone())).collect();
    let columns: Vec<usize> = (0..schema.len()).collect();
    let plan = Plan { node: Node::Scan { table: table.clone(), columns }, schema };
    let values = table.columns.iter().map(|c| c.value.clone()).collect();
    let names = table.columns.iter().map(|c| c.field.name.clone()).collect();
    let mut plan = plan.calc(None, values, names);
    if let Some(watermark) = &table.watermark {
        plan.schema[watermark.column].rowtime = true;
    }
    plan
}

fn aliased(
    plan: Plan,
    alias: Option<&ast::TableAlias>,
    path: Vec<String>,
) -> Result<(Plan, Scope), SqlError> {
    let (plan, name) = match alias {
        Some(alias) => {
            let names = column_names(&alias.columns);
            (rename(plan, &names, alias.name.span)?, vec![alias.name.value.clone()])
        }
        None => (plan, path),
    };
    let scope = Scope::of(plan.schema.clone(), name);
    Ok((plan, scope))
}

/// The columns of an element: a row's fields, a map's key and value, else one column.
fn element_columns(collection: &DataType) -> Option<Schema> {
    let of_element = |element: &DataType| match &element.kind {
        TypeKind::Row(fields) => fields
            .iter()
            .map(|f| {
                let nullable = f.data_type.nullable || element.nullable;
                Column::new(f.name.clone(), f.data_type.clone().with_nullable(nullable))
            })
            .collect(),
        _ => vec![Column::new("f0", element.clone())],
    };
    match &collection.kind {
        TypeKind::Array(element) | TypeKind::Multiset(element) => Some(of_element(element)),
        TypeKind::Map(key, value) => {
            Some(vec![Column::new("f0", (**key).clone()), Column::new("f1", (**value).clone())])
        }
        _ => None,
    }
}

/// The parts of a name.
pub(crate) fn name_parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| {
            let ident = part.as_ident().map(|ident| ident.value.clone());
            ident.ok_or_else(|| SqlError::validation(format!("'{name}' is not a name"), name.span()))
        })
        .collect()
}

/// The pairs of `/*+ OPTIONS('key'='value', …) */`. Other hints are advice, and are left alone.
pub(crate) fn option_hints(hints: &[ast::Expr]) -> Result<BTreeMap<String, String>, SqlError> {
    let text = |e: &ast::Expr| match e {
        ast::Expr::Value(v) => v.value.clone().into_string(),
        _ => None,
    };
    let mut options = BTreeMap::new();
    for hint in hints {
        let ast::Expr::Function(function) = hint else { continue };
        let ast::FunctionArguments::List(list) = &function.args else { continue };
        if !function.name.to_string().eq_ignore_ascii_case("OPTIONS") {
            continue;
        }
        for arg in &list.args {
            let pair = match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::BinaryOp {
                    left,
                    op: ast::BinaryOperator::Eq,
                    right,
                })) => text(left).zip(text(right)),
                ast::FunctionArg::ExprNamed { name, arg: ast::FunctionArgExpr::Expr(value), .. } => {
                    text(name).zip(text(value))
                }
                _ => None,
            };
            let (key, value) = pair.ok_or_else(|| {
                SqlError::validation("OPTIONS takes pairs 'key' = 'value'", function.span())
            })?;
            options.insert(key, value);
        }
    }
    Ok(options)
}

/// Names the first subquery in a condition.
pub(crate) fn refuse_subqueries(expr: &ast::Expr) -> Result<(), SqlError> {
    let found = ast::visit_expressions(expr, |e: &ast::Expr| {
        let construct = match e {
            ast::Expr::InSubquery { negated: false, .. } => "IN with a subquery",
            ast::Expr::InSubquery { negated: true, .. } => "NOT IN with a subquery",
            ast::Expr::Exists { .. } => "EXISTS",
            ast::Expr::Subquery(_) => "A scalar subquery",
            ast::Expr::AnyOp { .. } | ast::Expr::AllOp { .. } => "ANY, SOME and ALL",
            _ => return std::ops::ControlFlow::Continue(()),
        };
        std::ops::ControlFlow::Break(SqlError::unsupported(construct, e.span()))
    });
    match found {
        std::ops::ControlFlow::Break(error) => Err(error),
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}
