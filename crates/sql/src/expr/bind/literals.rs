//! Literals and their types: `1` INT, `2147483648` BIGINT, `0.908` DECIMAL(4, 3), `1e3` DOUBLE, `'x'` CHAR(1).

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Decimal128Array, Float64Array};
use sqlparser::ast::{DataType as AstType, Expr as Ast, Value};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use crate::error::SqlError;
use crate::expr::{
    ColumnarValue, EvalContext, ScalarExpr, cast, compile, literal, literal_bigint, literal_boolean,
    literal_int, literal_null, literal_string,
};
use crate::parser;

pub(super) fn value(value: &Value, span: Span) -> Result<ScalarExpr, SqlError> {
    match value {
        Value::Null => Ok(literal_null(TypeKind::Null.into())),
        Value::Boolean(flag) => Ok(literal_boolean(*flag)),
        Value::Number(text, _) => number(text, span),
        Value::SingleQuotedString(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => Ok(literal_string(text)),
        Value::HexStringLiteral(text) => hex(text, span),
        other => Err(SqlError::unsupported(format!("the literal {other}"), span)),
    }
}

/// `-9223372036854775808` is a BIGINT although its digits alone are none.
pub(super) fn negative(expr: &Ast, span: Span) -> Option<Result<ScalarExpr, SqlError>> {
    match expr {
        Ast::Value(value) => match &value.value {
            Value::Number(text, _) => Some(number(&format!("-{text}"), span)),
            _ => None,
        },
        _ => None,
    }
}

fn number(text: &str, span: Span) -> Result<ScalarExpr, SqlError> {
    let invalid = |why: &str| SqlError::validation(format!("Numeric literal '{text}' {why}"), span);
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| invalid("is no number"))?;
        if !value.is_finite() {
            return Err(invalid("out of range of DOUBLE"));
        }
        return Ok(literal(
            Arc::new(Float64Array::from(vec![value])),
            DataType::from(TypeKind::Double).not_null(),
        ));
    }
    let Some((whole, fraction)) = text.split_once('.') else {
        let value: i64 = text.parse().map_err(|_| invalid("out of range"))?;
        return Ok(i32::try_from(value).map_or_else(|_| literal_bigint(value), literal_int));
    };
    let digits = format!("{whole}{fraction}");
    let unscaled: i128 = digits.parse().map_err(|_| invalid("has more than 38 digits"))?;
    let precision = digits.trim_start_matches('-').len();
    if precision > 38 {
        return Err(invalid("has more than 38 digits"));
    }
    let (precision, scale) = (precision.max(1) as u8, fraction.len() as u8);
    let array = Decimal128Array::from(vec![unscaled])
        .with_precision_and_scale(precision, scale as i8)
        .map_err(|e| invalid(&e.to_string()))?;
    Ok(literal(Arc::new(array), DataType::from(TypeKind::Decimal { precision, scale }).not_null()))
}

fn hex(text: &str, span: Span) -> Result<ScalarExpr, SqlError> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pairs: Option<Vec<u8>> =
        text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    let bytes = pairs.ok_or_else(|| SqlError::validation(format!("X'{text}' is no binary literal"), span))?;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let array: ArrayRef = Arc::new(BinaryArray::from(vec![bytes.as_slice()]));
    Ok(literal(array, DataType::from(TypeKind::Binary(length)).not_null()))
}

/// `DATE '2020-01-01'`, `TIME '10:00:00'`, `TIMESTAMP '2020-01-01 00:00:00.123'`: a TIMESTAMP has the precision of its
/// fraction.
pub(super) fn typed(data_type: &AstType, text: &Value, span: Span) -> Result<ScalarExpr, SqlError> {
    let Value::SingleQuotedString(text) = text else {
        return Err(SqlError::validation("a typed literal is written DATE '2020-01-01'", span));
    };
    let mut kind = parser::data_type(data_type).map_err(|e| e.at(span))?.kind;
    if let TypeKind::Timestamp(precision) | TypeKind::Time(precision) = &mut kind {
        *precision = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.len().min(9) as u8);
    }
    let invalid = || SqlError::validation(format!("Illegal {kind} literal '{text}'"), span);
    let data_type = DataType::from(kind.clone()).not_null();
    let expr = cast(literal_string(text), data_type.clone(), false).map_err(|_| invalid())?;
    let ctx = EvalContext::new(chrono_tz::Tz::UTC);
    let compiled = compile(&expr, &ctx).map_err(|_| invalid())?;
    let row = arrow::array::RecordBatch::try_new_with_options(
        Arc::new(arrow::datatypes::Schema::empty()),
        vec![],
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )
    .map_err(|_| invalid())?;
    match compiled.eval(&row).map_err(|_| invalid())? {
        ColumnarValue::Array(value) | ColumnarValue::Scalar(value)
            if !arrow::array::Array::is_null(&value, 0) =>
        {
            Ok(literal(value, data_type))
        }
        _ => Err(invalid()),
    }
}
