//! A table: columns, watermark, primary key, options; and Flink's rules for a valid one.

use std::collections::HashSet;

use sqlparser::ast::{Expr, FunctionArguments, Ident, Spanned as _};
use sqlparser::tokenizer::Span;
use streamkeeper_connectors::schema::{DataType, TypeKind};

use crate::error::SqlError;
use crate::parser::{ColumnDef, ColumnKind, CreateTable, Distribution, PrimaryKey, Watermark};

type Result<T> = std::result::Result<T, SqlError>;

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name, case-sensitive.
    pub name: String,
    /// Its type; none for a computed column until the binder has set it.
    pub data_type: Option<DataType>,
    /// Where its values come from.
    pub source: ColumnSource,
    /// `COMMENT`.
    pub comment: Option<String>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a table has few columns")]
pub enum ColumnSource {
    /// From the record.
    Physical,
    /// From an expression over the other columns.
    Computed(Expr),
    /// From the connector.
    Metadata {
        /// The connector's key; the column's name if there is none.
        key: Option<String>,
        /// Left out when writing.
        is_virtual: bool,
    },
}

/// `PRIMARY KEY … NOT ENFORCED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// The constraint's name; Flink makes one up of the columns.
    pub name: String,
    /// Its columns, each physical and NOT NULL.
    pub columns: Vec<String>,
}

/// A table as the catalog keeps it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogTable {
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// `WATERMARK FOR`.
    pub watermark: Option<Watermark>,
    /// `PRIMARY KEY`.
    pub primary_key: Option<UniqueKey>,
    /// `PARTITIONED BY`.
    pub partition_keys: Vec<Ident>,
    /// `DISTRIBUTED BY`.
    pub distribution: Option<Distribution>,
    /// `WITH`, in the order written.
    pub options: Vec<(String, String)>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// The number of the session's stream that it is, instead of a connector's table.
    pub stream: Option<usize>,
}

impl Column {
    pub(super) fn new(def: &ColumnDef) -> Self {
        let (data_type, source) = match &def.kind {
            ColumnKind::Physical(data_type) => (Some(data_type.data_type.clone()), ColumnSource::Physical),
            ColumnKind::Computed(expr) => {
                let proctime =
                    is_proctime(expr).then(|| DataType::from(TypeKind::TimestampLtz(3)).not_null());
                (proctime, ColumnSource::Computed(expr.clone()))
            }
            ColumnKind::Metadata { data_type, key, is_virtual } => {
                let source = ColumnSource::Metadata { key: key.clone(), is_virtual: *is_virtual };
                (Some(data_type.data_type.clone()), source)
            }
        };
        Self { name: def.name.value.clone(), data_type, source, comment: def.comment.clone() }
    }

    /// True for `PROCTIME()`: the processing-time attribute.
    pub fn is_proctime(&self) -> bool {
        matches!(&self.source, ColumnSource::Computed(expr) if is_proctime(expr))
    }

    /// False for columns that INSERT cannot write: computed and virtual metadata columns.
    pub fn is_persisted(&self) -> bool {
        match self.source {
            ColumnSource::Physical => true,
            ColumnSource::Computed(_) => false,
            ColumnSource::Metadata { is_virtual, .. } => !is_virtual,
        }
    }
}

/// True for a call `PROCTIME()`.
fn is_proctime(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let no_args = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    no_args && function.name.to_string().eq_ignore_ascii_case("PROCTIME")
}

impl CatalogTable {
    /// The table that the statement declares, LIKE aside.
    pub(super) fn new(create: &CreateTable) -> Result<Self> {
        let mut table = Self {
            watermark: create.watermark.clone(),
            partition_keys: create.partitioned_by.clone(),
            distribution: create.distributed_by.clone(),
            options: create.options.clone(),
            comment: create.comment.clone(),
            ..Self::default()
        };
        for def in &create.columns {
            table.push(def)?;
        }
        if let Some(key) = &create.primary_key {
            table.set_primary_key(key)?;
        }
        Ok(table)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The value of an option.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Sets the type of a computed column.
    pub fn set_type(&mut self, column: &str, data_type: DataType) {
        if let Some(column) = self.columns.iter_mut().find(|c| c.name == column) {
            column.data_type = Some(data_type);
        }
    }

    /// True when the watermark is declared on this column.
    pub fn is_rowtime(&self, column: &str) -> bool {
        matches!(&self.watermark, Some(Watermark { column: path, .. }) if path.len() == 1 && path[0].value == column)
    }

    pub(super) fn push(&mut self, def: &ColumnDef) -> Result<()> {
        if self.column(&def.name.value).is_some() {
            let message = format!("column `{}` is defined twice", def.name.value);
            return Err(SqlError::validation(message, def.name.span));
        }
        self.columns.push(Column::new(def));
        Ok(())
    }

    /// Takes the key, and makes its columns NOT NULL.
    pub(super) fn set_primary_key(&mut self, key: &PrimaryKey) -> Result<()> {
        let span = key.columns.first().map_or(Span::empty(), |c| c.span);
        if key.enforced {
            let message = "a PRIMARY KEY must be NOT ENFORCED: the data is not ours, so nothing can check it; write \
                           PRIMARY KEY (…) NOT ENFORCED";
            return Err(SqlError::validation(message, span));
        }
        let mut seen = HashSet::new();
        for name in &key.columns {
            if !seen.insert(&name.value) {
                let message = format!("column `{}` is in the primary key twice", name.value);
                return Err(SqlError::validation(message, name.span));
            }
            let Some(column) = self.columns.iter_mut().find(|c| c.name == name.value) else {
                let message = format!("primary key column `{}` is not defined in the table", name.value);
                return Err(SqlError::validation(message, name.span));
            };
            if column.source != ColumnSource::Physical {
                let message = format!(
                    "primary key column `{}` is not physical; only columns of the record can be in it",
                    name.value
                );
                return Err(SqlError::validation(message, name.span));
            }
            if let Some(data_type) = &mut column.data_type {
                data_type.nullable = false;
            }
        }
        let columns: Vec<String> = key.columns.iter().map(|c| c.value.clone()).collect();
        let name = key.name.as_ref().map_or_else(|| format!("PK_{}", columns.join("_")), |n| n.value.clone());
        self.primary_key = Some(UniqueKey { name, columns });
        Ok(())
    }

    /// Checks what does not need the types of computed columns.
    pub(super) fn check(&self) -> Result<()> {
        for key in &self.partition_keys {
            let is_physical = self.column(&key.value).is_some_and(|c| c.source == ColumnSource::Physical);
            if !is_physical {
                let message =
                    format!("partition column `{}` is not a physical column of the table", key.value);
                return Err(SqlError::validation(message, key.span));
            }
        }
        for key in self.distribution.iter().flat_map(|d| &d.columns) {
            if self.column(&key.value).is_none() {
                let message = format!("bucket column `{}` is not defined in the table", key.value);
                return Err(SqlError::validation(message, key.span));
            }
        }
        self.check_watermark()
    }

    /// Checks that the rowtime column exists and is a timestamp of milliseconds; a computed column without a type yet
    /// passes.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_watermark(&self) -> Result<()> {
        let Some(Watermark { column: path, expr }) = &self.watermark else { return Ok(()) };
        let Some(first) = path.first() else { return Ok(()) };
        let text: Vec<&str> = path.iter().map(|p| p.value.as_str()).collect();
        let text = text.join(".");
        let missing = |part: &Ident| {
            let columns: Vec<String> = self.columns.iter().map(|c| format!("`{}`", c.name)).collect();
            let message = format!(
                "the rowtime column `{text}` of the watermark is not defined in the table, which has {}",
                columns.join(", ")
            );
            SqlError::validation(message, part.span)
        };
        let column = self.column(&first.value).ok_or_else(|| missing(first))?;
        if column.is_proctime() {
            let message = format!("a watermark cannot be declared on the processing-time column `{text}`");
            return Err(SqlError::validation(message, first.span));
        }
        let Some(mut data_type) = column.data_type.as_ref() else { return Ok(()) };
        for part in &path[1..] {
            let TypeKind::Row(fields) = &data_type.kind else { return Err(missing(part)) };
            let field = fields.iter().find(|f| f.name == part.value).ok_or_else(|| missing(part))?;
            data_type = &field.data_type;
        }
        match data_type.kind {
            TypeKind::Timestamp(0..=3) | TypeKind::TimestampLtz(0..=3) => {}
            _ => {
                let message = format!(
                    "the rowtime column `{text}` of the watermark must be TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p from 0 \
                     to 3, but is {data_type}"
                );
                return Err(SqlError::validation(message, first.span));
            }
        }
        if matches!(expr, Expr::Value(_)) {
            let message = "the watermark expression must be a timestamp, such as `ts - INTERVAL '5' SECOND`";
            return Err(SqlError::validation(message, expr.span()));
        }
        Ok(())
    }
}

/// Sets options over those that are there.
pub(super) fn set_options(options: &mut Vec<(String, String)>, changes: &[(String, String)]) {
    for (key, value) in changes {
        match options.iter_mut().find(|(k, _)| k == key) {
            Some(option) => option.1.clone_from(value),
            None => options.push((key.clone(), value.clone())),
        }
    }
}
