//! A table as the planner sees it: its catalog entry with types and expressions bound.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use streamkeeper_connectors::schema::Field;
use streamkeeper_dataflow::graph::Port;

use crate::expr::ScalarExpr;

/// A resolved table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Catalog, database, name.
    pub(crate) path: [String; 3],
    /// All columns in the order of the DDL.
    pub(crate) columns: Vec<TableColumn>,
    /// Those that the connector reads and writes.
    pub(crate) physical: Vec<Field>,
    /// The event-time column and its watermark.
    pub(crate) watermark: Option<Watermark>,
    /// Positions in `columns` of the primary key.
    pub(crate) primary_key: Vec<usize>,
    /// The WITH clause and the hints.
    pub(crate) options: BTreeMap<String, String>,
    /// Its rows are those of a stream, not of a connector.
    pub(crate) stream: Option<StreamInput>,
}

/// A stream that is a table's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamInput {
    /// All physical columns, and the row kind.
    pub(crate) port: Port<RecordBatch>,
    /// There is a row-kind column.
    pub(crate) changelog: bool,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    /// Name and type.
    pub(crate) field: Field,
    /// Its value, over the physical columns: a reference for a physical column, else what it is computed from.
    pub(crate) value: ScalarExpr,
    /// It is one of the physical columns.
    pub(crate) is_physical: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone)]
pub(crate) struct Watermark {
    /// Position in `columns`.
    pub(crate) column: usize,
    /// Over the physical columns.
    pub(crate) expression: ScalarExpr,
}

impl Table {
    /// `default_catalog.default_database.t`.
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    /// `default_catalog, default_database, t`, as plans show it.
    pub(crate) fn display_path(&self) -> String {
        self.path.join(", ")
    }

    /// The value of the `connector` option.
    pub(crate) fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }
}
