//! The JSON functions with their clauses. Invariant: every behaviour that a query leaves out is written out in the call.

use sqlparser::ast::{Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArgumentList, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::{Binder, build, function_error};
use crate::error::SqlError;
use crate::expr::{ScalarExpr, cast, literal_null, literal_string};
use crate::parser;

/// The clauses of one call.
struct Clauses {
    returning: Option<DataType>,
    wrapper: &'static str,
    on_empty: (String, ScalarExpr),
    on_error: (String, ScalarExpr),
    on_null: Option<String>,
}

pub(super) fn is_json_function(name: &str) -> bool {
    matches!(name, "JSON_VALUE" | "JSON_QUERY" | "JSON_EXISTS" | "JSON_OBJECT" | "JSON_ARRAY")
}

/// Whether a value is JSON already and goes into an object or array as it is.
fn is_raw(value: &ScalarExpr) -> bool {
    matches!(value, ScalarExpr::Call { function: "JSON_OBJECT" | "JSON_ARRAY" | "JSON", .. })
}

pub(super) fn bind(
    binder: &Binder<'_>,
    name: &str,
    list: &FunctionArgumentList,
    span: Span,
) -> Result<ScalarExpr, SqlError> {
    let no_default = || literal_null(DataType::string());
    let mut clauses = Clauses {
        returning: None,
        wrapper: "WITHOUT",
        on_empty: ("NULL".into(), no_default()),
        on_error: ("NULL".into(), no_default()),
        on_null: None,
    };
    let (mut args, mut raw) = (Vec::new(), String::new());
    for arg in &list.args {
        let value = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if name != "JSON_OBJECT" => value,
            FunctionArg::ExprNamed { name: key, arg: FunctionArgExpr::Expr(value), .. }
                if name == "JSON_OBJECT" =>
            {
                args.push(binder.bind(key)?);
                value
            }
            other => return Err(SqlError::validation(format!("{name} takes no argument `{other}`"), span)),
        };
        let (value, found) = parser::clauses(value);
        let bound = binder.bind(value)?;
        raw.push(if is_raw(&bound) { 'R' } else { 'V' });
        args.push(bound);
        for (words, operand) in found {
            clauses.add(binder, name, words, operand)?;
        }
    }
    let text = |text: &str| literal_string(text);
    match name {
        "JSON_OBJECT" | "JSON_ARRAY" => {
            let default = if name == "JSON_OBJECT" { "NULL" } else { "ABSENT" };
            let on_null = clauses.on_null.as_deref().unwrap_or(default);
            let args = [text(on_null), text(&raw)].into_iter().chain(args).collect();
            build(name, args, span)
        }
        "JSON_EXISTS" => {
            args.push(text(&clauses.on_error.0));
            build(name, args, span)
        }
        "JSON_QUERY" => {
            args.extend([text(clauses.wrapper), text(&clauses.on_empty.0), text(&clauses.on_error.0)]);
            build(name, args, span)
        }
        _ => {
            let (empty, error) = (clauses.on_empty, clauses.on_error);
            args.extend([text(&empty.0), empty.1, text(&error.0), error.1]);
            let value = build(name, args, span)?;
            match clauses.returning {
                Some(to) => cast(value, to, false).map_err(|e| function_error(&e, span)),
                None => Ok(value),
            }
        }
    }
}

impl Clauses {
    fn add(&mut self, binder: &Binder<'_>, name: &str, words: &str, operand: &Ast) -> Result<(), SqlError> {
        let span = operand.span();
        let unsupported =
            || Err(SqlError::unsupported(format!("the clause {words} {operand} of {name}"), span));
        if words == "DEFAULT" {
            let (value, on) = parser::clauses(operand);
            let default =
                cast(binder.bind(value)?, DataType::string(), false).map_err(|e| function_error(&e, span))?;
            let [("ON", when)] = on.as_slice() else { return unsupported() };
            match when.to_string().as_str() {
                "EMPTY" => self.on_empty = ("DEFAULT".into(), default),
                "ERROR" => self.on_error = ("DEFAULT".into(), default),
                _ => return unsupported(),
            }
            return Ok(());
        }
        let operand = operand.to_string().to_uppercase();
        let null = literal_null(DataType::string());
        match (words, operand.as_str()) {
            ("RETURNING", to) => {
                self.returning = Some(match (name, to) {
                    ("JSON_VALUE", "STRING" | "VARCHAR") => DataType::string(),
                    ("JSON_VALUE", "BOOLEAN") => TypeKind::Boolean.into(),
                    ("JSON_VALUE", "INT" | "INTEGER") => TypeKind::Int.into(),
                    ("JSON_VALUE", "DOUBLE") => TypeKind::Double.into(),
                    ("JSON_QUERY", "STRING" | "VARCHAR") => return Ok(()),
                    _ => return unsupported(),
                });
            }
            (with, "WRAPPER") => {
                self.wrapper = match with.trim_end_matches(" ARRAY") {
                    "WITHOUT" => "WITHOUT",
                    "WITH CONDITIONAL" => "CONDITIONAL",
                    "WITH" | "WITH UNCONDITIONAL" => "UNCONDITIONAL",
                    _ => return unsupported(),
                }
            }
            (words, on) => {
                let Some(behaviour) = words.strip_suffix(" ON") else { return unsupported() };
                match on {
                    "EMPTY" => self.on_empty = (behaviour.into(), null),
                    "ERROR" => self.on_error = (behaviour.into(), null),
                    "NULL" => self.on_null = Some(behaviour.into()),
                    _ => return unsupported(),
                }
            }
        }
        Ok(())
    }
}
