//! Flink's logical types, and the Arrow type that holds each.
//!
//! Invariant: a column of type `t` is always an Arrow array of type `t.to_arrow()`, everywhere in Streamkeeper.
//!
//! | Flink | Arrow |
//! |---|---|
//! | CHAR, VARCHAR, STRING | Utf8 |
//! | BINARY, VARBINARY, BYTES | Binary |
//! | BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE | Boolean, Int8, Int16, Int32, Int64, Float32, Float64 |
//! | DECIMAL(p, s) | Decimal128(p, s) |
//! | DATE | Date32 |
//! | TIME(p) | Time32(Millisecond) |
//! | TIMESTAMP(p) | Timestamp without zone: Millisecond (p ≤ 3), Microsecond (p ≤ 6), Nanosecond (p ≤ 9) |
//! | TIMESTAMP_LTZ(p) | the same with zone "UTC" |
//! | INTERVAL YEAR TO MONTH, DAY TO SECOND | Int32 months, Int64 milliseconds |
//! | ARRAY, MAP, MULTISET, ROW | List (`item`), Map (`entries` of `key`, `value`), Map to Int32, Struct |

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{
    DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};

/// The length of STRING and BYTES.
pub const MAX_LENGTH: u32 = i32::MAX as u32;

/// A type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataType {
    /// The type proper.
    pub kind: TypeKind,
    /// False for `NOT NULL`.
    pub nullable: bool,
}

/// A logical type, as in Flink's "Data Types" documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeKind {
    /// `CHAR(n)`.
    Char(u32),
    /// `VARCHAR(n)`; `STRING` is `VARCHAR(2147483647)`.
    Varchar(u32),
    /// `BOOLEAN`.
    Boolean,
    /// `TINYINT`.
    TinyInt,
    /// `SMALLINT`.
    SmallInt,
    /// `INT`.
    Int,
    /// `BIGINT`.
    BigInt,
    /// `FLOAT`.
    Float,
    /// `DOUBLE`.
    Double,
    /// `DECIMAL(precision, scale)`, precision 1 to 38.
    Decimal {
        /// Total digits.
        precision: u8,
        /// Digits after the point, `0..=precision`.
        scale: u8,
    },
    /// `BINARY(n)`.
    Binary(u32),
    /// `VARBINARY(n)`; `BYTES` is `VARBINARY(2147483647)`.
    Varbinary(u32),
    /// `DATE`.
    Date,
    /// `TIME(p)`: only milliseconds are kept, as in Flink.
    Time(u8),
    /// `TIMESTAMP(p)`, without time zone.
    Timestamp(u8),
    /// `TIMESTAMP_LTZ(p)`: an instant.
    TimestampLtz(u8),
    /// `INTERVAL YEAR TO MONTH`, in months.
    IntervalYearMonth,
    /// `INTERVAL DAY TO SECOND`, in milliseconds.
    IntervalDayTime,
    /// `ARRAY<t>`.
    Array(Box<DataType>),
    /// `MAP<k, v>`.
    Map(Box<DataType>, Box<DataType>),
    /// `MULTISET<t>`.
    Multiset(Box<DataType>),
    /// `ROW<name type, …>`.
    Row(Vec<Field>),
    /// The type of a bare `NULL`.
    Null,
}

/// A named column or field of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name, case-sensitive.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

impl Field {
    /// A field.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type }
    }
}

impl From<TypeKind> for DataType {
    /// The nullable type.
    fn from(kind: TypeKind) -> Self {
        Self { kind, nullable: true }
    }
}

impl DataType {
    /// `STRING`.
    pub fn string() -> Self {
        TypeKind::Varchar(MAX_LENGTH).into()
    }

    /// The same type, `NOT NULL`.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The same type with the given nullability.
    #[must_use]
    pub fn with_nullable(mut self, nullable: bool) -> Self {
        self.nullable = nullable;
        self
    }

    /// The Arrow type that holds its values.
    pub fn to_arrow(&self) -> ArrowType {
        match &self.kind {
            TypeKind::Char(_) | TypeKind::Varchar(_) => ArrowType::Utf8,
            TypeKind::Boolean => ArrowType::Boolean,
            TypeKind::TinyInt => ArrowType::Int8,
            TypeKind::SmallInt => ArrowType::Int16,
            TypeKind::Int | TypeKind::IntervalYearMonth => ArrowType::Int32,
            TypeKind::BigInt | TypeKind::IntervalDayTime => ArrowType::Int64,
            TypeKind::Float => ArrowType::Float32,
            TypeKind::Double => ArrowType::Float64,
            TypeKind::Decimal { precision, scale } => ArrowType::Decimal128(*precision, *scale as i8),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => ArrowType::Binary,
            TypeKind::Date => ArrowType::Date32,
            TypeKind::Time(_) => ArrowType::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(p) => ArrowType::Timestamp(time_unit(*p), None),
            TypeKind::TimestampLtz(p) => ArrowType::Timestamp(time_unit(*p), Some("UTC".into())),
            TypeKind::Array(item) => ArrowType::List(Arc::new(item.to_arrow_field("item"))),
            TypeKind::Map(key, value) => map_type(key, value),
            TypeKind::Multiset(item) => map_type(item, &DataType::from(TypeKind::Int).not_null()),
            TypeKind::Row(fields) => ArrowType::Struct(to_arrow_fields(fields)),
            TypeKind::Null => ArrowType::Null,
        }
    }

    /// An Arrow field of this type. Always nullable: nullability is a promise of the plan, not of the array.
    pub fn to_arrow_field(&self, name: &str) -> ArrowField {
        ArrowField::new(name, self.to_arrow(), true)
    }
}

/// The unit that holds a timestamp of the given precision.
pub fn time_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn map_type(key: &DataType, value: &DataType) -> ArrowType {
    let key = ArrowField::new("key", key.to_arrow(), false);
    let entries = ArrowField::new_struct("entries", vec![key, value.to_arrow_field("value")], false);
    ArrowType::Map(Arc::new(entries), false)
}

fn to_arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(|f| f.data_type.to_arrow_field(&f.name)).collect()
}

/// The Arrow schema of a list of columns.
pub fn to_arrow_schema(fields: &[Field]) -> SchemaRef {
    Arc::new(ArrowSchema::new(to_arrow_fields(fields)))
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.nullable || self.kind == TypeKind::Null { Ok(()) } else { f.write_str(" NOT NULL") }
    }
}

/// Flink's form: `TIMESTAMP(3)`, `ROW<`a` INT, `b` STRING>`.
impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Varchar(MAX_LENGTH) => f.write_str("STRING"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Binary(n) => write!(f, "BINARY({n})"),
            Self::Varbinary(MAX_LENGTH) => f.write_str("BYTES"),
            Self::Varbinary(n) => write!(f, "VARBINARY({n})"),
            Self::Date => f.write_str("DATE"),
            Self::Time(p) => write!(f, "TIME({p})"),
            Self::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            Self::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            Self::IntervalYearMonth => f.write_str("INTERVAL MONTH"),
            Self::IntervalDayTime => f.write_str("INTERVAL SECOND(3)"),
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Multiset(item) => write!(f, "MULTISET<{item}>"),
            Self::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}` {}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
            Self::Null => f.write_str("NULL"),
        }
    }
}
