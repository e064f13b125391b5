//! What a checkpoint says of a type, so that state is never read as another.
//!
//! The shape of a type is found by its own `Deserialize`: it is run on made-up values, and asks for a struct with these fields, a
//! sequence, a string … ([`probe`]); [`shape`] is what was learned. Invariant: the same type always gives the same text, in every
//! process and build; two types that the codec would read differently give different ones, unless they refuse every made-up
//! value.
mod probe;
mod shape;

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use probe::{Probe, Refused, Trace};
use shape::Shape;

/// Runs of `Deserialize` at most: one per variant of an enum, one per value that was refused.
const MAX_RUNS: usize = 512;

/// Length of a fingerprint; what is longer ends with a hash of the rest.
const MAX_CHARS: usize = 240;

/// Describes `T`: names and types of its fields, or of its variants, all the way down.
///
/// ```
/// use streamkeeper_datastream::state::fingerprint;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
///     tags: Vec<String>,
///     paid: Option<(i64, Payment)>,
/// }
///
/// #[derive(serde::Deserialize)]
/// enum Payment {
///     Cash,
///     Card { number: String },
/// }
///
/// assert_eq!(
///     fingerprint::<Order>(),
///     "Order{id: u64, tags: [String], paid: Option<(i64, Payment(Cash | Card{number: String}))>}"
/// );
/// ```
pub fn fingerprint<T: DeserializeOwned>() -> String {
    let (shape, whole) = trace::<T>();
    let mut text = shape.to_string();
    if !whole {
        text.push_str(" of ");
        text.push_str(&short_name(type_name::<T>()));
    }
    bounded(text)
}

/// The shape of `T`, and whether all of it was seen.
fn trace<T: DeserializeOwned>() -> (Shape, bool) {
    let mut shape = Shape::Unseen;
    let mut trace = Trace::default();
    for _ in 0..MAX_RUNS {
        trace.begin_run();
        // A type may refuse a made-up value by a panic as well.
        let run = catch_unwind(AssertUnwindSafe(|| T::deserialize(Probe::new(&mut shape, &mut trace))));
        let known = match run {
            Ok(Ok(_)) => true,
            Ok(Err(Refused::Recursion)) => continue,
            Ok(Err(Refused::Value)) | Err(_) => shape.try_other_value(trace.last_leaf()),
            Ok(Err(Refused::Unsupported)) => false,
        };
        if shape.is_whole() {
            return (shape, true);
        }
        if !known {
            break;
        }
    }
    (shape, false)
}

/// A type's name without the paths of modules.
fn short_name(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut start = 0;
    for (i, c) in name.char_indices() {
        if !(c.is_alphanumeric() || c == '_' || c == ':') {
            short.push_str(last_segment(&name[start..i]));
            short.push(c);
            start = i + c.len_utf8();
        }
    }
    short.push_str(last_segment(&name[start..]));
    short
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None => text,
        Some(_) => {
            let kept: String = text.chars().take(MAX_CHARS - 18).collect();
            format!("{kept}…#{:016x}", xxh3_64(text.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests;
