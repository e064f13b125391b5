//! The result types of aggregate functions, as Flink derives them.

use streamkeeper_connectors::schema::{DataType, TypeKind};

use crate::operators::spec::AggregateFunction;

impl AggregateFunction {
    /// The type of the function's result for arguments of these types, or why it does not take them. A result that is
    /// NOT NULL here becomes nullable with FILTER and in an aggregation without keys; COUNT never does.
    ///
    /// # Errors
    /// A sentence that names the function and the argument's type.
    pub fn return_type(self, args: &[DataType], distinct: bool) -> Result<DataType, String> {
        let name = self.sql_name();
        if self == Self::Count {
            return match args {
                [] if distinct => Err("COUNT(DISTINCT *) is not valid; name a column".to_owned()),
                [] | [_] => Ok(DataType::from(TypeKind::BigInt).not_null()),
                _ => Err("COUNT takes one argument".to_owned()),
            };
        }
        let arg = match (self, args) {
            (_, [arg]) => arg,
            (Self::ListAgg, [arg, separator]) if is_text(separator) => arg,
            (Self::ListAgg, _) => {
                return Err("LISTAGG takes a STRING and a STRING literal separator".to_owned());
            }
            _ => return Err(format!("{name} takes one argument, not {}", args.len())),
        };
        let refused = || Err(format!("{name} does not take an argument of type {}", arg.kind));
        let kind = match self {
            Self::Count => TypeKind::BigInt,
            Self::Sum | Self::Sum0 => match &arg.kind {
                TypeKind::Decimal { scale, .. } => TypeKind::Decimal { precision: 38, scale: *scale },
                kind if is_numeric(kind) => kind.clone(),
                _ => return refused(),
            },
            Self::Avg | Self::StddevPop | Self::StddevSamp | Self::VarPop | Self::VarSamp => {
                match &arg.kind {
                    TypeKind::Decimal { scale, .. } => {
                        TypeKind::Decimal { precision: 38, scale: (*scale).max(6) }
                    }
                    kind if is_numeric(kind) => kind.clone(),
                    _ => return refused(),
                }
            }
            Self::Min | Self::Max => match &arg.kind {
                TypeKind::Array(_)
                | TypeKind::Map(..)
                | TypeKind::Multiset(_)
                | TypeKind::Row(_)
                | TypeKind::Binary(_)
                | TypeKind::Varbinary(_)
                | TypeKind::Null => return refused(),
                kind => kind.clone(),
            },
            Self::ListAgg if !is_text(arg) => return refused(),
            Self::ListAgg => return Ok(DataType::string().with_nullable(arg.nullable)),
            Self::Collect => return Ok(DataType::from(TypeKind::Multiset(Box::new(arg.clone()))).not_null()),
            Self::FirstValue | Self::LastValue | Self::SingleValue => arg.kind.clone(),
        };
        // The sample forms divide by n - 1: NULL of one value.
        let nullable = arg.nullable || matches!(self, Self::StddevSamp | Self::VarSamp);
        Ok(DataType { kind, nullable: nullable && self != Self::Sum0 })
    }

    /// The function's name in SQL.
    pub fn sql_name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Sum0 => "$SUM0",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
            Self::ListAgg => "LISTAGG",
            Self::StddevPop => "STDDEV_POP",
            Self::StddevSamp => "STDDEV_SAMP",
            Self::VarPop => "VAR_POP",
            Self::VarSamp => "VAR_SAMP",
            Self::Collect => "COLLECT",
            Self::SingleValue => "SINGLE_VALUE",
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type.kind, TypeKind::Char(_) | TypeKind::Varchar(_))
}

fn is_numeric(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Float
            | TypeKind::Double
            | TypeKind::Decimal { .. }
    )
}
