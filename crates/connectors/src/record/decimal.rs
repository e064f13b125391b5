//! DECIMAL as a Rust type, exact.
//!
//! Invariant: the unscaled value has at most `P` digits.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Decimal128Type;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scalar::write_numbers;
use super::{DataType, FieldValue, NotNull, Result, TypeKind, mismatch, seen, typed};
use crate::error::ConnectorError;
use crate::text::number::{Decimal as Parsed, parse_decimal, write_decimal_plain};

/// `DECIMAL(P, S)`: `P` digits (1 to 38), `S` of them behind the point.
///
/// ```
/// use streamkeeper_connectors::record::Decimal;
///
/// let price: Decimal<10, 2> = "19.95".parse().unwrap();
/// assert_eq!(price.unscaled(), 1995);
/// assert_eq!(price, Decimal::new(1995).unwrap());
/// assert_eq!(price.to_string(), "19.95");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal<const P: u8, const S: u8>(i128);

impl<const P: u8, const S: u8> Decimal<P, S> {
    const LIMIT: i128 = {
        assert!(P >= 1 && P <= 38 && S <= P, "DECIMAL(P, S) wants 1 <= P <= 38 and S <= P");
        10i128.pow(P as u32)
    };

    /// `unscaled / 10^S`; `None` when it has more than `P` digits.
    pub fn new(unscaled: i128) -> Option<Self> {
        (-Self::LIMIT < unscaled && unscaled < Self::LIMIT).then_some(Self(unscaled))
    }

    /// The value times `10^S`.
    pub fn unscaled(self) -> i128 {
        self.0
    }

    /// The sum; `None` when it has more than `P` digits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        // Two numbers of 38 digits stay far below 2^127.
        Self::new(self.0 + other.0)
    }

    /// The difference; `None` when it has more than `P` digits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::new(self.0 - other.0)
    }
}

/// All `S` digits behind the point.
impl<const P: u8, const S: u8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        write_decimal_plain(self.0, i32::from(S), &mut text);
        f.pad(&String::from_utf8_lossy(&text))
    }
}

impl<const P: u8, const S: u8> fmt::Debug for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Digits beyond the scale are rounded half up, as `CAST(… AS DECIMAL(P, S))` does.
impl<const P: u8, const S: u8> FromStr for Decimal<P, S> {
    type Err = ConnectorError;

    fn from_str(text: &str) -> Result<Self> {
        match parse_decimal(text.as_bytes(), P, S) {
            Some(Parsed::Value(unscaled)) => Ok(Self(unscaled)),
            Some(Parsed::Overflow) => Err(ConnectorError::OutOfRange {
                column: String::new(),
                value: text.to_owned(),
                data_type: Self::data_type().kind.to_string(),
            }),
            None => Err(ConnectorError::invalid(format!("`{text}` is not a decimal number, as in -12.5"))),
        }
    }
}

impl<const P: u8, const S: u8> Serialize for Decimal<P, S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> std::result::Result<Z::Ok, Z::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, const P: u8, const S: u8> Deserialize<'de> for Decimal<P, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let unscaled = i128::deserialize(deserializer)?;
        Self::new(unscaled)
            .ok_or_else(|| serde::de::Error::custom(format!("{unscaled} has more than {P} digits")))
    }
}

impl<const P: u8, const S: u8> FieldValue for Decimal<P, S> {
    type Reader = Decimal128Array;

    fn data_type() -> DataType {
        // Refuses P and S that make no type while the program is compiled.
        let _ = Self::LIMIT;
        DataType::from(TypeKind::Decimal { precision: P, scale: S }).not_null()
    }

    fn write<'a, I>(values: I, _: &DataType) -> Result<ArrayRef>
    where
        I: Iterator<Item = Option<&'a Self>> + Clone,
    {
        let column: PrimitiveArray<Decimal128Type> = write_numbers(values.map(|v| v.map(|v| v.0))).finish();
        let column = column.with_precision_and_scale(P, S as i8);
        Ok(Arc::new(column.map_err(|e| ConnectorError::invalid(e.to_string()))?))
    }

    fn reader(column: &ArrayRef, parent: Option<&NullBuffer>) -> Result<Self::Reader> {
        let expected = Self::data_type();
        let array: Decimal128Array = typed(column, parent, &expected)?;
        if array.scale() != S as i8 || array.precision() > P {
            return Err(mismatch(&expected, column));
        }
        // Arrow does not look at the digits of each value.
        match (0..array.len()).find(|row| seen(parent, *row) && Self::new(array.value(*row)).is_none()) {
            None => Ok(array),
            Some(row) => Err(ConnectorError::OutOfRange {
                column: String::new(),
                value: array.value_as_string(row),
                data_type: expected.to_string(),
            }),
        }
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        Self(reader.value(row))
    }
}

impl<const P: u8, const S: u8> NotNull for Decimal<P, S> {}
