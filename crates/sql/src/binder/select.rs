//! One SELECT: WHERE, GROUP BY, HAVING, the select list, DISTINCT.
//!
//! Aggregates and grouping expressions are found by their meaning, not their text: they are bound, and their places in
//! the select list and in HAVING are taken by names that no user can write.

use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::Binder;
use super::aggregate::{Aggregated, BoundAggregate, aggregate_plan, is_aggregate};
use super::from::{name_parts, refuse_subqueries};
use super::scope::Scope;
use crate::error::SqlError;
use crate::expr::{ScalarExpr, conjuncts};
use crate::operators::spec::SortKey;
use crate::plan::{Column, Node, Plan, all_columns, column, same};

/// One column of the select list.
struct Item {
    expr: Value,
    name: String,
}

enum Value {
    /// A column of `*`.
    Bound(ScalarExpr, Span),
    Text(Box<Expr>),
}

impl Binder<'_> {
    pub(crate) fn select(&mut self, select: &Select) -> Result<Plan, SqlError> {
        refuse_clauses(select)?;
        let (mut plan, mut scope) = self.from(&select.from)?;
        if let Some(selection) = &select.selection {
            refuse_subqueries(selection)?;
            plan = plan.filter(conjuncts(&self.condition(selection, &scope, "WHERE")?));
        }
        let mut items = self.items(select, &scope)?;
        let group_by = grouping(&select.group_by)?;
        let mut having = select.having.clone();
        let aggregated = !group_by.is_empty()
            || having.is_some()
            || items.iter().any(|i| matches!(&i.expr, Value::Text(e) if has_aggregate(e)));
        if aggregated {
            (plan, scope) = self.grouped(plan, &scope, &group_by, &mut items, having.as_mut())?;
            if let Some(having) = &having {
                refuse_subqueries(having)?;
                plan = plan.filter(conjuncts(&self.condition(having, &scope, "HAVING")?));
            }
        }
        (plan, scope) = self.row_numbers(plan, scope, &mut items, select)?;
        let mut projection = Vec::with_capacity(items.len());
        for item in &items {
            projection.push(match &item.expr {
                Value::Bound(expr, _) => expr.clone(),
                Value::Text(expr) => self.scalar(expr, &scope)?,
            });
        }
        let names = items.into_iter().map(|i| i.name).collect();
        let plan = plan.calc(None, projection, names);
        match &select.distinct {
            None | Some(ast::Distinct::All) => Ok(plan),
            Some(ast::Distinct::Distinct) => {
                let names: Vec<String> = plan.schema.iter().map(|c| c.name.clone()).collect();
                let keys = all_columns(&plan.schema);
                let Aggregated { plan, keys, .. } = aggregate_plan(plan, &keys, &[]);
                let projection = keys.iter().map(|k| column(&plan.schema, *k)).collect();
                Ok(plan.calc(None, projection, names))
            }
            Some(on) => Err(SqlError::unsupported(format!("{on}"), select.span())),
        }
    }

    fn items(&self, select: &Select, scope: &Scope) -> Result<Vec<Item>, SqlError> {
        let mut items = Vec::new();
        for (position, item) in select.projection.iter().enumerate() {
            match item {
                SelectItem::Wildcard(_) => {
                    if scope.relations.is_empty() {
                        return Err(SqlError::validation("SELECT * needs a FROM clause", item.span()));
                    }
                    items.extend((0..scope.schema.len()).map(|i| star(scope, i, item.span())));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let relation = scope.relation(&name_parts(name)?, name.span())?;
                    let columns = relation.start..relation.start + relation.len;
                    items.extend(columns.map(|i| star(scope, i, item.span())));
                }
                SelectItem::UnnamedExpr(expr) => {
                    refuse_subqueries(expr)?;
                    let name = match expr {
                        Expr::Identifier(ident) => ident.value.clone(),
                        Expr::CompoundIdentifier(parts) => {
                            parts.last().map_or(String::new(), |p| p.value.clone())
                        }
                        _ => format!("EXPR${position}"),
                    };
                    items.push(Item { expr: Value::Text(Box::new(expr.clone())), name });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    refuse_subqueries(expr)?;
                    items.push(Item { expr: Value::Text(Box::new(expr.clone())), name: alias.value.clone() });
                }
                other => return Err(SqlError::unsupported(format!("`{other}`"), other.span())),
            }
        }
        Ok(items)
    }

    /// Groups, and rewrites `items` and `having` to the columns of the groups.
    fn grouped(
        &mut self,
        plan: Plan,
        scope: &Scope,
        group_by: &[Expr],
        items: &mut [Item],
        having: Option<&mut Expr>,
    ) -> Result<(Plan, Scope), SqlError> {
        let mut keys = Vec::new();
        for expr in group_by {
            refuse_subqueries(expr)?;
            refuse_legacy_windows(expr)?;
            keys.push(self.scalar(expr, scope)?);
        }
        let mut aggregates: Vec<BoundAggregate> = Vec::new();
        for item in items.iter_mut() {
            match &mut item.expr {
                Value::Text(expr) => self.substitute(expr, scope, &keys, &mut aggregates)?,
                Value::Bound(expr, span) => {
                    let Some(key) = keys.iter().position(|k| same(k, expr)) else {
                        return Err(not_grouped(&expr.to_string(), *span));
                    };
                    item.expr = Value::Text(Box::new(Expr::Identifier(Ident::with_span(
                        *span,
                        format!("$key{key}"),
                    ))));
                }
            }
        }
        if let Some(having) = having {
            self.substitute(having, scope, &keys, &mut aggregates)?;
        }
        let Aggregated { plan, keys: key_columns, aggregates: aggregate_columns } =
            aggregate_plan(plan, &keys, &aggregates);
        let mut names = Scope::default();
        for (kind, columns) in [("key", &key_columns), ("agg", &aggregate_columns)] {
            for (i, at) in columns.iter().enumerate() {
                names.schema.push(Column { name: format!("${kind}{i}"), ..plan.schema[*at].clone() });
            }
        }
        let columns: Vec<usize> = key_columns.into_iter().chain(aggregate_columns).collect();
        let projection = columns.iter().map(|i| column(&plan.schema, *i)).collect();
        let column_names = names.schema.iter().map(|c| c.name.clone()).collect();
        let plan = plan.calc(None, projection, column_names);
        Ok((plan, Scope::of(names.schema, Vec::new())))
    }

    fn substitute(
        &self,
        expr: &mut Expr,
        scope: &Scope,
        keys: &[ScalarExpr],
        aggregates: &mut Vec<BoundAggregate>,
    ) -> Result<(), SqlError> {
        let mut substitution = Substitution { binder: self, scope, keys, aggregates };
        match ast::VisitMut::visit(expr, &mut substitution) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Appends a column for each `ROW_NUMBER() OVER (…)`.
    fn row_numbers(
        &mut self,
        mut plan: Plan,
        mut scope: Scope,
        items: &mut [Item],
        select: &Select,
    ) -> Result<(Plan, Scope), SqlError> {
        let mut found: Vec<(usize, ast::Function)> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let Value::Text(expr) = &item.expr else { continue };
            match &**expr {
                Expr::Function(function) if function.over.is_some() => found.push((i, function.clone())),
                _ => refuse_over(expr)?,
            }
        }
        for (i, function) in found {
            let span = function.name.span();
            let name = function.name.to_string().to_ascii_uppercase();
            if name != "ROW_NUMBER" {
                return Err(SqlError::unsupported(format!("The OVER aggregate {name}(…) OVER (…)"), span));
            }
            let window = match &function.over {
                Some(ast::WindowType::WindowSpec(window)) => window,
                Some(ast::WindowType::NamedWindow(name)) => select
                    .named_window
                    .iter()
                    .find(|w| w.0 == *name)
                    .and_then(|w| match &w.1 {
                        ast::NamedWindowExpr::WindowSpec(spec) => Some(spec),
                        ast::NamedWindowExpr::NamedWindow(_) => None,
                    })
                    .ok_or_else(|| {
                        SqlError::validation(format!("Window '{}' not found", name.value), name.span)
                    })?,
                None => return Err(SqlError::validation("ROW_NUMBER() needs OVER (…)", span)),
            };
            let mut exprs = Vec::new();
            for expr in window.partition_by.iter().chain(window.order_by.iter().map(|o| &o.expr)) {
                exprs.push(self.scalar(expr, &scope)?);
            }
            if window.order_by.is_empty() {
                return Err(SqlError::validation("ROW_NUMBER() needs ORDER BY in its OVER clause", span));
            }
            let (input, positions) = plan.with_columns(&exprs);
            let (partition, order) = positions.split_at(window.partition_by.len());
            let order = order
                .iter()
                .zip(&window.order_by)
                .map(|(column, o)| {
                    let descending = matches!(o.options.sort, Some(ast::OrderBySort::Desc));
                    let nulls_first = o.options.nulls_first.unwrap_or(!descending);
                    SortKey { column: *column, descending, nulls_first }
                })
                .collect();
            let mut schema = input.schema.clone();
            let at = schema.len();
            schema.push(Column::new("$row_number", DataType::from(TypeKind::BigInt).not_null()));
            let node = Node::RowNumber { input: Box::new(input), partition: partition.to_vec(), order };
            plan = Plan { node, schema: schema.clone() };
            items[i].expr = Value::Bound(column(&schema, at), span);
            // The appended columns come after all that the scope knows, so its positions stay true.
            scope.schema.extend(schema.into_iter().skip(scope.schema.len()));
        }
        Ok((plan, scope))
    }
}

/// Puts names in the place of grouping expressions and aggregates, outermost first.
struct Substitution<'a, 'b> {
    binder: &'a Binder<'b>,
    scope: &'a Scope,
    keys: &'a [ScalarExpr],
    aggregates: &'a mut Vec<BoundAggregate>,
}

impl ast::VisitorMut for Substitution<'_, '_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, node: &mut Expr) -> ControlFlow<SqlError> {
        if matches!(node, Expr::Value(_) | Expr::Interval(_) | Expr::TypedString(_)) {
            return ControlFlow::Continue(());
        }
        if matches!(node, Expr::Identifier(name) if name.value.starts_with("$key") || name.value.starts_with("$agg"))
        {
            return ControlFlow::Continue(());
        }
        let span = node.span();
        let name = match node {
            Expr::Function(function) if is_aggregate(function) => {
                let bound = match self.binder.aggregate(function, self.scope, !self.keys.is_empty()) {
                    Ok(bound) => bound,
                    Err(error) => return ControlFlow::Break(error),
                };
                let at = self.aggregates.iter().position(|a| *a == bound).unwrap_or_else(|| {
                    self.aggregates.push(bound);
                    self.aggregates.len() - 1
                });
                format!("$agg{at}")
            }
            _ if has_aggregate(node) => return ControlFlow::Continue(()),
            _ => match self.binder.scalar(node, self.scope) {
                Ok(bound) => match self.keys.iter().position(|k| same(k, &bound)) {
                    Some(key) => format!("$key{key}"),
                    None if matches!(node, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                        return ControlFlow::Break(not_grouped(&node.to_string(), span));
                    }
                    None => return ControlFlow::Continue(()),
                },
                Err(error) if matches!(node, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                    return ControlFlow::Break(error);
                }
                Err(_) => return ControlFlow::Continue(()),
            },
        };
        *node = Expr::Identifier(Ident::with_span(span, name));
        ControlFlow::Continue(())
    }
}

fn star(scope: &Scope, index: usize, span: Span) -> Item {
    Item { expr: Value::Bound(column(&scope.schema, index), span), name: scope.schema[index].name.clone() }
}

fn not_grouped(expr: &str, span: Span) -> SqlError {
    SqlError::validation(format!("Expression '{expr}' is not being grouped"), span)
}

fn has_aggregate(expr: &Expr) -> bool {
    let found = ast::visit_expressions(expr, |e: &Expr| match e {
        Expr::Function(function) if is_aggregate(function) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn refuse_over(expr: &Expr) -> Result<(), SqlError> {
    let found = ast::visit_expressions(expr, |e: &Expr| match e {
        Expr::Function(f) if f.over.is_some() => ControlFlow::Break((f.name.to_string(), f.name.span())),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break((name, span)) => {
            Err(SqlError::unsupported(format!("{name}(…) OVER (…) inside of an expression"), span))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn refuse_legacy_windows(expr: &Expr) -> Result<(), SqlError> {
    if let Expr::Function(function) = expr {
        let name = function.name.to_string().to_ascii_uppercase();
        if matches!(name.as_str(), "TUMBLE" | "HOP" | "SESSION") {
            return Err(SqlError::unsupported(
                format!("The legacy group window GROUP BY {name}(…) (use the {name} table function)"),
                function.name.span(),
            ));
        }
    }
    Ok(())
}

fn grouping(group_by: &ast::GroupByExpr) -> Result<Vec<Expr>, SqlError> {
    let exprs = match group_by {
        ast::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        other => return Err(SqlError::unsupported(format!("`{other}`"), other.span())),
    };
    for expr in exprs {
        let construct = match expr {
            Expr::GroupingSets(_) => "GROUPING SETS",
            Expr::Cube(_) => "CUBE",
            Expr::Rollup(_) => "ROLLUP",
            Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("CUBE") => "CUBE",
            Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("ROLLUP") => "ROLLUP",
            _ => continue,
        };
        return Err(SqlError::unsupported(construct, expr.span()));
    }
    let flattened = exprs.iter().flat_map(|e| match e {
        Expr::Tuple(parts) => parts.clone(),
        other => vec![other.clone()],
    });
    Ok(flattened.collect())
}

fn refuse_clauses(select: &Select) -> Result<(), SqlError> {
    let refused = [
        (select.top.is_some(), "SELECT TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
    ];
    match refused.into_iter().find(|(present, _)| *present) {
        Some((_, construct)) => Err(SqlError::unsupported(construct, select.span())),
        None => Ok(()),
    }
}
