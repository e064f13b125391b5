//! Looking into and rewriting bound expressions, and their text in a plan.

use std::fmt;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use std::sync::Arc;

use streamkeeper_connectors::schema::TypeKind;

use super::functions::is_deterministic_function;
use super::{ColumnarValue, EvalContext, ScalarExpr, call, cast_text, compile, literal_boolean, types};

impl ScalarExpr {
    fn children(&self) -> &[ScalarExpr] {
        match self {
            Self::Column { .. } | Self::Literal { .. } => &[],
            Self::Call { args, .. } => args,
            Self::Cast { input, .. } => std::slice::from_ref(input),
        }
    }

    /// The positions of the columns it reads, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        fn visit(expr: &ScalarExpr, into: &mut Vec<usize>) {
            if let ScalarExpr::Column { index, .. } = expr {
                into.push(*index);
            }
            for child in expr.children() {
                visit(child, into);
            }
        }
        let mut columns = Vec::new();
        visit(self, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The same expression with every column position replaced by `map` of it.
    #[must_use]
    pub fn remap_columns(&self, map: &dyn Fn(usize) -> usize) -> Self {
        self.rewrite(&|expr| match expr {
            Self::Column { index, name, data_type } => Self::Column { index: map(index), name, data_type },
            other => other,
        })
    }

    /// The same expression with every column replaced by the expression of that position.
    #[must_use]
    pub fn inline_columns(&self, columns: &[ScalarExpr]) -> Self {
        self.rewrite(&|expr| match &expr {
            Self::Column { index, .. } => columns.get(*index).cloned().unwrap_or(expr),
            _ => expr,
        })
    }

    /// Applies `change` to every node, children first.
    #[must_use]
    pub fn rewrite(&self, change: &dyn Fn(ScalarExpr) -> ScalarExpr) -> Self {
        change(match self {
            Self::Column { .. } | Self::Literal { .. } => self.clone(),
            Self::Call { function, args, data_type } => Self::Call {
                function,
                args: args.iter().map(|arg| arg.rewrite(change)).collect(),
                data_type: data_type.clone(),
            },
            Self::Cast { input, data_type, try_cast } => Self::Cast {
                input: Box::new(input.rewrite(change)),
                data_type: data_type.clone(),
                try_cast: *try_cast,
            },
        })
    }

    /// Whether it gives the same result for the same row every time.
    pub fn is_deterministic(&self) -> bool {
        let own = match self {
            // Without arguments it is the time now.
            Self::Call { function: "UNIX_TIMESTAMP", args, .. } => !args.is_empty(),
            Self::Call { function, .. } => is_deterministic_function(function),
            _ => true,
        };
        own && self.children().iter().all(Self::is_deterministic)
    }

    /// Whether it reads no column and is deterministic.
    pub fn is_constant(&self) -> bool {
        self.columns().is_empty() && self.is_deterministic()
    }

    /// Whether a row can make its evaluation fail; then it must not be evaluated where the query does not ask for it.
    pub(crate) fn can_fail(&self) -> bool {
        let own = match self {
            Self::Column { .. } | Self::Literal { .. } => false,
            Self::Cast { input, data_type, try_cast } => {
                !*try_cast
                    && input.data_type().kind != data_type.kind
                    && !(types::is_numeric(&input.data_type().kind) && types::is_numeric(&data_type.kind))
            }
            Self::Call { function, data_type, args } => match *function {
                "+" | "-" | "*" | "=" | "<>" | "<" | "<=" | ">" | ">=" | "AND" | "OR" | "NOT" | "IS NULL"
                | "IS NOT NULL" | "UPPER" | "LOWER" => false,
                // A pattern can break the rules of its ESCAPE character.
                "LIKE" => args.len() > 2,
                "||" | "ASCII" | "BTRIM" | "CHAR_LENGTH" | "CHR" | "CONCAT" | "CONCAT_WS" | "ENDSWITH"
                | "FIELD" | "INITCAP" | "LEFT" | "LOCATE" | "LTRIM" | "MD5" | "POSITION" | "REPLACE"
                | "REVERSE" | "RIGHT" | "RTRIM" | "SHA256" | "SPLIT" | "SPLIT_INDEX" | "STARTSWITH"
                | "SUBSTR" | "SUBSTRING" | "TRANSLATE" | "TRIM" | "URL_ENCODE" => false,
                // These have an answer for every value of their types.
                "ABS" | "SIGN" | "CEIL" | "FLOOR" | "ROUND" | "TRUNCATE" | "GREATEST" | "LEAST"
                | "EXTRACT" | "TIMESTAMPDIFF" | "TO_TIMESTAMP" | "SQRT" | "POWER" | "EXP" | "LN" | "LOG"
                | "LOG10" | "LOG2" => false,
                "/" | "%" | "MOD" => {
                    !types::is_approximate(&data_type.kind)
                        && !args.get(1).is_some_and(|a| match a {
                            Self::Literal { value, .. } => !is_zero(value),
                            _ => false,
                        })
                }
                _ => true,
            },
        };
        own || self.children().iter().any(Self::can_fail)
    }
}

fn is_zero(value: &arrow::array::ArrayRef) -> bool {
    arrow::compute::cast(value, &arrow::datatypes::DataType::Float64).is_ok_and(|v| {
        use arrow::array::AsArray;
        let v = v.as_primitive::<arrow::datatypes::Float64Type>();
        v.is_valid(0) && v.value(0) == 0.0
    })
}

/// The conditions that `expr` joins by AND.
pub fn conjuncts(expr: &ScalarExpr) -> Vec<ScalarExpr> {
    match expr {
        ScalarExpr::Call { function: "AND", args, .. } => args.iter().flat_map(conjuncts).collect(),
        other => vec![other.clone()],
    }
}

/// All conditions joined by AND; TRUE of none.
pub fn and_all(conditions: Vec<ScalarExpr>) -> ScalarExpr {
    conditions
        .into_iter()
        .reduce(|a, b| call("AND", vec![a, b]).expect("conditions are BOOLEAN"))
        .unwrap_or_else(|| literal_boolean(true))
}

/// Replaces constant parts by their values. A part whose evaluation fails is kept: it fails at run time, on a row.
#[must_use]
pub fn fold(expr: &ScalarExpr, ctx: &EvalContext) -> ScalarExpr {
    expr.rewrite(&|node| {
        if matches!(node, ScalarExpr::Column { .. } | ScalarExpr::Literal { .. }) || !node.is_constant() {
            return simplify(node);
        }
        match evaluate_constant(&node, ctx) {
            Some(value) => ScalarExpr::Literal { value, data_type: node.data_type().clone() },
            None => node,
        }
    })
}

/// `TRUE AND x` and `FALSE OR x` are x.
fn simplify(node: ScalarExpr) -> ScalarExpr {
    let ScalarExpr::Call { function: function @ ("AND" | "OR"), args, .. } = &node else { return node };
    let neutral = *function == "AND";
    let is_neutral = |arg: &ScalarExpr| match arg {
        ScalarExpr::Literal { value, .. } => value
            .as_any()
            .downcast_ref::<BooleanArray>()
            .is_some_and(|v| v.is_valid(0) && v.value(0) == neutral),
        _ => false,
    };
    match args.as_slice() {
        [a, b] if is_neutral(a) => b.clone(),
        [a, b] if is_neutral(b) => a.clone(),
        _ => node,
    }
}

fn evaluate_constant(expr: &ScalarExpr, ctx: &EvalContext) -> Option<arrow::array::ArrayRef> {
    let compiled = compile(expr, ctx).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).ok()?;
    match compiled.eval(&batch).ok()? {
        ColumnarValue::Array(value) | ColumnarValue::Scalar(value) => (value.len() == 1).then_some(value),
    }
}

/// In the style of Flink's EXPLAIN: `(price > 10:INT)`, `CAST(a AS BIGINT)`.
impl fmt::Display for ScalarExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column { name, .. } => f.write_str(name),
            Self::Literal { value, data_type } => {
                if value.is_null(0) {
                    return write!(f, "null:{}", data_type.kind);
                }
                let text = cast_text::display_literal(value, data_type);
                match data_type.kind {
                    TypeKind::Char(_) => write!(f, "'{}'", text.replace('\'', "''")),
                    TypeKind::Varchar(_) => write!(f, "'{}':{}", text.replace('\'', "''"), data_type.kind),
                    TypeKind::Int | TypeKind::Boolean => f.write_str(&text),
                    _ => write!(f, "{text}:{}", data_type.kind),
                }
            }
            Self::Cast { input, data_type, try_cast } => {
                write!(f, "{}({input} AS {})", if *try_cast { "TRY_CAST" } else { "CAST" }, data_type.kind)
            }
            Self::Call { function, args, .. } => match (*function, args.as_slice()) {
                (
                    "+"
                    | "-"
                    | "*"
                    | "/"
                    | "="
                    | "<>"
                    | "<"
                    | "<="
                    | ">"
                    | ">="
                    | "AND"
                    | "OR"
                    | "LIKE"
                    | "NOT LIKE"
                    | "SIMILAR TO"
                    | "||"
                    | "IS DISTINCT FROM"
                    | "IS NOT DISTINCT FROM",
                    [a, b],
                ) => {
                    write!(f, "({a} {function} {b})")
                }
                ("%", [a, b]) => write!(f, "MOD({a}, {b})"),
                ("-", [a]) => write!(f, "-({a})"),
                (postfix, [a]) if postfix.starts_with("IS ") => write!(f, "{a} {postfix}"),
                ("ITEM", [a, b]) => write!(f, "ITEM({a}, {b})"),
                ("FIELD", [a, Self::Literal { value, data_type }]) => {
                    write!(f, "{a}.{}", cast_text::display_literal(value, data_type))
                }
                (name, args) => {
                    write!(f, "{name}(")?;
                    for (i, arg) in args.iter().enumerate() {
                        write!(f, "{}{arg}", if i == 0 { "" } else { ", " })?;
                    }
                    f.write_str(")")
                }
            },
        }
    }
}
