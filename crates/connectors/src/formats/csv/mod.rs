//! `csv`: Flink's format, that is Jackson's reading and writing of RFC 4180.
//!
//! A field is quoted when its first byte is the quote character; a quote inside an unquoted field stands for itself.
//! A record ends with `\n`, `\r\n` or `\r`. A record with fewer fields than columns is an error, as is one with more.
mod decode;
mod encode;
mod fast;

pub(crate) use decode::CsvDecoder;
pub(crate) use encode::CsvEncoder;

use crate::error::ConnectorError;
use crate::options::Options;
use crate::schema::{Field, TypeKind};

/// Flink's `csv.*` options.
#[derive(Debug, Clone)]
pub(crate) struct CsvOptions {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
    pub(crate) allow_comments: bool,
    pub(crate) ignore_parse_errors: bool,
    pub(crate) null_literal: Option<Vec<u8>>,
    pub(crate) array_delimiter: Vec<u8>,
    pub(crate) scientific: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            allow_comments: false,
            ignore_parse_errors: false,
            null_literal: None,
            array_delimiter: b";".to_vec(),
            scientific: true,
        }
    }
}

impl CsvOptions {
    pub(crate) fn from_options(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let disabled = options.bool("csv.disable-quote-character", false)?;
        if disabled && options.get("csv.quote-character").is_some() {
            return Err(ConnectorError::invalid(
                "Format cannot define a quote character and disabled quote character at the same time: drop \
                 'csv.quote-character' or 'csv.disable-quote-character'.",
            ));
        }
        let quote = options.character("csv.quote-character", Some(b'"'))?;
        let array_delimiter = options.get("csv.array-element-delimiter").unwrap_or(";").as_bytes().to_vec();
        if array_delimiter.is_empty() {
            return Err(options.invalid("csv.array-element-delimiter", "", "at least one character"));
        }
        Ok(Self {
            delimiter: options.character("csv.field-delimiter", Some(b','))?.unwrap_or(b','),
            quote: quote.filter(|_| !disabled),
            escape: options.character("csv.escape-character", None)?,
            allow_comments: options.bool("csv.allow-comments", false)?,
            ignore_parse_errors: options.bool("csv.ignore-parse-errors", false)?,
            null_literal: options.get("csv.null-literal").map(|text| text.as_bytes().to_vec()),
            array_delimiter,
            scientific: options.bool("csv.write-bigdecimal-in-scientific-notation", true)?,
        })
    }
}

/// Refuses columns that a CSV field cannot hold.
pub(crate) fn check(columns: &[Field]) -> Result<(), ConnectorError> {
    for column in columns {
        let nested = match &column.data_type.kind {
            TypeKind::Array(item) => is_nested(&item.kind),
            other => is_nested(other),
        };
        if nested {
            return Err(ConnectorError::invalid(format!(
                "column `{}`: the csv format does not support type {}; use the json format for nested values",
                column.name, column.data_type
            )));
        }
    }
    Ok(())
}

fn is_nested(kind: &TypeKind) -> bool {
    use TypeKind as T;
    matches!(kind, T::Array(_) | T::Map(..) | T::Multiset(_) | T::Row(_) | T::Null)
}

#[cfg(test)]
mod tests;
