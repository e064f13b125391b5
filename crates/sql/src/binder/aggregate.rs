//! Aggregates: which functions they are, of which type, and the aggregation over a relation.
//!
//! Invariant: grouping by both bounds of a window makes a window aggregation; anything less is unbounded.

use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    Spanned,
};
use streamkeeper_connectors::schema::DataType;

use super::scope::Scope;
use super::window::property_column;
use super::{Binder, implicit_cast};
use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::operators::spec::{AggregateCall, AggregateFunction as F, WindowProperty};
use crate::plan::{Column, Node, Plan, WindowSource};

/// An aggregate over the expressions of its input.
#[derive(Debug, Clone)]
pub(crate) struct BoundAggregate {
    function: F,
    args: Vec<ScalarExpr>,
    distinct: bool,
    filter: Option<ScalarExpr>,
    data_type: DataType,
}

impl PartialEq for BoundAggregate {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[ScalarExpr], b: &[ScalarExpr]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| crate::plan::same(a, b))
        };
        self.function == other.function
            && self.distinct == other.distinct
            && same(&self.args, &other.args)
            && same(self.filter.as_slice(), other.filter.as_slice())
    }
}

enum Known {
    Supported(F),
    Unsupported,
}

fn known(name: &str) -> Option<Known> {
    Some(Known::Supported(match name {
        "COUNT" => F::Count,
        "SUM" => F::Sum,
        "AVG" => F::Avg,
        "MIN" => F::Min,
        "MAX" => F::Max,
        "FIRST_VALUE" => F::FirstValue,
        "LAST_VALUE" => F::LastValue,
        "LISTAGG" => F::ListAgg,
        "STDDEV_POP" => F::StddevPop,
        "STDDEV_SAMP" | "STDDEV" => F::StddevSamp,
        "VAR_POP" => F::VarPop,
        "VAR_SAMP" | "VARIANCE" => F::VarSamp,
        "COLLECT" => F::Collect,
        "SINGLE_VALUE" => F::SingleValue,
        "ARRAY_AGG"
        | "JSON_OBJECTAGG"
        | "JSON_ARRAYAGG"
        | "PERCENTILE"
        | "APPROX_COUNT_DISTINCT"
        | "GROUPING"
        | "GROUPING_ID"
        | "GROUP_ID"
        | "CUME_DIST"
        | "EVERY"
        | "ANY_VALUE" => return Some(Known::Unsupported),
        _ => return None,
    }))
}

/// Whether the call is of an aggregate function, without OVER.
pub(crate) fn is_aggregate(function: &ast::Function) -> bool {
    function.over.is_none() && known(&function.name.to_string().to_ascii_uppercase()).is_some()
}

impl Binder<'_> {
    /// Binds a call for which [`is_aggregate`] is true; `grouped`: there are keys, so that no group is empty.
    pub(crate) fn aggregate(
        &self,
        call: &ast::Function,
        scope: &Scope,
        grouped: bool,
    ) -> Result<BoundAggregate, SqlError> {
        let span = call.name.span();
        let name = call.name.to_string().to_ascii_uppercase();
        let Some(Known::Supported(function)) = known(&name) else {
            return Err(SqlError::unsupported(format!("The aggregate function {name}"), span));
        };
        if !call.within_group.is_empty() || call.null_treatment.is_some() {
            return Err(SqlError::unsupported(format!("WITHIN GROUP and IGNORE NULLS of {name}"), span));
        }
        let FunctionArguments::List(list) = &call.args else {
            return Err(SqlError::validation(format!("{name} needs an argument"), span));
        };
        if let Some(clause) = list.clauses.iter().find(|c| !matches!(c, FunctionArgumentClause::Separator(_)))
        {
            return Err(SqlError::unsupported(format!("`{clause}` in {name}"), span));
        }
        let mut args = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    refuse_nested(expr)?;
                    args.push(self.scalar(expr, scope)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if function == F::Count => {}
                other => return Err(SqlError::validation(format!("{name} does not take `{other}`"), span)),
            }
        }
        let star = args.is_empty() && function == F::Count && !list.args.is_empty();
        let most = if function == F::ListAgg { 2 } else { 1 };
        if args.len() > 1 && function == F::Count {
            return Err(SqlError::unsupported("COUNT of several columns", span));
        }
        if !star && (args.is_empty() || args.len() > most) {
            return Err(SqlError::validation(
                format!("Invalid number of arguments to {name}: {} given", args.len()),
                span,
            ));
        }
        let mut distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        if matches!(function, F::Min | F::Max) {
            distinct = false;
        }
        let filter = match &call.filter {
            None => None,
            Some(filter) => Some(self.condition(filter, scope, "FILTER (WHERE …)")?),
        };
        if function == F::Count && !distinct && args.first().is_some_and(|a| !a.data_type().nullable) {
            args.clear();
        }
        let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
        let data_type =
            function.return_type(&types, distinct).map_err(|reason| SqlError::validation(reason, span))?;
        if function == F::ListAgg {
            for arg in &mut args {
                *arg = implicit_cast(arg.clone(), &DataType::string(), span)?;
            }
        }
        let nullable = function != F::Count && (!grouped || filter.is_some());
        let data_type = if nullable { data_type.with_nullable(true) } else { data_type };
        Ok(BoundAggregate { function, args, distinct, filter, data_type })
    }
}

fn refuse_nested(expr: &ast::Expr) -> Result<(), SqlError> {
    let nested = ast::visit_expressions(expr, |e: &ast::Expr| match e {
        ast::Expr::Function(f) if is_aggregate(f) => std::ops::ControlFlow::Break(f.name.span()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    match nested {
        std::ops::ControlFlow::Break(span) => {
            Err(SqlError::validation("Aggregate expressions cannot be nested", span))
        }
        std::ops::ControlFlow::Continue(()) => Ok(()),
    }
}

/// An aggregation, and where its output holds each key and each aggregate.
pub(crate) struct Aggregated {
    pub(crate) plan: Plan,
    pub(crate) keys: Vec<usize>,
    pub(crate) aggregates: Vec<usize>,
}

/// Aggregates `input` by `keys`.
pub(crate) fn aggregate_plan(input: Plan, keys: &[ScalarExpr], aggregates: &[BoundAggregate]) -> Aggregated {
    let mut exprs: Vec<ScalarExpr> = keys.to_vec();
    for aggregate in aggregates {
        exprs.extend(aggregate.args.iter().cloned());
        exprs.extend(aggregate.filter.iter().cloned());
    }
    let mut projection: Vec<ScalarExpr> = Vec::new();
    let mut position = |expr: &ScalarExpr| {
        projection.iter().position(|p| crate::plan::same(p, expr)).unwrap_or_else(|| {
            projection.push(expr.clone());
            projection.len() - 1
        })
    };
    let key_positions: Vec<usize> = keys.iter().map(&mut position).collect();
    let calls: Vec<AggregateCall> = aggregates
        .iter()
        .enumerate()
        .map(|(i, a)| AggregateCall {
            function: a.function,
            args: a.args.iter().map(&mut position).collect(),
            arg_types: a.args.iter().map(|e| e.data_type().clone()).collect(),
            distinct: a.distinct,
            filter: a.filter.as_ref().map(&mut position),
            data_type: a.data_type.clone(),
            name: format!("EXPR${i}"),
        })
        .collect();
    let names = projection
        .iter()
        .enumerate()
        .map(|(i, e)| match e {
            ScalarExpr::Column { name, .. } => name.clone(),
            _ => format!("$f{i}"),
        })
        .collect();
    let input = input.calc(None, projection, names);
    let unique: Vec<usize> = key_positions.iter().copied().fold(Vec::new(), |mut seen, k| {
        if !seen.contains(&k) {
            seen.push(k);
        }
        seen
    });
    let role = |key: usize, property: WindowProperty| input.schema[key].has_role(property);
    let start = unique.iter().copied().find(|k| role(*k, WindowProperty::Start));
    let window = start.and_then(|s| input.schema[s].window).map(|(_, w)| w);
    let end = unique
        .iter()
        .copied()
        .find(|k| window.is_some_and(|w| input.schema[*k].window == Some((WindowProperty::End, w))));
    let (Some(start), Some(end), Some(window)) = (start, end, window) else {
        return unbounded(input, &unique, &key_positions, calls);
    };

    let is_property = |k: &usize| input.schema[*k].window.is_some_and(|(_, w)| w == window);
    let plain: Vec<usize> = unique.iter().copied().filter(|k| !is_property(k)).collect();
    let mut schema: Vec<Column> = plain.iter().map(|k| input.schema[*k].clone().materialized()).collect();
    schema.extend(calls.iter().map(|c| Column::new(c.name.clone(), c.data_type.clone())));
    let mut properties = Vec::new();
    for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
        if let Some(key) = unique.iter().find(|k| role(**k, property) && is_property(k)) {
            properties.push(property);
            let name = input.schema[*key].name.clone();
            schema.push(Column { name, ..property_column(property, window) });
        }
    }
    let keys = key_positions
        .iter()
        .map(|k| match input.schema[*k].window {
            Some((property, w)) if w == window => {
                let at = properties.iter().position(|p| *p == property).unwrap_or(0);
                plain.len() + calls.len() + at
            }
            _ => plain.iter().position(|p| p == k).unwrap_or(0),
        })
        .collect();
    let aggregates = (plain.len()..plain.len() + calls.len()).collect();
    let source = WindowSource::Attached { start, end };
    let node =
        Node::WindowAggregate { input: Box::new(input), keys: plain, calls, source, window, properties };
    Aggregated { plan: Plan { node, schema }, keys, aggregates }
}

fn unbounded(input: Plan, unique: &[usize], keys: &[usize], calls: Vec<AggregateCall>) -> Aggregated {
    // A window column outside of a window aggregation is a plain column: rows of one window come one by one.
    let mut schema: Vec<Column> =
        unique.iter().map(|k| Column { window: None, ..input.schema[*k].clone().materialized() }).collect();
    schema.extend(calls.iter().map(|c| Column::new(c.name.clone(), c.data_type.clone())));
    let positions = keys.iter().map(|k| unique.iter().position(|u| u == k).unwrap_or(0)).collect();
    let aggregates = (unique.len()..unique.len() + calls.len()).collect();
    let node = Node::Aggregate { input: Box::new(input), keys: unique.to_vec(), calls };
    Aggregated { plan: Plan { node, schema }, keys: positions, aggregates }
}
