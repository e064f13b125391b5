//! `SHOW CREATE TABLE`, `SHOW CREATE VIEW` and `DESCRIBE`, in Flink's text.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, VisitMut, VisitorMut};
use streamkeeper_connectors::schema::{DataType, MAX_LENGTH, TypeKind};

use super::table::{CatalogTable, Column, ColumnSource};
use super::{CatalogView, ObjectPath};
use crate::parser::{quote, to_sql};

/// A row of `DESCRIBE`; all but the last are Flink's columns in order, and `comment` is one only if any column has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeRow {
    /// `name`.
    pub name: String,
    /// `type`, with `*ROWTIME*` or `*PROCTIME*`.
    pub data_type: String,
    /// `null`.
    pub nullable: bool,
    /// `key`: `PRI(a, b)`.
    pub key: Option<String>,
    /// `extras`: `AS expression`, `METADATA FROM 'key' VIRTUAL`.
    pub extras: Option<String>,
    /// `watermark`: its expression.
    pub watermark: Option<String>,
    /// `comment`.
    pub comment: Option<String>,
}

/// A name in backquotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn names<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let columns: Vec<String> = columns.into_iter().map(name).collect();
    columns.join(", ")
}

/// An expression with all of its columns in backquotes.
fn expression(expr: &Expr) -> String {
    struct Quote;
    impl VisitorMut for Quote {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let quote = |ident: &mut Ident| ident.quote_style = Some('`');
            match expr {
                Expr::Identifier(ident) => quote(ident),
                Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(quote),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = expr.clone();
    let _ = expr.visit(&mut Quote);
    to_sql(&expr)
}

/// The type in the long form that `SHOW CREATE TABLE` prints.
fn long_type(data_type: &DataType) -> String {
    let text = match &data_type.kind {
        TypeKind::Varchar(MAX_LENGTH) => format!("VARCHAR({MAX_LENGTH})"),
        TypeKind::Varbinary(MAX_LENGTH) => format!("VARBINARY({MAX_LENGTH})"),
        TypeKind::TimestampLtz(precision) => format!("TIMESTAMP({precision}) WITH LOCAL TIME ZONE"),
        TypeKind::Array(item) => format!("ARRAY<{}>", long_type(item)),
        TypeKind::Multiset(item) => format!("MULTISET<{}>", long_type(item)),
        TypeKind::Map(key, value) => format!("MAP<{}, {}>", long_type(key), long_type(value)),
        TypeKind::Row(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|f| format!("{} {}", name(&f.name), long_type(&f.data_type))).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        kind => kind.to_string(),
    };
    if data_type.nullable { text } else { format!("{text} NOT NULL") }
}

fn metadata(key: Option<&String>, is_virtual: bool) -> String {
    let mut out = "METADATA".to_string();
    if let Some(key) = key {
        let _ = write!(out, " FROM {}", quote(key));
    }
    if is_virtual {
        out.push_str(" VIRTUAL");
    }
    out
}

fn element(column: &Column) -> String {
    let mut out = format!("{} ", name(&column.name));
    let data_type = column.data_type.as_ref().map(long_type).unwrap_or_default();
    match &column.source {
        ColumnSource::Physical => out.push_str(&data_type),
        ColumnSource::Computed(expr) => {
            let _ = write!(out, "AS {}", expression(expr));
        }
        ColumnSource::Metadata { key, is_virtual } => {
            let _ = write!(out, "{data_type} {}", metadata(key.as_ref(), *is_virtual));
        }
    }
    if let Some(comment) = &column.comment {
        let _ = write!(out, " COMMENT {}", quote(comment));
    }
    out
}

impl CatalogTable {
    /// The text of `SHOW CREATE TABLE`.
    pub fn show_create(&self, path: &ObjectPath, temporary: bool) -> String {
        let temporary = if temporary { "TEMPORARY " } else { "" };
        let mut elements: Vec<String> = self.columns.iter().map(element).collect();
        if let Some(watermark) = &self.watermark {
            let column: Vec<String> = watermark.column.iter().map(|c| name(&c.value)).collect();
            elements.push(format!("WATERMARK FOR {} AS {}", column.join("."), expression(&watermark.expr)));
        }
        if let Some(key) = &self.primary_key {
            let columns = names(key.columns.iter().map(String::as_str));
            elements.push(format!("CONSTRAINT {} PRIMARY KEY ({columns}) NOT ENFORCED", name(&key.name)));
        }
        let mut out =
            format!("CREATE {temporary}TABLE {} (\n  {}\n)\n", path.quoted(), elements.join(",\n  "));
        if let Some(comment) = &self.comment {
            let _ = writeln!(out, "COMMENT {}", quote(comment));
        }
        if let Some(distribution) = &self.distribution {
            out.push_str("DISTRIBUTED");
            if !distribution.columns.is_empty() {
                let columns = names(distribution.columns.iter().map(|c| c.value.as_str()));
                let _ = write!(out, " BY {}({columns})", distribution.algorithm.as_deref().unwrap_or(""));
            }
            if let Some(buckets) = distribution.buckets {
                let _ = write!(out, " INTO {buckets} BUCKETS");
            }
            out.push('\n');
        }
        if !self.partition_keys.is_empty() {
            let columns = names(self.partition_keys.iter().map(|c| c.value.as_str()));
            let _ = writeln!(out, "PARTITIONED BY ({columns})");
        }
        if !self.options.is_empty() {
            let mut options: Vec<String> = self
                .options
                .iter()
                .map(|(key, value)| format!("  {} = {}", quote(key), quote(value)))
                .collect();
            options.sort_unstable();
            let _ = writeln!(out, "WITH (\n{}\n)", options.join(",\n"));
        }
        out
    }

    /// The rows of `DESCRIBE`.
    pub fn describe(&self) -> Vec<DescribeRow> {
        self.columns.iter().map(|column| self.describe_column(column)).collect()
    }

    fn describe_column(&self, column: &Column) -> DescribeRow {
        let is_rowtime = self.is_rowtime(&column.name);
        let suffix = if is_rowtime {
            " *ROWTIME*"
        } else if column.is_proctime() {
            " *PROCTIME*"
        } else {
            ""
        };
        let data_type = column.data_type.as_ref().map_or("UNKNOWN".to_string(), |t| t.kind.to_string());
        let key = self.primary_key.as_ref().filter(|key| key.columns.contains(&column.name));
        DescribeRow {
            name: column.name.clone(),
            data_type: format!("{data_type}{suffix}"),
            nullable: column.data_type.as_ref().is_none_or(|t| t.nullable),
            key: key.map(|key| format!("PRI({})", key.columns.join(", "))),
            extras: match &column.source {
                ColumnSource::Physical => None,
                ColumnSource::Computed(expr) => Some(format!("AS {}", expression(expr))),
                ColumnSource::Metadata { key, is_virtual } => Some(metadata(key.as_ref(), *is_virtual)),
            },
            watermark: self.watermark.as_ref().filter(|_| is_rowtime).map(|w| expression(&w.expr)),
            comment: column.comment.clone(),
        }
    }
}

impl CatalogView {
    /// The text of `SHOW CREATE VIEW`.
    pub fn show_create(&self, path: &ObjectPath, temporary: bool) -> String {
        let temporary = if temporary { "TEMPORARY " } else { "" };
        let mut out = format!("CREATE {temporary}VIEW {}", path.quoted());
        let resolved = self.schema.iter().flatten().map(|f| name(&f.name));
        let columns: Vec<String> = if self.columns.is_empty() {
            resolved.collect()
        } else {
            self.columns.iter().map(|c| name(c)).collect()
        };
        if !columns.is_empty() {
            let _ = write!(out, " (\n  {}\n)", columns.join(",\n  "));
        }
        out.push('\n');
        if let Some(comment) = &self.comment {
            let _ = writeln!(out, "COMMENT {}", quote(comment));
        }
        let _ = writeln!(out, "AS {}", self.text);
        out
    }
}
