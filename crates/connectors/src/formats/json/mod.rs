//! `json`: Flink's format, one JSON object per line.
//!
//! Unknown fields are skipped, missing ones are NULL, the last of several of one name counts. An empty line holds no
//! row.
mod decode;
mod encode;
mod parser;

pub(crate) use decode::JsonDecoder;
pub(crate) use encode::JsonEncoder;

use crate::error::ConnectorError;
use crate::options::Options;
use crate::schema::{DataType, Field, TypeKind};
use crate::text::time::TimestampFormat;

/// What to do with a map entry whose key is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MapNullKey {
    Fail,
    Drop,
    Literal(String),
}

/// Flink's `json.*` options.
#[derive(Debug, Clone)]
pub(crate) struct JsonOptions {
    pub(crate) fail_on_missing_field: bool,
    pub(crate) ignore_parse_errors: bool,
    pub(crate) timestamps: TimestampFormat,
    pub(crate) map_null_key: MapNullKey,
    pub(crate) plain_decimals: bool,
    pub(crate) ignore_null_fields: bool,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            fail_on_missing_field: false,
            ignore_parse_errors: false,
            timestamps: TimestampFormat::Sql,
            map_null_key: MapNullKey::Fail,
            plain_decimals: false,
            ignore_null_fields: false,
        }
    }
}

impl JsonOptions {
    pub(crate) fn from_options(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let fail_on_missing_field = options.bool("json.fail-on-missing-field", false)?;
        let ignore_parse_errors = options.bool("json.ignore-parse-errors", false)?;
        if fail_on_missing_field && ignore_parse_errors {
            return Err(ConnectorError::invalid(
                "json.fail-on-missing-field and json.ignore-parse-errors shouldn't both be true: set one of them to \
                 false",
            ));
        }
        let timestamps = match options.get("json.timestamp-format.standard").unwrap_or("SQL") {
            "SQL" => TimestampFormat::Sql,
            "ISO-8601" => TimestampFormat::Iso8601,
            other => {
                return Err(options.invalid("json.timestamp-format.standard", other, "one of SQL, ISO-8601"));
            }
        };
        let literal = options.get("json.map-null-key.literal").unwrap_or("null");
        let map_null_key = match options.get("json.map-null-key.mode").unwrap_or("FAIL") {
            mode if mode.eq_ignore_ascii_case("fail") => MapNullKey::Fail,
            mode if mode.eq_ignore_ascii_case("drop") => MapNullKey::Drop,
            mode if mode.eq_ignore_ascii_case("literal") => MapNullKey::Literal(literal.to_owned()),
            other => {
                return Err(options.invalid("json.map-null-key.mode", other, "one of FAIL, DROP, LITERAL"));
            }
        };
        Ok(Self {
            fail_on_missing_field,
            ignore_parse_errors,
            timestamps,
            map_null_key,
            plain_decimals: options.bool("json.encode.decimal-as-plain-number", false)?,
            ignore_null_fields: options.bool("json.encode.ignore-null-fields", false)?,
        })
    }
}

/// Refuses columns that JSON has no form for: maps with keys that are not strings.
pub(crate) fn check(columns: &[Field]) -> Result<(), ConnectorError> {
    columns.iter().try_for_each(|column| check_type(&column.name, &column.data_type))
}

fn check_type(column: &str, data_type: &DataType) -> Result<(), ConnectorError> {
    match &data_type.kind {
        TypeKind::Map(key, _) | TypeKind::Multiset(key)
            if !matches!(key.kind, TypeKind::Char(_) | TypeKind::Varchar(_)) =>
        {
            Err(ConnectorError::invalid(format!(
                "column `{column}`: JSON format doesn't support non-string as key type of map. The type is: {data_type}"
            )))
        }
        TypeKind::Map(_, value) => check_type(column, value),
        TypeKind::Array(item) => check_type(column, item),
        TypeKind::Row(fields) => fields.iter().try_for_each(|f| check_type(column, &f.data_type)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
