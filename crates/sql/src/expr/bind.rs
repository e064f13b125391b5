//! From the parser's expressions to bound ones: names are resolved through a [`Scope`], operators and functions become
//! calls, literals get Flink's types.
//!
//! Invariant: what Flink SQL does not have, or this engine not yet, is refused with the construct's name and place.

mod interval;
mod json;
mod literals;

use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, Expr as Ast, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, Spanned, Subscript, TrimWhereField, UnaryOperator,
};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::TypeKind;

use super::{EvalContext, FunctionError, ScalarExpr, call, cast, literal_null, literal_string};
use crate::error::SqlError;
use crate::parser;

/// What names mean.
pub trait Scope {
    /// The expression of a (qualified) name, and how many of `parts` it took; the rest are fields of rows.
    ///
    /// # Errors
    /// When there is no such column, or more than one.
    fn resolve(&self, parts: &[Ident]) -> Result<(ScalarExpr, usize), SqlError>;

    /// Gives a meaning of its own to an expression (an aggregate, a window function) before it is taken apart.
    fn intercept(&self, expr: &Ast) -> Option<Result<ScalarExpr, SqlError>> {
        let _ = expr;
        None
    }
}

/// Binds an expression.
///
/// # Errors
/// When a name is unknown, types do not fit, or the construct is not supported; with its place in the text.
pub fn bind_expr(expr: &Ast, scope: &dyn Scope, _ctx: &EvalContext) -> Result<ScalarExpr, SqlError> {
    Binder { scope }.bind(expr)
}

struct Binder<'a> {
    scope: &'a dyn Scope,
}

impl Binder<'_> {
    fn bind(&self, expr: &Ast) -> Result<ScalarExpr, SqlError> {
        if let Some(meaning) = self.scope.intercept(expr) {
            return meaning;
        }
        let span = expr.span();
        let unsupported = |what: &str| Err(SqlError::unsupported(what, span));
        match expr {
            Ast::Identifier(name) => self.name(std::slice::from_ref(name), span),
            Ast::CompoundIdentifier(parts) => self.name(parts, span),
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, span),
            Ast::Nested(inner) => self.bind(inner),
            Ast::Value(value) => literals::value(&value.value, span),
            Ast::TypedString(typed) => literals::typed(&typed.data_type, &typed.value.value, span),
            Ast::Interval(interval) => interval::bind(interval, span),
            Ast::IsNull(a) => self.call("IS NULL", [&**a], span),
            Ast::IsNotNull(a) => self.call("IS NOT NULL", [&**a], span),
            Ast::IsTrue(a) => self.call("IS TRUE", [&**a], span),
            Ast::IsNotTrue(a) => self.call("IS NOT TRUE", [&**a], span),
            Ast::IsFalse(a) => self.call("IS FALSE", [&**a], span),
            Ast::IsNotFalse(a) => self.call("IS NOT FALSE", [&**a], span),
            Ast::IsUnknown(a) => self.call("IS UNKNOWN", [&**a], span),
            Ast::IsNotUnknown(a) => self.call("IS NOT UNKNOWN", [&**a], span),
            Ast::IsDistinctFrom(a, b) => self.call("IS DISTINCT FROM", [&**a, &**b], span),
            Ast::IsNotDistinctFrom(a, b) => self.call("IS NOT DISTINCT FROM", [&**a, &**b], span),
            Ast::InList { expr, list, negated } => {
                let args = std::iter::once(&**expr).chain(list);
                self.call(if *negated { "NOT IN" } else { "IN" }, args, span)
            }
            Ast::Between { expr, negated, low, high } => {
                self.call(if *negated { "NOT BETWEEN" } else { "BETWEEN" }, [&**expr, &**low, &**high], span)
            }
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                let mut args = vec![self.bind(expr)?, self.bind(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(self.bind(escape)?);
                }
                build(if *negated { "NOT LIKE" } else { "LIKE" }, args, span)
            }
            Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut args = vec![self.bind(expr)?, self.bind(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(self.bind(escape)?);
                }
                let similar = build("SIMILAR TO", args, span)?;
                if *negated { build("NOT", vec![similar], span) } else { Ok(similar) }
            }
            Ast::UnaryOp { op, expr } => match op {
                UnaryOperator::Minus => match literals::negative(expr, span) {
                    Some(literal) => literal,
                    None => self.call("-", [&**expr], span),
                },
                UnaryOperator::Plus => self.call("+", [&**expr], span),
                UnaryOperator::Not => self.call("NOT", [&**expr], span),
                other => unsupported(&format!("the operator {other}")),
            },
            Ast::BinaryOp { left, op, right } => self.binary(left, op, right, span),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), span)
            }
            Ast::Cast { kind, expr, data_type, format: None } => {
                let data_type = parser::data_type(data_type).map_err(|e| e.at(span))?;
                let input = self.bind(expr)?;
                match kind {
                    CastKind::Cast => cast(input, data_type, false).map_err(|e| function_error(&e, span)),
                    CastKind::TryCast => cast(input, data_type, true).map_err(|e| function_error(&e, span)),
                    CastKind::SafeCast | CastKind::DoubleColon => {
                        unsupported("a cast other than CAST and TRY_CAST")
                    }
                }
            }
            Ast::Extract { field, expr, .. } => {
                let args = vec![literal_string(&field.to_string().to_uppercase()), self.bind(expr)?];
                build("EXTRACT", args, span)
            }
            Ast::Floor { expr, field } => self.floor("FLOOR", expr, field, span),
            Ast::Ceil { expr, field } => self.floor("CEIL", expr, field, span),
            Ast::Position { expr, r#in } => self.call("POSITION", [&**expr, &**r#in], span),
            Ast::Substring { expr, substring_from, substring_for, .. } => {
                let args = std::iter::once(expr).chain(substring_from).chain(substring_for);
                self.call("SUBSTRING", args.map(|arg| &**arg), span)
            }
            Ast::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let side = match trim_where {
                    None | Some(TrimWhereField::Both) => "BOTH",
                    Some(TrimWhereField::Leading) => "LEADING",
                    Some(TrimWhereField::Trailing) => "TRAILING",
                };
                let what =
                    trim_what.as_ref().map_or_else(|| Ok(literal_string(" ")), |what| self.bind(what))?;
                build("TRIM", vec![literal_string(side), what, self.bind(expr)?], span)
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let args = [expr, overlay_what, overlay_from].into_iter().chain(overlay_for);
                self.call("OVERLAY", args.map(|arg| &**arg), span)
            }
            Ast::Array(array) => self.call("ARRAY", &array.elem, span),
            Ast::Tuple(items) => self.call("ROW", items, span),
            Ast::Prefixed { .. } => match parser::map_elements(expr) {
                Some(elements) => self.call("MAP", elements, span),
                None => unsupported("a table argument outside of a table function"),
            },
            Ast::IsJson { expr, kind, unique_keys: None, negated } => {
                let kind = kind.as_ref().map_or_else(|| "VALUE".to_owned(), ToString::to_string);
                let is = build("IS JSON", vec![self.bind(expr)?, literal_string(&kind)], span)?;
                if *negated { build("NOT", vec![is], span) } else { Ok(is) }
            }
            Ast::Function(function) => self.function(function, span),
            Ast::Exists { .. } => unsupported("EXISTS with a subquery"),
            Ast::InSubquery { .. } => unsupported("IN with a subquery"),
            Ast::Subquery(_) => unsupported("a scalar subquery"),
            Ast::GroupingSets(_) => unsupported("GROUPING SETS"),
            Ast::Cube(_) => unsupported("CUBE"),
            Ast::Rollup(_) => unsupported("ROLLUP"),
            Ast::AtTimeZone { .. } => unsupported("AT TIME ZONE"),
            other => unsupported(&format!("the expression `{other}`")),
        }
    }

    fn call<'a>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = &'a Ast>,
        span: Span,
    ) -> Result<ScalarExpr, SqlError> {
        let args = args.into_iter().map(|arg| self.bind(arg)).collect::<Result<_, _>>()?;
        build(name, args, span)
    }

    fn name(&self, parts: &[Ident], span: Span) -> Result<ScalarExpr, SqlError> {
        let (mut expr, taken) = match self.scope.resolve(parts) {
            Ok(found) => found,
            Err(error) => match parts {
                // CURRENT_DATE and its like are functions that are called without parentheses.
                [only] if only.quote_style.is_none() && is_niladic(&only.value) => {
                    return build(&only.value.to_uppercase(), vec![], span);
                }
                _ => return Err(error.at(span)),
            },
        };
        for field in &parts[taken..] {
            expr = build("FIELD", vec![expr, literal_string(&field.value)], span)?;
        }
        Ok(expr)
    }

    fn access(&self, root: &Ast, chain: &[AccessExpr], span: Span) -> Result<ScalarExpr, SqlError> {
        let mut expr = self.bind(root)?;
        for access in chain {
            expr = match access {
                AccessExpr::Dot(Ast::Identifier(field)) => {
                    build("FIELD", vec![expr, literal_string(&field.value)], span)?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    build("ITEM", vec![expr, self.bind(index)?], span)?
                }
                other => return Err(SqlError::unsupported(format!("the access `{other}`"), span)),
            };
        }
        Ok(expr)
    }

    fn binary(
        &self,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
        span: Span,
    ) -> Result<ScalarExpr, SqlError> {
        let name = match op {
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            BinaryOperator::And => "AND",
            BinaryOperator::Or => "OR",
            BinaryOperator::StringConcat => "||",
            BinaryOperator::Custom(words) if words == parser::BETWEEN_SYMMETRIC => {
                return self.between_symmetric(left, right, span);
            }
            BinaryOperator::Custom(words) if words == parser::NOT_BETWEEN_SYMMETRIC => {
                return build("NOT", vec![self.between_symmetric(left, right, span)?], span);
            }
            BinaryOperator::Overlaps => return self.overlaps(left, right, span),
            other => return Err(SqlError::unsupported(format!("the operator {other}"), span)),
        };
        self.call(name, [left, right], span)
    }

    /// Between two bounds in any order.
    fn between_symmetric(&self, value: &Ast, bounds: &Ast, span: Span) -> Result<ScalarExpr, SqlError> {
        let Ast::BinaryOp { left, op: BinaryOperator::And, right } = bounds else {
            return Err(SqlError::validation("BETWEEN SYMMETRIC takes two bounds: a AND b", span));
        };
        let upward = self.call("BETWEEN", [value, &**left, &**right], span)?;
        let downward = self.call("BETWEEN", [value, &**right, &**left], span)?;
        build("OR", vec![upward, downward], span)
    }

    /// `(a, b) OVERLAPS (c, d)`: each pair is two ends in any order, or a start and a length.
    fn overlaps(&self, left: &Ast, right: &Ast, span: Span) -> Result<ScalarExpr, SqlError> {
        let ends = |pair: &Ast| -> Result<[ScalarExpr; 2], SqlError> {
            let Ast::Tuple(pair) = pair else {
                return Err(SqlError::unsupported("OVERLAPS of other than two pairs", span));
            };
            let [start, end] = pair.as_slice() else {
                return Err(SqlError::validation("OVERLAPS compares pairs: (start, end)", span));
            };
            let (start, end) = (self.bind(start)?, self.bind(end)?);
            let end = match end.data_type().kind {
                TypeKind::IntervalDayTime | TypeKind::IntervalYearMonth => {
                    build("+", vec![start.clone(), end], span)?
                }
                _ => end,
            };
            let in_order = build("<=", vec![start.clone(), end.clone()], span)?;
            let pick = |a: &ScalarExpr, b: &ScalarExpr| {
                build("CASE", vec![in_order.clone(), a.clone(), b.clone()], span)
            };
            Ok([pick(&start, &end)?, pick(&end, &start)?])
        };
        let ([start, end], [other_start, other_end]) = (ends(left)?, ends(right)?);
        let reaches = build(">=", vec![end, other_start], span)?;
        let is_reached = build(">=", vec![other_end, start], span)?;
        build("AND", vec![reaches, is_reached], span)
    }

    /// `CASE x WHEN a THEN …` is `CASE WHEN x = a THEN …`.
    fn case(
        &self,
        operand: Option<&Ast>,
        conditions: &[CaseWhen],
        otherwise: Option<&Ast>,
        span: Span,
    ) -> Result<ScalarExpr, SqlError> {
        let operand = operand.map(|operand| self.bind(operand)).transpose()?;
        let mut args = Vec::new();
        for when in conditions {
            let condition = self.bind(&when.condition)?;
            args.push(match &operand {
                None => condition,
                Some(operand) => build("=", vec![operand.clone(), condition], when.condition.span())?,
            });
            args.push(self.bind(&when.result)?);
        }
        args.push(match otherwise {
            Some(otherwise) => self.bind(otherwise)?,
            None => literal_null(streamkeeper_connectors::schema::TypeKind::Null.into()),
        });
        build("CASE", args, span)
    }

    fn floor(
        &self,
        name: &str,
        expr: &Ast,
        field: &CeilFloorKind,
        span: Span,
    ) -> Result<ScalarExpr, SqlError> {
        let mut args = vec![self.bind(expr)?];
        match field {
            CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {}
            CeilFloorKind::DateTimeField(unit) => args.push(literal_string(&unit.to_string().to_uppercase())),
            CeilFloorKind::Scale(scale) => args.push(literals::value(&scale.value, span)?),
        }
        build(name, args, span)
    }

    fn function(&self, function: &ast::Function, span: Span) -> Result<ScalarExpr, SqlError> {
        let name = function.name.to_string().replace('`', "").to_uppercase();
        if function.over.is_some() {
            return Err(SqlError::unsupported(format!("{name} with an OVER clause here"), span));
        }
        if function.filter.is_some() || !function.within_group.is_empty() {
            return Err(SqlError::validation(
                format!("{name} is no aggregate function, or not allowed here"),
                span,
            ));
        }
        let list = match &function.args {
            FunctionArguments::None => return build(&name, vec![], span),
            FunctionArguments::List(list)
                if list.duplicate_treatment.is_none() && list.clauses.is_empty() =>
            {
                list
            }
            FunctionArguments::List(_) => {
                return Err(SqlError::unsupported(format!("clauses within the arguments of {name}"), span));
            }
            FunctionArguments::Subquery(_) => {
                return Err(SqlError::unsupported("a subquery as an argument", span));
            }
        };
        if json::is_json_function(&name) {
            return json::bind(self, &name, list, span);
        }
        let mut args = Vec::new();
        for (i, arg) in list.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                return Err(SqlError::unsupported(format!("the argument `{arg}` of {name}"), span));
            };
            if !parser::clauses(arg).1.is_empty() {
                return Err(SqlError::unsupported(format!("the clauses of {name}"), arg.span()));
            }
            args.push(match arg {
                // TIMESTAMPADD(DAY, 1, ts): the unit is a keyword.
                Ast::Identifier(unit)
                    if i == 0 && matches!(name.as_str(), "TIMESTAMPADD" | "TIMESTAMPDIFF") =>
                {
                    literal_string(&unit.value.to_uppercase())
                }
                arg => self.bind(arg)?,
            });
        }
        if super::live::reads_config(&name)
            && let Some(i) = args.iter().position(|arg| super::live::text(arg).is_none())
        {
            let what = if i == 0 { "document" } else { "key" };
            return Err(SqlError::validation(
                format!(
                    "{name} takes the name of a {what} as a literal, not an expression: which documents a job reads is known before it starts"
                ),
                span,
            ));
        }
        build(&name, args, span)
    }
}

fn is_niladic(name: &str) -> bool {
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "PI"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn build(name: &str, args: Vec<ScalarExpr>, span: Span) -> Result<ScalarExpr, SqlError> {
    call(name, args).map_err(|e| function_error(&e, span))
}

fn function_error(error: &FunctionError, span: Span) -> SqlError {
    SqlError::validation(error.to_string(), span)
}
