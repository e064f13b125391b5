//! Readers for what Flink's grammar has and `sqlparser`'s tree has no node for (see [`super::dialect`]).

use sqlparser::ast::{BinaryOperator, Expr, Ident};

/// `TABLE t PARTITION BY … ORDER BY …`, an argument of a table function.
#[derive(Debug, Clone, PartialEq)]
pub struct TableArgument<'a> {
    /// A name (`Identifier`, `CompoundIdentifier`) or a `Subquery`.
    pub table: &'a Expr,
    /// The partition keys.
    pub partition_by: Vec<&'a Expr>,
    /// The sort keys, and true for those that are descending.
    pub order_by: Vec<(&'a Expr, bool)>,
}

/// Reads a table argument; a bare subquery is one too.
pub fn table_argument(expr: &Expr) -> Option<TableArgument<'_>> {
    let value = match expr {
        Expr::Subquery(_) => expr,
        Expr::Prefixed { prefix, value } if is_keyword(prefix, "TABLE") => value,
        _ => return None,
    };
    let (table, clauses) = clauses(value);
    let mut argument = TableArgument { table, partition_by: Vec::new(), order_by: Vec::new() };
    for (words, operand) in clauses {
        match words {
            "PARTITION BY" => argument.partition_by = items(operand),
            "ORDER BY" => argument.order_by = items(operand).into_iter().map(sort_key).collect(),
            _ => return None,
        }
    }
    Some(argument)
}

/// The elements of `MAP[key, value, …]`.
pub fn map_elements(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Prefixed { prefix, value } if is_keyword(prefix, "MAP") => match &**value {
            Expr::Array(array) => Some(&array.elem),
            _ => None,
        },
        _ => None,
    }
}

/// The name in `MODEL name`.
pub fn model_argument(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Prefixed { prefix, value } if is_keyword(prefix, "MODEL") => Some(value),
        _ => None,
    }
}

/// Takes the clauses off an expression, in the order written: `RETURNING t` is `("RETURNING", t)`, `NULL ON EMPTY` is
/// `("NULL ON", EMPTY)`, `DEFAULT 1 ON EMPTY` is `("DEFAULT", 1 with the clause ("ON", EMPTY))`, `WITHOUT WRAPPER` is
/// `("WITHOUT", WRAPPER)`.
pub fn clauses(expr: &Expr) -> (&Expr, Vec<(&str, &Expr)>) {
    let mut found = Vec::new();
    let mut rest = expr;
    while let Expr::BinaryOp { left, op: BinaryOperator::Custom(words), right } = rest {
        found.push((words.as_str(), &**right));
        rest = left;
    }
    found.reverse();
    (rest, found)
}

fn is_keyword(ident: &Ident, word: &str) -> bool {
    ident.quote_style.is_none() && ident.value == word
}

fn items(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Tuple(items) => items.iter().collect(),
        Expr::Nested(inner) => vec![inner],
        other => vec![other],
    }
}

fn sort_key(expr: &Expr) -> (&Expr, bool) {
    match clauses(expr) {
        (key, clauses) if !clauses.is_empty() => (key, true),
        _ => (expr, false),
    }
}
