//! A deserializer that learns what it is asked for, and answers with made-up values.
//!
//! It asks to be treated as the state's codec is: structs are sequences, enums are numbered, nothing is self-describing.

use std::any::type_name;
use std::collections::HashMap;
use std::fmt::Display;

use serde::de::IntoDeserializer;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::shape::{NUMBERS, Shape, TEXTS};

/// A tuple of more parts is taken to be an array.
const MAX_TUPLE: usize = 16;

/// How deep a type is followed.
const MAX_DEPTH: usize = 48;

/// How many parts of types are asked for in one run.
const MAX_PARTS: u64 = 20_000;

/// What all probes of a type share.
#[derive(Default)]
pub(super) struct Trace {
    /// The types that are being asked for, from the outermost on.
    open: Vec<&'static str>,
    asked: u64,
    run_began: u64,
    /// How often each variant of an enum was tried.
    tried: HashMap<&'static str, Vec<u32>>,
    /// A variant of an enum that does not lead back to it.
    ends: HashMap<&'static str, (usize, Shape)>,
}

impl Trace {
    pub(super) fn begin_run(&mut self) {
        self.open.clear();
        self.run_began = self.asked;
    }

    /// When a plain value was asked for most recently.
    pub(super) fn last_leaf(&self) -> u64 {
        self.asked
    }

    fn ask(&mut self) -> Result<u64, Refused> {
        self.asked += 1;
        if self.asked - self.run_began > MAX_PARTS { Err(Refused::Unsupported) } else { Ok(self.asked) }
    }
}

/// Why a run of `Deserialize` ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The type does not like the value that it was given.
    Value,
    /// A type contains itself; the next run gives it an end.
    Recursion,
    /// The codec could not give what it asks for, or it is too large.
    Unsupported,
}

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refused {}

impl Error for Refused {
    fn custom<T: Display>(_: T) -> Self {
        Self::Value
    }
}

/// Learns the shape of one part of a type.
pub(super) struct Probe<'a> {
    shape: &'a mut Shape,
    trace: &'a mut Trace,
}

impl<'a> Probe<'a> {
    pub(super) fn new(shape: &'a mut Shape, trace: &'a mut Trace) -> Self {
        Self { shape, trace }
    }

    /// A plain value; returns which one to give.
    fn leaf(self, kind: &'static str) -> Result<usize, Refused> {
        let now = self.trace.ask()?;
        if let Shape::Leaf { attempt, asked, .. } = self.shape {
            *asked = now;
            return Ok(*attempt);
        }
        *self.shape = Shape::Leaf { kind, attempt: 0, asked: now };
        Ok(0)
    }

    fn number(self, kind: &'static str) -> Result<u8, Refused> {
        Ok(NUMBERS[self.leaf(kind)? % NUMBERS.len()])
    }

    fn text(self) -> Result<&'static str, Refused> {
        Ok(TEXTS[self.leaf("String")? % TEXTS.len()])
    }

    /// Goes into the type that `V` makes, with `visit`, unless it is in itself already.
    fn within<V, R>(
        self,
        name: &'static str,
        first: impl FnOnce() -> Shape,
        visit: impl FnOnce(&mut Shape, &mut Trace) -> Result<R, Refused>,
    ) -> Result<R, Refused> {
        self.trace.ask()?;
        let identity = type_name::<V>();
        if self.trace.open.len() >= MAX_DEPTH {
            return Err(Refused::Unsupported);
        }
        if !name.is_empty() && self.trace.open.contains(&identity) {
            *self.shape = Shape::Recursive(name);
            return Err(Refused::Recursion);
        }
        if matches!(self.shape, Shape::Unseen) {
            *self.shape = first();
        }
        self.trace.open.push(identity);
        let result = visit(self.shape, self.trace);
        self.trace.open.pop();
        result
    }

    fn tuple<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let first = || match length > MAX_TUPLE {
            true => Shape::Array(Box::new(Shape::Unseen), length),
            false => Shape::Tuple(name, vec![Shape::Unseen; length]),
        };
        self.within::<V, _>(name, first, |shape, trace| match shape {
            Shape::Tuple(_, parts) => visitor.visit_seq(Parts { parts: parts.iter_mut(), trace }),
            Shape::Array(inner, length) => visitor.visit_seq(Same { shape: inner, left: *length, trace }),
            _ => Err(Refused::Unsupported),
        })
    }

    fn fields<'de, V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let first = || Shape::Struct(name, fields.iter().map(|field| (*field, Shape::Unseen)).collect());
        self.within::<V, _>(name, first, |shape, trace| match shape {
            Shape::Struct(_, parts) => {
                visitor.visit_seq(Parts { parts: parts.iter_mut().map(|(_, part)| part), trace })
            }
            _ => Err(Refused::Unsupported),
        })
    }
}

/// The parts of a tuple or struct, each with a shape of its own.
struct Parts<'a, I> {
    parts: I,
    trace: &'a mut Trace,
}

impl<'de, 'a, I: Iterator<Item = &'a mut Shape>> SeqAccess<'de> for Parts<'_, I> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        self.parts.next().map(|shape| seed.deserialize(Probe { shape, trace: self.trace })).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        self.parts.size_hint().1
    }
}

/// Elements of one shape.
struct Same<'a> {
    shape: &'a mut Shape,
    left: usize,
    trace: &'a mut Trace,
}

impl<'de> SeqAccess<'de> for Same<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Probe { shape: self.shape, trace: self.trace }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// One entry of a map, or none.
struct Entry<'a> {
    entry: &'a mut (Shape, Shape),
    left: usize,
    trace: &'a mut Trace,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Probe { shape: &mut self.entry.0, trace: self.trace }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(Probe { shape: &mut self.entry.1, trace: self.trace })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant of an enum that this run is about.
struct Variant<'a> {
    index: usize,
    shape: &'a mut Shape,
    trace: &'a mut Trace,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refused> {
        let index: U32Deserializer<Refused> = (self.index as u32).into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        *self.shape = Shape::Unit("");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(Probe { shape: self.shape, trace: self.trace })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Refused> {
        Probe { shape: self.shape, trace: self.trace }.tuple("", length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        Probe { shape: self.shape, trace: self.trace }.fields("", fields, visitor)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $kind:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            visitor.$visit(<$kind>::from(self.number(stringify!($kind))?))
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    numbers! {
        deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64, deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32, deserialize_f64 visit_f64 f64
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_i8(self.number("i8")? as i8)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bool(self.leaf("bool")? == 0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_char(char::from(b'a' + self.number("char")?))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.leaf("bytes")?;
        visitor.visit_borrowed_bytes(&[])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let first = || Shape::Option(Box::new(Shape::Unseen));
        self.within::<V, _>("", first, |shape, trace| match shape {
            Shape::Option(inner) if inner.never_ends() => visitor.visit_none(),
            Shape::Option(inner) => visitor.visit_some(Probe { shape: inner, trace }),
            _ => Err(Refused::Unsupported),
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        *self.shape = Shape::Unit("");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        *self.shape = Shape::Unit(name);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let first = || Shape::Tuple(name, vec![Shape::Unseen]);
        self.within::<V, _>(name, first, |shape, trace| match shape {
            Shape::Tuple(_, parts) => match parts.first_mut() {
                Some(shape) => visitor.visit_newtype_struct(Probe { shape, trace }),
                None => Err(Refused::Unsupported),
            },
            _ => Err(Refused::Unsupported),
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let first = || Shape::Sequence(Box::new(Shape::Unseen));
        self.within::<V, _>("", first, |shape, trace| match shape {
            Shape::Sequence(inner) => {
                let left = usize::from(!inner.never_ends());
                visitor.visit_seq(Same { shape: inner, left, trace })
            }
            _ => Err(Refused::Unsupported),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let first = || Shape::Map(Box::new((Shape::Unseen, Shape::Unseen)));
        self.within::<V, _>("", first, |shape, trace| match shape {
            Shape::Map(entry) => {
                let left = usize::from(!(entry.0.never_ends() || entry.1.never_ends()));
                visitor.visit_map(Entry { entry, left, trace })
            }
            _ => Err(Refused::Unsupported),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Refused> {
        self.tuple("", length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.tuple(name, length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.fields(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let identity = type_name::<V>();
        if self.trace.open.contains(&identity) {
            *self.shape = Shape::Recursive(name);
            let (index, mut shape) = self.trace.ends.get(identity).cloned().ok_or(Refused::Recursion)?;
            return visitor.visit_enum(Variant { index, shape: &mut shape, trace: self.trace });
        }
        let first = || Shape::Enum(name, variants.iter().map(|variant| (*variant, Shape::Unseen)).collect());
        self.within::<V, _>(name, first, |shape, trace| {
            let Shape::Enum(_, parts) = shape else { return Err(Refused::Unsupported) };
            // A variant that is not known yet, the one that was tried least; else one that does not lead back here.
            let tried = trace.tried.entry(identity).or_insert_with(|| vec![0; parts.len()]);
            let unknown = (0..parts.len()).filter(|i| !parts[*i].1.is_whole()).min_by_key(|i| tried[*i]);
            let index = unknown.or_else(|| parts.iter().position(|(_, part)| !part.never_ends()));
            let index = index.ok_or(Refused::Unsupported)?;
            tried[index] += 1;
            let part = &mut parts[index].1;
            let value = visitor.visit_enum(Variant { index, shape: part, trace })?;
            if part.is_whole() && !part.never_ends() {
                trace.ends.entry(identity).or_insert_with(|| (index, part.clone()));
            }
            Ok(value)
        })
    }

    /// Only what is self-describing asks for this, which the codec is not.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        *self.shape = Shape::Unsupported;
        Err(Refused::Unsupported)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
