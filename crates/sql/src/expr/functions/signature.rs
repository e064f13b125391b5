//! A built-in function as one row of a table: what it takes, what it gives, what evaluates it.
//!
//! Invariant: an argument is coerced to the type its letter stands for before the kernel sees it.

use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::Kernel;
use crate::expr::ScalarExpr;
use crate::expr::infer::{FunctionError, built, coerce, wrong_types};
use crate::expr::types::{is_binary, is_integer, is_numeric, is_string};

/// When the result is nullable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// When an argument is.
    OfArguments,
    /// When the first argument is.
    OfFirst,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// One built-in function.
pub(crate) struct Function {
    /// Under which SQL name it is called, in upper case.
    pub(crate) name: &'static str,
    /// A letter per argument: `S` string, `I` INT, `L` BIGINT, `N` number, `X` bytes, `E` string or bytes, `B` BOOLEAN,
    /// `A` anything. What follows `[` may be left out; `*` repeats the letter before it.
    pub(crate) args: &'static str,
    /// The result's type, of the coerced arguments.
    pub(crate) result: fn(&[ScalarExpr]) -> TypeKind,
    /// The result's nullability.
    pub(crate) nulls: Nulls,
    /// The evaluation.
    pub(crate) kernel: Kernel,
}

/// A row of a function table.
pub(crate) const fn function(
    name: &'static str,
    args: &'static str,
    result: fn(&[ScalarExpr]) -> TypeKind,
    nulls: Nulls,
    kernel: Kernel,
) -> Function {
    Function { name, args, result, nulls, kernel }
}

/// STRING.
pub(crate) fn string(_: &[ScalarExpr]) -> TypeKind {
    TypeKind::Varchar(MAX_LENGTH)
}

/// BYTES.
pub(crate) fn bytes(_: &[ScalarExpr]) -> TypeKind {
    TypeKind::Varbinary(MAX_LENGTH)
}

/// INT.
pub(crate) fn int(_: &[ScalarExpr]) -> TypeKind {
    TypeKind::Int
}

/// BOOLEAN.
pub(crate) fn boolean(_: &[ScalarExpr]) -> TypeKind {
    TypeKind::Boolean
}

/// The first argument's type.
pub(crate) fn first(args: &[ScalarExpr]) -> TypeKind {
    args[0].data_type().kind.clone()
}

/// ARRAY<STRING>.
pub(crate) fn strings(_: &[ScalarExpr]) -> TypeKind {
    TypeKind::Array(Box::new(TypeKind::Varchar(MAX_LENGTH).into()))
}

/// The first argument's type, as a VARCHAR where it is a CHAR.
pub(crate) fn varying(args: &[ScalarExpr]) -> TypeKind {
    match first(args) {
        TypeKind::Char(n) => TypeKind::Varchar(n),
        other => other,
    }
}

impl Function {
    /// The call of these arguments.
    pub(crate) fn call(&self, args: Vec<ScalarExpr>) -> Result<ScalarExpr, FunctionError> {
        let letters: Vec<char> = self.args.chars().filter(|c| !matches!(c, '[' | '*')).collect();
        let least = self.args.find('[').unwrap_or(letters.len());
        let most = if self.args.ends_with('*') { usize::MAX } else { letters.len() };
        if !(least..=most).contains(&args.len()) {
            let expected = match most {
                _ if least == most => least.to_string(),
                usize::MAX => format!("{least} or more"),
                _ => format!("{least} to {most}"),
            };
            return Err(FunctionError::Arguments { function: self.name.into(), expected, got: args.len() });
        }
        let letter = |i: usize| letters[i.min(letters.len() - 1)];
        if !args.iter().enumerate().all(|(i, arg)| takes(letter(i), &arg.data_type().kind)) {
            return Err(wrong_types(self.name, &args));
        }
        let nullable = match self.nulls {
            Nulls::OfArguments => args.iter().any(|a| a.data_type().nullable),
            Nulls::OfFirst => args.first().is_some_and(|a| a.data_type().nullable),
            Nulls::Always => true,
            Nulls::Never => false,
        };
        let coerced = args.into_iter().enumerate().map(|(i, arg)| {
            let null = arg.data_type().kind == TypeKind::Null;
            match letter(i) {
                'S' => coerce(arg, &TypeKind::Varchar(MAX_LENGTH)),
                'I' => coerce(arg, &TypeKind::Int),
                'L' => coerce(arg, &TypeKind::BigInt),
                'B' => coerce(arg, &TypeKind::Boolean),
                'X' => coerce(arg, &TypeKind::Varbinary(MAX_LENGTH)),
                'E' if null => coerce(arg, &TypeKind::Varchar(MAX_LENGTH)),
                'N' if null => coerce(arg, &TypeKind::Int),
                _ => Ok(arg),
            }
        });
        let args: Vec<_> = coerced.collect::<Result<_, _>>()?;
        let kind = (self.result)(&args);
        Ok(built(self.name, args, DataType { kind, nullable }))
    }
}

fn takes(letter: char, kind: &TypeKind) -> bool {
    if *kind == TypeKind::Null {
        return true;
    }
    match letter {
        'S' => is_string(kind),
        'I' | 'L' => is_integer(kind),
        'N' => is_numeric(kind),
        'X' => is_binary(kind),
        'E' => is_string(kind) || is_binary(kind),
        'B' => *kind == TypeKind::Boolean,
        _ => true,
    }
}
