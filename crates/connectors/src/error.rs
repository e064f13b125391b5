//! What can be wrong with a table: its definition, found while a job is planned, or its rows, when they become records.

/// Why a table cannot be read from or written to as it is defined, or its rows are not what a record wants.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The definition asks for something that is not there, or is not supported.
    #[error("{0}")]
    InvalidTable(String),
    /// A file or directory is not there or cannot be read.
    #[error("{action} {path}: {reason}")]
    Io {
        /// What was being done, as in `cannot list`.
        action: &'static str,
        /// To what.
        path: String,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// A record has a field that a row has not.
    #[error("there is no column `{column}`; the columns are: {available}")]
    NoSuchColumn {
        /// The column, with those around it (`address.street`).
        column: String,
        /// What there is.
        available: String,
    },
    /// A column is of another type than the record's field.
    #[error("column `{column}`: {expected} is wanted, but it is {found}")]
    TypeMismatch {
        /// The column, with those around it; `[]` stands for an element.
        column: String,
        /// The field's type.
        expected: String,
        /// The column's type.
        found: String,
    },
    /// A column has a NULL, but the record's field is no `Option`.
    #[error(
        "column `{column}` is NULL in row {row} of a batch, but its type is {expected}; make the field an Option"
    )]
    NullValue {
        /// The column, with those around it.
        column: String,
        /// The field's type.
        expected: String,
        /// The row, from 0.
        row: usize,
    },
    /// A value that a type does not hold.
    #[error("column `{column}`: {value} is beyond what {data_type} holds")]
    OutOfRange {
        /// The column, with those around it.
        column: String,
        /// The value.
        value: String,
        /// The type.
        data_type: String,
    },
}

impl ConnectorError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidTable(message.into())
    }

    /// The same, where the column is inside of another: a field of a row, or an element `[]`.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        if let Self::NoSuchColumn { column, .. }
        | Self::TypeMismatch { column, .. }
        | Self::NullValue { column, .. }
        | Self::OutOfRange { column, .. } = &mut self
        {
            let dot = if column.is_empty() || column.starts_with('[') { "" } else { "." };
            column.insert_str(0, &format!("{outer}{dot}"));
        }
        self
    }

    /// The same, where NULL would have been fine.
    pub(crate) fn or_null(mut self) -> Self {
        if let Self::TypeMismatch { column, expected, .. } = &mut self
            && column.is_empty()
        {
            expected.truncate(expected.strip_suffix(" NOT NULL").map_or(expected.len(), str::len));
        }
        self
    }
}
