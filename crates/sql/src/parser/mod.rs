//! Text to statements: Flink's grammar on `sqlparser`'s queries and expressions.
//!
//! A script goes through these steps, each a file:
//! - `tokens`: the tokens, with Flink's own forms rewritten to what `sqlparser` can take; `depth` bounds them;
//! - [`parse_script`] (`script`): the statements, each with its place in the text;
//! - `statement`, `create`, `alter` over `cursor`: Flink's statements, into the types of `ast`;
//! - `dialect`: Flink's lexical rules, and expressions such as `MAP[…]`, `TABLE t PARTITION BY …`, `JSON_VALUE(…)`;
//! - `types`: data types, as [`DataType`];
//! - `views`: readers for constructs that stand in `sqlparser`'s tree in disguise: [`table_argument`], [`map_elements`],
//!   [`clauses`];
//! - `display`: a statement's text, which parses to an equal statement; [`to_sql`] for queries and expressions.
//!
//! What the binder should know of the tree:
//! - the type of a cast is `ast::DataType::Custom` with the whole type as its text: always read it by [`data_type`];
//! - hints behind a table stand in `TableFactor::Table::with_hints`, one call each (`OPTIONS('k' = 'v')`);
//! - `FROM TABLE(TUMBLE(…))` is `TableFactor::TableFunction`, `FROM TUMBLE(…)` a `TableFactor::Table` with `args`,
//!   `LATERAL TABLE(f(x))` a `TableFactor::Function` named `TABLE`, and UNNEST a `TableFactor::UNNEST`;
//! - all string literals are `Value::SingleQuotedString`, all binary ones `Value::HexStringLiteral`;
//! - clauses of other databases that `sqlparser` accepts (TOP, PIVOT, LIMIT 1, 2, …) never get there: `foreign` refuses them.
mod alter;
mod ast;
mod create;
mod cursor;
mod depth;
mod dialect;
mod display;
mod foreign;
mod script;
mod statement;
mod tokens;
mod types;
mod views;

use sqlparser::ast::{DataType as AstType, Expr, Query, Spanned as _};
use streamkeeper_connectors::schema::DataType;

pub use ast::*;
pub(crate) use dialect::{BETWEEN_SYMMETRIC, NOT_BETWEEN_SYMMETRIC};
pub use display::{quote, to_sql};
pub use script::parse_script;
pub use views::{TableArgument, clauses, map_elements, model_argument, table_argument};

use crate::error::{ErrorKind, SqlError};

/// The type that a type in an expression (`CAST(x AS …)`, `TIMESTAMP '…'`) means.
///
/// # Errors
/// When Flink has no such type.
pub fn data_type(ast: &AstType) -> Result<DataType, SqlError> {
    let span = match ast {
        AstType::Custom(name, _) => name.span(),
        _ => sqlparser::tokenizer::Span::empty(),
    };
    let in_place = |mut error: SqlError| {
        error.location = None;
        error.at(span)
    };
    let tokens = tokens::tokenize(&ast.to_string()).map_err(in_place)?;
    let (data_type, end) = types::parse_type(&tokens, 0).map_err(in_place)?;
    if end == tokens.len() {
        Ok(data_type)
    } else {
        Err(SqlError::parse(format!("Flink has no data type {ast}"), span))
    }
}

/// Parses one statement; a closing `;` may be there.
///
/// # Errors
/// When the text is not exactly one statement.
pub fn parse_statement(text: &str) -> Result<Spanned<Statement>, SqlError> {
    let mut statements = parse_script(text)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(SqlError::new(ErrorKind::Parse, "there is no statement in the text")),
        (Some(_), more) => {
            Err(SqlError::new(ErrorKind::Parse, format!("expected one statement, found {}", more + 1)))
        }
    }
}

/// Parses a query, such as the stored text of a view.
///
/// # Errors
/// When the text is not exactly one query.
pub fn parse_query(text: &str) -> Result<Box<Query>, SqlError> {
    match parse_statement(text)?.node {
        Statement::Query(query) => Ok(query),
        _ => Err(SqlError::new(ErrorKind::Parse, "expected a query (SELECT, WITH or VALUES)")),
    }
}

/// Parses an expression, such as the stored text of a computed column.
///
/// # Errors
/// When the text is not exactly one expression.
pub fn parse_expression(text: &str) -> Result<Expr, SqlError> {
    let tokens = tokens::tokenize(text)?;
    depth::check(&tokens)?;
    let mut cursor = cursor::Cursor::new(tokens::rewrite(tokens)?);
    let expr = cursor.expr()?;
    if cursor.is_end() { Ok(expr) } else { Err(cursor.expected("the end of the expression")) }
}
