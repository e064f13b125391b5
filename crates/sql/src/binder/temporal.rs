//! `JOIN t FOR SYSTEM_TIME AS OF left.time`: by event time with the versions of a table, by processing time with a table that is
//! looked up.
//!
//! Invariant: what leaves here has an equality for each column of the versions' key, and its right side is no time attribute
//! any more.

use sqlparser::ast::{self, Spanned, TableFactor, TableVersion};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::TypeKind;
use streamkeeper_connectors::table::{LOOKUP_SOURCES, is_lookup_source};

use super::Binder;
use super::scope::Scope;
use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::operators::spec::JoinKind;
use crate::optimizer::optimize;
use crate::physical::join::equalities;
use crate::plan::versions::{hides_versions, projected_table, unique_key};
use crate::plan::{Column, Node, Plan, Schema, all_columns};

impl Binder<'_> {
    /// A join with `relation` as of a time attribute of `left`.
    pub(super) fn temporal_join(
        &mut self,
        left: Plan,
        scope: &Scope,
        relation: &TableFactor,
        version: &TableVersion,
        kind: JoinKind,
        on: Option<&ast::Expr>,
    ) -> Result<(Plan, Scope), SqlError> {
        let time = self.time_attribute(version, relation, scope)?;
        if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
            let kind = if kind == JoinKind::Right { "RIGHT" } else { "FULL" };
            return Err(SqlError::validation(
                format!(
                    "Temporal table join currently only support INNER JOIN and LEFT JOIN, but was {kind} JOIN"
                ),
                relation.span(),
            ));
        }
        let mut current = relation.clone();
        if let TableFactor::Table { version, .. } = &mut current {
            *version = None;
        }
        let (right, right_scope) = self.factor(&current)?;
        let mut scope = scope.join(&right_scope);
        let condition = self.join_condition(on, &scope)?;
        let width = left.schema.len();
        let (left, condition) = with_key_columns(left, condition);
        let added = left.schema.len() - width;
        let mut schema: Schema = left.schema.clone();
        schema.extend(right.schema.iter().map(|c| {
            let nullable = c.data_type.nullable || kind == JoinKind::Left;
            let data_type = c.data_type.clone().with_nullable(nullable);
            Column { data_type, window: None, ..c.clone().materialized() }
        }));
        let place = (relation.span(), on.map_or(relation.span(), Spanned::span));
        let node = if left.schema[time].proctime {
            check_lookup(&right, &condition, left.schema.len(), place)?;
            Node::LookupJoin { input: Box::new(left), table: Box::new(right), kind, condition }
        } else {
            versioned(left, right, kind, condition, time, place)?
        };
        let mut plan = Plan { node, schema };
        if added > 0 {
            let mut projection = all_columns(&plan.schema);
            projection.drain(width..width + added);
            let names = scope.schema.iter().map(|c| c.name.clone()).collect();
            plan = plan.calc(None, projection, names);
        }
        scope.schema.clone_from(&plan.schema);
        Ok((plan, scope))
    }

    fn time_attribute(
        &self,
        version: &TableVersion,
        relation: &TableFactor,
        left: &Scope,
    ) -> Result<usize, SqlError> {
        let wrong = |hint: &str, span: Span| {
            let message = "Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field";
            SqlError::validation(format!("{message}{hint}"), span)
        };
        let TableVersion::ForSystemTimeAsOf(expr) = version else {
            return Err(wrong("", relation.span()));
        };
        if !matches!(expr, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)) {
            return Err(wrong(&format!(", not an expression such as {expr}"), expr.span()));
        }
        match self.scalar(expr, left)? {
            ScalarExpr::Column { index, .. } if left.schema[index].rowtime || left.schema[index].proctime => {
                Ok(index)
            }
            _ => Err(wrong(
                &format!("; {expr} is none: declare WATERMARK FOR it, or a column AS PROCTIME()"),
                expr.span(),
            )),
        }
    }
}

/// The left with a column for each expression that is compared with a column of the right; and the condition over that.
fn with_key_columns(left: Plan, condition: Vec<ScalarExpr>) -> (Plan, Vec<ScalarExpr>) {
    let width = left.schema.len();
    let is_key = |key: &ScalarExpr, other: &ScalarExpr| {
        let columns = key.columns();
        !matches!(key, ScalarExpr::Column { .. })
            && !columns.is_empty()
            && columns.iter().all(|i| *i < width)
            && matches!(other, ScalarExpr::Column { index, .. } if *index >= width)
    };
    let key_of = |condition: &ScalarExpr| match condition {
        ScalarExpr::Call { function: "=", args, .. } => match args.as_slice() {
            [a, b] if is_key(a, b) => Some(a.clone()),
            [a, b] if is_key(b, a) => Some(b.clone()),
            _ => None,
        },
        _ => None,
    };
    let keys: Vec<ScalarExpr> = condition.iter().filter_map(key_of).collect();
    let (left, positions) = left.with_columns(&keys);
    let added = left.schema.len() - width;
    let shifted = |c: &ScalarExpr| c.remap_columns(&|i| if i < width { i } else { i + added });
    let all = all_columns(&left.schema);
    let mut positions = positions.into_iter();
    let condition = condition
        .iter()
        .map(|c| match (key_of(c), c) {
            (Some(key), ScalarExpr::Call { function, args, data_type }) => {
                let position = positions.next().unwrap_or(width);
                let key_column = |arg: &ScalarExpr| {
                    if *arg == key { all[position].clone() } else { shifted(arg) }
                };
                let args = args.iter().map(key_column).collect();
                ScalarExpr::Call { function, args, data_type: data_type.clone() }
            }
            _ => shifted(c),
        })
        .collect();
    (left, condition)
}

/// Whether the right can be looked up in, by this condition; `width` columns are of the left. `place`: of the table, of the condition.
fn check_lookup(
    right: &Plan,
    condition: &[ScalarExpr],
    width: usize,
    place: (Span, Span),
) -> Result<(), SqlError> {
    let Some(table) = projected_table(right) else {
        return Err(SqlError::unsupported(
            "A processing-time temporal join with anything but a table, its columns and a selection of its rows",
            place.0,
        ));
    };
    if table.stream.is_some() || !is_lookup_source(table.connector()) {
        let kind = match table.stream {
            Some(_) => "a registered stream".to_owned(),
            None => format!("connector '{}'", table.connector()),
        };
        let (name, can) = (table.name(), LOOKUP_SOURCES);
        return Err(SqlError::unsupported(
            format!("A lookup join with {kind} (table '{name}'; tables of {can} can be looked up in)"),
            place.0,
        ));
    }
    let is_looked_up = |condition: &ScalarExpr| match condition {
        ScalarExpr::Call { function: "=", args, .. } => match args.as_slice() {
            [a, b] => {
                let of_right =
                    |e: &ScalarExpr| matches!(e, ScalarExpr::Column { index, .. } if *index >= width);
                let of_left = |e: &ScalarExpr| e.columns().iter().all(|i| *i < width);
                (of_right(a) && of_left(b)) || (of_right(b) && of_left(a))
            }
            _ => false,
        },
        _ => false,
    };
    if condition.iter().any(is_looked_up) {
        return Ok(());
    }
    let message =
        format!("Temporal table join requires an equality condition on fields of table [{}]", table.name());
    Err(SqlError::validation(message, place.1))
}

/// A join with the versions of the right.
fn versioned(
    left: Plan,
    right: Plan,
    kind: JoinKind,
    condition: Vec<ScalarExpr>,
    left_time: usize,
    place: (Span, Span),
) -> Result<Node, SqlError> {
    let wrong = |message: String, span: Span| Err(SqlError::validation(message, span));
    let optimized = optimize(right.clone());
    let Some(key) = unique_key(&optimized) else {
        return wrong(
            "Temporal Table Join requires primary key in versioned table, but no primary key can be found; declare PRIMARY KEY \
             (…) NOT ENFORCED on it, or keep the last row of each key by ROW_NUMBER() OVER (PARTITION BY key ORDER BY rowtime \
             DESC) = 1"
                .to_owned(),
            place.0,
        );
    };
    let Some(right_time) = right.schema.iter().position(|c| c.rowtime) else {
        return wrong(
            "Event-Time Temporal Table Join requires both primary key and row time attribute in versioned table, but no row \
             time attribute can be found; declare WATERMARK FOR the column that tells when a version began"
                .to_owned(),
            place.0,
        );
    };
    let types = (&left.schema[left_time].data_type.kind, &right.schema[right_time].data_type.kind);
    let is_instant = |kind: &TypeKind| matches!(kind, TypeKind::TimestampLtz(_));
    if is_instant(types.0) != is_instant(types.1) {
        let message = format!(
            "Event-Time Temporal Table Join requires same rowtime type in left table and versioned table, but the rowtime \
             types are {} and {}",
            types.0, types.1
        );
        return wrong(message, place.0);
    }
    if hides_versions(&optimized) {
        let message = "Filter is not allowed for right changelog input of event time temporal join, it will corrupt the versioning \
                       of data. Please consider removing the filter before joining; a condition in ON or WHERE is one after it";
        return wrong(message.to_owned(), place.0);
    }
    let (equal, _) = equalities(&condition, left.schema.len());
    if equal.is_empty() {
        return wrong("Currently the join key in Temporal Table Join can not be empty".to_owned(), place.1);
    }
    if let Some(missing) = key.iter().find(|k| !equal.iter().any(|(_, r)| r == *k)) {
        let names: Vec<&str> = key.iter().map(|k| right.schema[*k].name.as_str()).collect();
        let current: Vec<String> = condition.iter().map(ToString::to_string).collect();
        let message = format!(
            "Temporal table's primary key [{}] must be included in the equivalence condition of temporal join, but current \
             temporal join condition is [{}]; '{}' is missing",
            names.join(", "),
            current.join(" AND "),
            right.schema[*missing].name
        );
        return wrong(message, place.1);
    }
    let (left, right) = (Box::new(left), Box::new(right));
    Ok(Node::TemporalJoin { left, right, kind, condition, left_time, right_time, key })
}
