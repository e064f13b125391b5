//! Functions on strings. Invariant: positions and lengths count code points, and the first is 1.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::Kernel;
use crate::expr::eval::Args;
use crate::expr::infer::{FunctionError, built, strings};
use crate::expr::{EvalError, ScalarExpr};

/// What [`infer`] knows.
pub(crate) const FUNCTIONS: &[&str] = &["SPLIT"];

fn counted(name: &str, args: &[ScalarExpr], least: usize, most: usize) -> Result<(), FunctionError> {
    if (least..=most).contains(&args.len()) {
        return Ok(());
    }
    let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
    Err(FunctionError::Arguments { function: name.into(), expected, got: args.len() })
}

/// The call with its arguments coerced.
pub(crate) fn infer(name: &str, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
    let nullable = args.iter().any(|a| a.data_type().nullable);
    let string = DataType::from(TypeKind::Varchar(MAX_LENGTH));
    match name {
        "SPLIT" => {
            counted(name, &args, 2, 2)?;
            let kind = TypeKind::Array(Box::new(string));
            Ok(built("SPLIT", strings(name, args)?, DataType { kind, nullable }))
        }
        _ => Err(FunctionError::Unknown(name.into())),
    }
}

/// The evaluation of a string function.
pub(crate) fn kernel(name: &str) -> Option<Kernel> {
    Some(match name {
        "SPLIT" => split,
        _ => return None,
    })
}

/// An empty delimiter cuts between all characters.
fn split(a: &Args<'_>) -> Result<ArrayRef, EvalError> {
    let (text, delimiter) = (a.str(0), a.str(1));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..a.rows {
        let (Some(text), Some(delimiter)) = (text.get(row), delimiter.get(row)) else {
            lists.append_null();
            continue;
        };
        if delimiter.is_empty() && !text.is_empty() {
            let mut bytes = [0; 4];
            text.chars().for_each(|c| lists.values().append_value(c.encode_utf8(&mut bytes)));
        } else {
            text.split(delimiter)
                .take(if delimiter.is_empty() { 1 } else { usize::MAX })
                .for_each(|part| lists.values().append_value(part));
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::run;
    use crate::expr::{call, literal_string};

    #[test]
    fn split_keeps_empty_parts() {
        let split = |text, by| run(&call("SPLIT", vec![literal_string(text), literal_string(by)]).unwrap());
        assert_eq!(split("a,,b", ","), "ARRAY<STRING> NOT NULL => [a, , b]");
        assert_eq!(split("äb", ""), "ARRAY<STRING> NOT NULL => [ä, b]");
    }
}
