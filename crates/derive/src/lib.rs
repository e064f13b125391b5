//! `#[derive(Record)]`: a struct's fields become the columns of a table.
//!
//! - `attributes`: what `#[record(…)]` says; `expand`: the code that is derived

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Derives `Record`: each named field is a column of the same name, whose type follows from the field's
/// (`streamkeeper::record` has the table of types). A field is NOT NULL unless it is an `Option`.
///
/// | attribute | where | meaning |
/// |---|---|---|
/// | `#[record(rename = "name")]` | field | the column's name |
/// | `#[record(rowtime)]` | one field | the event time: a `NaiveDateTime` is a TIMESTAMP(3), a `DateTime<Utc>` a TIMESTAMP_LTZ(3); what is finer than a millisecond is cut |
/// | `#[record(key)]` | fields | they are the primary key; none of them may be an `Option` |
/// | `#[record(precision = 6)]` | fields | the precision of a timestamp, 0 to 9; the rest is cut |
/// | `#[record(crate = "path")]` | struct | where to find `streamkeeper::record`, when it is not there |
///
/// ```
/// # extern crate streamkeeper_connectors as streamkeeper;
/// use chrono::{DateTime, Utc};
/// use streamkeeper::record::{Decimal, Record as _};
/// use streamkeeper_derive::Record;
///
/// #[derive(Record)]
/// struct Bid {
///     #[record(key)]
///     auction: i64,
///     price: Decimal<10, 2>,
///     #[record(rename = "from")]
///     bidder: Option<String>,
///     #[record(rowtime)]
///     at: DateTime<Utc>,
/// }
///
/// let columns: Vec<String> = Bid::fields().iter().map(|f| format!("{} {}", f.name, f.data_type)).collect();
/// assert_eq!(
///     columns,
///     [
///         "auction BIGINT NOT NULL",
///         "price DECIMAL(10, 2) NOT NULL",
///         "from STRING",
///         "at TIMESTAMP_LTZ(3) NOT NULL"
///     ]
/// );
/// ```
///
/// What no column holds does not compile:
///
/// ```compile_fail,E0277
/// # extern crate streamkeeper_connectors as streamkeeper;
/// #[derive(streamkeeper_derive::Record)]
/// struct Counter {
///     n: u64, // `u64` cannot be a field of a record
/// }
/// ```
///
/// Nor does a key that can be NULL, or an event time that is no timestamp:
///
/// ```compile_fail,E0277
/// # extern crate streamkeeper_connectors as streamkeeper;
/// #[derive(streamkeeper_derive::Record)]
/// struct User {
///     #[record(key)]
///     id: Option<i64>,
/// }
/// ```
///
/// ```compile_fail,E0277
/// # extern crate streamkeeper_connectors as streamkeeper;
/// #[derive(streamkeeper_derive::Record)]
/// struct Event {
///     #[record(rowtime)]
///     at: i64,
/// }
/// ```
#[proc_macro_derive(Record, attributes(record))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::record(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}
