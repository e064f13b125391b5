//! A table as the planner sees it: its catalog entry with types and expressions bound.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use streamkeeper_connectors::schema::Field;
use streamkeeper_connectors::table::is_changelog_source;
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
    /// What the connector knows of a row beside that: behind the physical columns in a scan, never written.
    pub(crate) metadata: Vec<Metadata>,
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
    /// Its value, over the columns of a scan: a reference for a physical or metadata column, else what it is computed from.
    pub(crate) value: ScalarExpr,
    /// It is one of the physical columns.
    pub(crate) is_physical: bool,
}

/// A column of the connector's metadata.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    /// Name and type.
    pub(crate) field: Field,
    /// The connector's name for it.
    pub(crate) key: String,
    /// Left out when writing.
    pub(crate) is_virtual: bool,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone)]
pub(crate) struct Watermark {
    /// Position in `columns`.
    pub(crate) column: usize,
    /// Over the columns of a scan.
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

    /// What a scan can give, in its order: the physical columns, then the metadata.
    pub(crate) fn scanned(&self) -> impl Iterator<Item = &Field> {
        self.physical.iter().chain(self.metadata.iter().map(|metadata| &metadata.field))
    }

    /// Whether rows of it are updated and deleted.
    pub(crate) fn is_changelog(&self) -> bool {
        match self.stream {
            Some(stream) => stream.changelog,
            None => is_changelog_source(self.connector()),
        }
    }

    /// The value of the `connector` option.
    pub(crate) fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }
}
