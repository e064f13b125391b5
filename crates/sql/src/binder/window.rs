//! Window table-valued functions: TUMBLE, HOP, CUMULATE, SESSION.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Spanned};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use super::Binder;
use super::scope::Scope;
use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::operators::spec::{WindowKind, WindowProperty};
use crate::plan::{Column, Node, Plan, Window};

impl Binder<'_> {
    /// `TUMBLE(TABLE t, DESCRIPTOR(ts), size [, offset])` and its kin, with arguments by position or by name.
    pub(crate) fn window_tvf(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        span: Span,
    ) -> Result<Plan, SqlError> {
        let function = name.to_string().to_ascii_uppercase();
        let parameters: &[&str] = match function.as_str() {
            "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            "SESSION" => &["DATA", "TIMECOL", "GAP"],
            _ => return Err(SqlError::unsupported(format!("The table function {function}"), span)),
        };
        let mut given: Vec<Option<&ast::Expr>> = vec![None; parameters.len()];
        for (position, arg) in args.iter().enumerate() {
            let (index, value) = match arg {
                FunctionArg::Named { name, arg, .. } => (parameter(parameters, &name.value), arg),
                FunctionArg::ExprNamed { name, arg, .. } => (parameter(parameters, &name.to_string()), arg),
                FunctionArg::Unnamed(arg) => ((position < parameters.len()).then_some(position), arg),
            };
            let (Some(index), FunctionArgExpr::Expr(value)) = (index, value) else {
                return Err(SqlError::validation(
                    format!("{function} takes the arguments {}", parameters.join(", ")),
                    arg.span(),
                ));
            };
            given[index] = Some(value);
        }
        let required = |index: usize| {
            given[index].ok_or_else(|| {
                SqlError::validation(format!("{function} needs the argument {}", parameters[index]), span)
            })
        };
        let (input, partition) = self.table_argument(required(0)?, &function)?;
        let scope = Scope::of(input.schema.clone(), Vec::new());
        let time = time_column(required(1)?, &scope, &function)?;
        let interval = |binder: &Self, index: usize| binder.interval(required(index)?, parameters[index]);
        let offset_ms = match given.get(parameters.len() - 1) {
            Some(Some(offset)) if parameters.last() == Some(&"OFFSET") => {
                self.interval_any(offset, "OFFSET")?
            }
            _ => 0,
        };
        let multiple = |size: i64, part: i64, name: &str| {
            if size % part == 0 {
                return Ok(());
            }
            Err(SqlError::validation(
                format!(
                    "{function} table function based aggregate requires size must be an integral multiple of \
                     {name}, but got size {size} ms and {name} {part} ms"
                ),
                span,
            ))
        };
        let kind = match function.as_str() {
            "TUMBLE" => WindowKind::Tumble { size_ms: interval(self, 2)?, offset_ms },
            "HOP" => {
                let (slide_ms, size_ms) = (interval(self, 2)?, interval(self, 3)?);
                multiple(size_ms, slide_ms, "slide")?;
                WindowKind::Hop { slide_ms, size_ms, offset_ms }
            }
            "CUMULATE" => {
                let (step_ms, max_size_ms) = (interval(self, 2)?, interval(self, 3)?);
                multiple(max_size_ms, step_ms, "step")?;
                WindowKind::Cumulate { step_ms, max_size_ms, offset_ms }
            }
            _ => WindowKind::Session { gap_ms: interval(self, 2)? },
        };
        let mut keys = Vec::new();
        for key in &partition {
            if !matches!(kind, WindowKind::Session { .. }) {
                return Err(SqlError::validation("PARTITION BY is only for SESSION windows", key.span()));
            }
            match self.scalar(key, &scope)? {
                ScalarExpr::Column { index, .. } => keys.push(index),
                _ => return Err(SqlError::validation("PARTITION BY takes columns", key.span())),
            }
        }
        Ok(with_window(input, time, kind, keys))
    }

    fn table_argument<'e>(
        &mut self,
        arg: &'e ast::Expr,
        function: &str,
    ) -> Result<(Plan, Vec<&'e ast::Expr>), SqlError> {
        let wrong = || {
            SqlError::validation(
                format!("The first argument of {function} must be TABLE name or a query"),
                arg.span(),
            )
        };
        match arg {
            ast::Expr::Prefixed { prefix, value } if prefix.value.eq_ignore_ascii_case("TABLE") => {
                self.table_argument(value, function)
            }
            ast::Expr::Identifier(ident) => {
                let name = ObjectName::from(vec![ident.clone()]);
                Ok((self.named(&name, &BTreeMap::new())?.0, Vec::new()))
            }
            ast::Expr::CompoundIdentifier(parts) => {
                let name = ObjectName::from(parts.clone());
                Ok((self.named(&name, &BTreeMap::new())?.0, Vec::new()))
            }
            ast::Expr::Nested(inner) => self.table_argument(inner, function),
            ast::Expr::Subquery(query) => Ok((self.query(query)?, Vec::new())),
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Custom(op), right } => {
                let (plan, _) = self.table_argument(left, function)?;
                match op.as_str() {
                    "PARTITION BY" => Ok((
                        plan,
                        match &**right {
                            ast::Expr::Tuple(keys) => keys.iter().collect(),
                            ast::Expr::Nested(key) => vec![&**key],
                            key => vec![key],
                        },
                    )),
                    _ => Err(SqlError::unsupported(format!("{op} of a table argument"), right.span())),
                }
            }
            _ => Err(wrong()),
        }
    }

    fn interval(&self, expr: &ast::Expr, parameter: &str) -> Result<i64, SqlError> {
        let ms = self.interval_any(expr, parameter)?;
        if ms <= 0 {
            return Err(SqlError::validation(
                format!("{parameter} must be a positive interval, but it is {ms} ms"),
                expr.span(),
            ));
        }
        Ok(ms)
    }

    fn interval_any(&self, expr: &ast::Expr, parameter: &str) -> Result<i64, SqlError> {
        match self.scalar(expr, &Scope::default())? {
            ScalarExpr::Literal { value, data_type: DataType { kind: TypeKind::IntervalDayTime, .. } }
                if value.null_count() == 0 =>
            {
                Ok(value.as_primitive::<Int64Type>().value(0))
            }
            other => Err(SqlError::validation(
                format!(
                    "{parameter} must be a constant INTERVAL of days to seconds, but it is {}",
                    other.data_type()
                ),
                expr.span(),
            )),
        }
    }
}

fn parameter(parameters: &[&str], name: &str) -> Option<usize> {
    parameters.iter().position(|p| p.eq_ignore_ascii_case(name))
}

fn time_column(arg: &ast::Expr, scope: &Scope, function: &str) -> Result<usize, SqlError> {
    let name = match arg {
        ast::Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => match &f.args {
            FunctionArguments::List(list) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(name)))] => Some(name),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let Some(name) = name else {
        return Err(SqlError::validation(
            format!("{function} takes its time column as DESCRIPTOR(column)"),
            arg.span(),
        ));
    };
    let (found, _) = scope.resolve(std::slice::from_ref(name))?;
    let ScalarExpr::Column { index, .. } = found else {
        return Err(SqlError::validation("DESCRIPTOR takes a column", name.span));
    };
    let column = &scope.schema[index];
    if column.proctime {
        let what = format!("A window over processing time ({function} with DESCRIPTOR({}))", column.name);
        return Err(SqlError::unsupported(what, name.span));
    }
    if !column.rowtime {
        return Err(SqlError::validation(
            format!(
                "The window function {function} requires the timecol is a time attribute type, but is {}; declare \
                 WATERMARK FOR `{}` on its table",
                column.data_type, column.name
            ),
            name.span,
        ));
    }
    Ok(index)
}

/// Appends the window columns to `input`. Its event-time column stays, but speaks of the watermark no more than before.
pub(crate) fn with_window(input: Plan, time: usize, kind: WindowKind, keys: Vec<usize>) -> Plan {
    let time_type = input.schema[time].data_type.clone();
    let window = Window { kind, ltz: matches!(time_type.kind, TypeKind::TimestampLtz(_)) };
    let mut schema = input.schema.clone();
    for column in &mut schema {
        column.window = None;
        // Only window_time is an event-time attribute behind a window function.
        column.rowtime = false;
        column.proctime = false;
    }
    for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
        schema.push(property_column(property, window));
    }
    Plan { node: Node::WindowTvf { input: Box::new(input), time, window, keys }, schema }
}

/// The column of a window property.
pub(crate) fn property_column(property: WindowProperty, window: Window) -> Column {
    let (name, kind) = match property {
        WindowProperty::Start => ("window_start", TypeKind::Timestamp(3)),
        WindowProperty::End => ("window_end", TypeKind::Timestamp(3)),
        WindowProperty::Time if window.ltz => ("window_time", TypeKind::TimestampLtz(3)),
        WindowProperty::Time => ("window_time", TypeKind::Timestamp(3)),
    };
    Column {
        rowtime: property == WindowProperty::Time,
        window: Some((property, window)),
        ..Column::new(name, DataType::from(kind).not_null())
    }
}
