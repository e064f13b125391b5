//! What is known of a type's encoding.

use std::fmt::{Display, Formatter, Result};

/// A type's encoding, as far as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Unseen,
    /// A plain value. `run` is when it was last asked for, `attempt` which value it is given.
    Leaf {
        kind: &'static str,
        attempt: usize,
        asked: u64,
    },
    /// The type with this name, further up.
    Recursive(&'static str),
    Option(Box<Shape>),
    Sequence(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    /// An array, or a tuple too long to be written out.
    Array(Box<Shape>, usize),
    /// `name` is empty for a tuple.
    Tuple(&'static str, Vec<Shape>),
    Struct(&'static str, Vec<(&'static str, Shape)>),
    Enum(&'static str, Vec<(&'static str, Shape)>),
    Unit(&'static str),
    /// The codec has no form for it.
    Unsupported,
}

impl Shape {
    /// All of it was seen.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Unseen | Self::Unsupported => false,
            Self::Leaf { .. } | Self::Recursive(_) | Self::Unit(_) => true,
            Self::Option(inner) | Self::Sequence(inner) | Self::Array(inner, _) => inner.is_whole(),
            Self::Map(entry) => entry.0.is_whole() && entry.1.is_whole(),
            Self::Tuple(_, parts) => parts.iter().all(Self::is_whole),
            Self::Struct(_, parts) | Self::Enum(_, parts) => parts.iter().all(|(_, part)| part.is_whole()),
        }
    }

    /// A value of it cannot be made up: it holds another of itself.
    pub(super) fn never_ends(&self) -> bool {
        match self {
            Self::Recursive(_) => true,
            Self::Array(inner, _) => inner.never_ends(),
            Self::Tuple(_, parts) => parts.iter().any(Self::never_ends),
            Self::Struct(_, parts) => parts.iter().any(|(_, part)| part.never_ends()),
            Self::Enum(_, parts) => parts.iter().all(|(_, part)| part.never_ends()),
            _ => false,
        }
    }

    /// The plain value that was asked for at `asked` was refused: the next run gives it another. False when there is none.
    pub(super) fn try_other_value(&mut self, asked: u64) -> bool {
        match self {
            Self::Leaf { kind, attempt, asked: at } if *at == asked => {
                *attempt += 1;
                *attempt < values_of(kind)
            }
            Self::Option(inner) | Self::Sequence(inner) | Self::Array(inner, _) => {
                inner.try_other_value(asked)
            }
            Self::Map(entry) => entry.0.try_other_value(asked) || entry.1.try_other_value(asked),
            Self::Tuple(_, parts) => parts.iter_mut().any(|part| part.try_other_value(asked)),
            Self::Struct(_, parts) | Self::Enum(_, parts) => {
                parts.iter_mut().any(|(_, part)| part.try_other_value(asked))
            }
            _ => false,
        }
    }
}

/// Texts that many types accept: nothing, times, numbers, addresses.
pub(super) const TEXTS: [&str; 9] = [
    "",
    "a",
    "0",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00",
    "1970-01-01",
    "00:00:00",
    "127.0.0.1",
    "00000000-0000-0000-0000-000000000000",
];

/// Numbers that many types accept.
pub(super) const NUMBERS: [u8; 3] = [1, 0, 2];

/// How many different values a plain value can be given.
fn values_of(kind: &str) -> usize {
    match kind {
        "String" => TEXTS.len(),
        "bytes" => 1,
        "bool" => 2,
        _ => NUMBERS.len(),
    }
}

fn list<'a, T: 'a>(
    f: &mut Formatter<'_>,
    parts: impl IntoIterator<Item = &'a T>,
    separator: &str,
    mut write: impl FnMut(&mut Formatter<'_>, &'a T) -> Result,
) -> Result {
    for (i, part) in parts.into_iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write(f, part)?;
    }
    Ok(())
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Unseen => f.write_str("?"),
            Self::Unsupported => f.write_str("any"),
            Self::Leaf { kind, .. } => f.write_str(kind),
            Self::Recursive(name) => write!(f, "{name}…"),
            Self::Option(inner) => write!(f, "Option<{inner}>"),
            Self::Sequence(inner) => write!(f, "[{inner}]"),
            Self::Map(entry) => write!(f, "{{{}: {}}}", entry.0, entry.1),
            Self::Array(inner, length) => write!(f, "[{inner}; {length}]"),
            Self::Unit(name) => write!(f, "{name}()"),
            Self::Tuple(name, parts) => {
                write!(f, "{name}(")?;
                list(f, parts, ", ", |f, part| part.fmt(f))?;
                f.write_str(")")
            }
            Self::Struct(name, fields) => {
                write!(f, "{name}{{")?;
                list(f, fields, ", ", |f, (field, part)| write!(f, "{field}: {part}"))?;
                f.write_str("}")
            }
            Self::Enum(name, variants) => {
                write!(f, "{name}(")?;
                list(f, variants, " | ", |f, (variant, part)| match part {
                    Self::Unit(_) => f.write_str(variant),
                    Self::Tuple("", _) | Self::Struct("", _) => write!(f, "{variant}{part}"),
                    other => write!(f, "{variant}: {other}"),
                })?;
                f.write_str(")")
            }
        }
    }
}
