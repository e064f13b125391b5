//! Refuses clauses that `sqlparser` takes for the sake of other databases and Flink does not have.
//!
//! Invariant: a query that leaves the parser has none of them, so nobody can forget to look.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, FunctionArguments, GroupByExpr, LimitClause, OrderByExpr,
    OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, SetQuantifier, Spanned as _, TableFactor,
    TableVersion, Visit, Visitor, WildcardAdditionalOptions,
};
use sqlparser::tokenizer::Span;

use crate::error::SqlError;

/// Fails on the first clause that is not Flink's.
pub(crate) fn check<T: Visit>(node: &T) -> Result<(), SqlError> {
    let mut check = Check { error: None };
    let _ = node.visit(&mut check);
    check.error.map_or(Ok(()), Err)
}

/// The error stands here, since what a visitor breaks with is on the stack of every level of the tree.
struct Check {
    error: Option<SqlError>,
}

impl Check {
    fn keep(&mut self, flow: ControlFlow<SqlError>) -> ControlFlow<()> {
        match flow {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// The first name whose condition holds is refused.
fn refuse(span: impl Fn() -> Span, clauses: &[(bool, &str)]) -> ControlFlow<SqlError> {
    match clauses.iter().find(|(is_there, _)| *is_there) {
        Some((_, name)) => ControlFlow::Break(SqlError::parse(format!("Flink SQL has no {name}"), span())),
        None => ControlFlow::Continue(()),
    }
}

impl Visitor for Check {
    type Break = ();

    fn pre_visit_query(&mut self, node: &Query) -> ControlFlow<()> {
        self.keep(check_query(node))
    }

    fn pre_visit_select(&mut self, node: &Select) -> ControlFlow<()> {
        self.keep(check_select(node))
    }

    fn pre_visit_table_factor(&mut self, node: &TableFactor) -> ControlFlow<()> {
        self.keep(check_table_factor(node))
    }

    fn pre_visit_order_by_expr(&mut self, node: &OrderByExpr) -> ControlFlow<()> {
        self.keep(check_order_by_expr(node))
    }

    fn pre_visit_expr(&mut self, node: &Expr) -> ControlFlow<()> {
        self.keep(check_expr(node))
    }
}

fn check_query(query: &Query) -> ControlFlow<SqlError> {
    let limit = query.limit_clause.as_ref();
    let is_limit_by =
        matches!(limit, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
    let order = query.order_by.as_ref();
    let is_dml = matches!(
        *query.body,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    );
    let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
    refuse(
        || query.span(),
        &[
            (
                !query.locks.is_empty() || query.for_clause.is_some(),
                "FOR UPDATE, FOR SHARE, FOR XML or FOR JSON",
            ),
            (query.settings.is_some() || query.format_clause.is_some(), "SETTINGS or FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
            (
                matches!(limit, Some(LimitClause::OffsetCommaLimit { .. })),
                "LIMIT offset, count; use LIMIT … OFFSET …",
            ),
            (is_limit_by, "LIMIT … BY"),
            (order.is_some_and(|o| matches!(o.kind, OrderByKind::All(_))), "ORDER BY ALL"),
            (order.is_some_and(|o| o.interpolate.is_some()), "INTERPOLATE"),
            (query.fetch.as_ref().is_some_and(|f| f.with_ties || f.percent), "FETCH … WITH TIES or PERCENT"),
            (is_dml, "INSERT, UPDATE, DELETE or MERGE in a query"),
            (
                ctes.clone().any(|cte| cte.materialized.is_some() || cte.from.is_some()),
                "MATERIALIZED in WITH",
            ),
        ],
    )?;
    check_body(&query.body)
}

fn check_select(select: &Select) -> ControlFlow<SqlError> {
    let group_all = matches!(&select.group_by, GroupByExpr::All(_));
    let group_with = matches!(&select.group_by, GroupByExpr::Expressions(_, modifiers)
        if modifiers.iter().any(|m| !matches!(m, sqlparser::ast::GroupByWithModifier::GroupingSets(_))));
    let is_modified = select.select_modifiers.as_ref().is_some_and(|m| m.to_string().trim() != "");
    refuse(
        || select.span(),
        &[
            (matches!(select.distinct, Some(Distinct::On(_))), "DISTINCT ON"),
            (is_modified, "modifiers of SELECT other than DISTINCT"),
            (select.top.is_some(), "TOP; use LIMIT"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "SELECT … INTO; use INSERT INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW; use CROSS JOIN UNNEST"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (group_all, "GROUP BY ALL"),
            (group_with, "GROUP BY … WITH; use GROUP BY ROLLUP (…) or CUBE (…)"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE"),
            (!matches!(select.flavor, SelectFlavor::Standard), "FROM before SELECT"),
            (select.projection.is_empty(), "SELECT without columns"),
        ],
    )?;
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
                check_wildcard(options, item)?
            }
            SelectItem::ExprWithAliases { .. } => {
                refuse(|| item.span(), &[(true, "several aliases for a column")])?
            }
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
        }
    }
    for join in select.from.iter().flat_map(|from| &from.joins) {
        check_join(join)?;
    }
    ControlFlow::Continue(())
}

fn check_table_factor(factor: &TableFactor) -> ControlFlow<SqlError> {
    let clauses: &[(bool, &str)] = match factor {
        TableFactor::Table { version, partitions, json_path, sample, index_hints, args, .. } => &[
            (
                version.as_ref().is_some_and(|v| !matches!(v, TableVersion::ForSystemTimeAsOf(_))),
                "versions of a table but FOR SYSTEM_TIME AS OF",
            ),
            (!partitions.is_empty(), "PARTITION (…) behind a table of a query"),
            (json_path.is_some(), "[…] behind a table"),
            (sample.is_some(), "TABLESAMPLE"),
            (!index_hints.is_empty(), "index hints"),
            (args.as_ref().is_some_and(|a| a.settings.is_some()), "SETTINGS"),
        ],
        TableFactor::Derived { sample, .. } => &[(sample.is_some(), "TABLESAMPLE")],
        TableFactor::UNNEST { with_offset, .. } => &[(*with_offset, "WITH OFFSET; use WITH ORDINALITY")],
        TableFactor::Function { name, .. } => {
            &[(!name.to_string().eq_ignore_ascii_case("TABLE"), "LATERAL f(…); write LATERAL TABLE(f(…))")]
        }
        TableFactor::TableFunction { .. } | TableFactor::MatchRecognize { .. } => &[],
        TableFactor::NestedJoin { table_with_joins, .. } => {
            for join in &table_with_joins.joins {
                check_join(join)?;
            }
            &[]
        }
        _ => &[(true, "such a table: PIVOT, UNPIVOT, JSON_TABLE, OPENJSON, XMLTABLE or SEMANTIC_VIEW")],
    };
    refuse(|| factor.span(), clauses)
}

fn check_order_by_expr(key: &OrderByExpr) -> ControlFlow<SqlError> {
    let is_using = !matches!(
        key.options.sort,
        None | Some(sqlparser::ast::OrderBySort::Asc | sqlparser::ast::OrderBySort::Desc)
    );
    refuse(|| key.span(), &[(key.with_fill.is_some(), "WITH FILL"), (is_using, "ORDER BY … USING")])
}

fn check_expr(expr: &Expr) -> ControlFlow<SqlError> {
    let name = match expr {
        Expr::Function(function) => return check_function(function),
        Expr::BinaryOp {
            op:
                BinaryOperator::BitwiseOr
                | BinaryOperator::BitwiseAnd
                | BinaryOperator::BitwiseXor
                | BinaryOperator::Xor
                | BinaryOperator::Match
                | BinaryOperator::Regexp,
            ..
        } => "this operator",
        Expr::ILike { .. } => "ILIKE; use LOWER(…) LIKE …",
        Expr::RLike { .. } => "RLIKE; use REGEXP(…)",
        Expr::Convert { .. } => "CONVERT; use CAST",
        Expr::Cast { format: Some(_), .. } => "CAST … FORMAT; use DATE_FORMAT or TO_TIMESTAMP",
        Expr::Collate { .. } => "COLLATE",
        Expr::JsonAccess { .. } => "`:` for JSON; use JSON_VALUE",
        Expr::AtTimeZone { .. } => "AT TIME ZONE; use CONVERT_TZ or TIMESTAMP_LTZ",
        Expr::IsNormalized { .. } => "IS NORMALIZED",
        Expr::InUnnest { .. } => "IN UNNEST",
        Expr::Struct { .. } | Expr::Dictionary(_) | Expr::Map(_) => "such a literal; use ROW(…) or MAP[…]",
        Expr::Array(array) if !array.named => return ControlFlow::Continue(()),
        Expr::MatchAgainst { .. } => "MATCH … AGAINST",
        Expr::OuterJoin(_) => "(+)",
        Expr::Prior(_) => "PRIOR",
        Expr::Lambda(_) => "lambda functions",
        Expr::MemberOf(_) => "MEMBER OF for JSON",
        Expr::Named { .. } => "AS in an expression",
        _ => return ControlFlow::Continue(()),
    };
    refuse(|| expr.span(), &[(true, name)])
}

fn check_body(body: &SetExpr) -> ControlFlow<SqlError> {
    // Left-deep chains of set operations are walked, not recursed into: queries inside are visited anyway.
    let mut rest = body;
    while let SetExpr::SetOperation { left, set_quantifier, right, .. } = rest {
        let by_name = matches!(
            set_quantifier,
            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
        );
        refuse(|| right.span(), &[(by_name, "UNION … BY NAME")])?;
        rest = left;
    }
    ControlFlow::Continue(())
}

fn check_wildcard(options: &WildcardAdditionalOptions, item: &SelectItem) -> ControlFlow<SqlError> {
    let has_options = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    refuse(|| item.span(), &[(has_options, "EXCLUDE, EXCEPT, REPLACE or RENAME behind *")])
}

fn check_join(join: &sqlparser::ast::Join) -> ControlFlow<SqlError> {
    use sqlparser::ast::JoinOperator as J;
    let is_flinks = matches!(
        join.join_operator,
        J::Join(_)
            | J::Inner(_)
            | J::Left(_)
            | J::LeftOuter(_)
            | J::Right(_)
            | J::RightOuter(_)
            | J::FullOuter(_)
            | J::CrossJoin(_)
    );
    let name =
        "such a join; there are INNER, LEFT, RIGHT, FULL and CROSS JOIN, and IN and EXISTS for SEMI and ANTI";
    refuse(|| join.span(), &[(!is_flinks || join.global, name)])
}

fn check_function(function: &Function) -> ControlFlow<SqlError> {
    let is_subquery = matches!(&function.args, FunctionArguments::Subquery(_))
        && !function.name.to_string().eq_ignore_ascii_case("ARRAY");
    refuse(
        || function.span(),
        &[
            (
                !matches!(function.parameters, FunctionArguments::None),
                "parameters before the arguments of a function",
            ),
            (function.uses_odbc_syntax, "{fn …}"),
            (is_subquery, "a subquery without brackets as an argument"),
        ],
    )
}
