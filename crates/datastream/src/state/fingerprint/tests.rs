use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::fingerprint;

mod before {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Order {
        pub(super) _id: u64,
        pub(super) _items: Vec<(String, i32)>,
    }
}

mod after {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Order {
        pub(super) _id: u64,
        pub(super) _items: Vec<(String, i64)>,
    }
}

mod renamed {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Order {
        pub(super) _number: u64,
        pub(super) _items: Vec<(String, i32)>,
    }
}

#[test]
fn a_changed_struct_is_another_and_a_moved_one_is_not() {
    let before = fingerprint::<before::Order>();
    assert_eq!(before, "Order{_id: u64, _items: [(String, i32)]}");
    assert_ne!(before, fingerprint::<after::Order>());
    assert_ne!(before, fingerprint::<renamed::Order>());
    mod elsewhere {
        #[derive(serde::Deserialize)]
        pub(super) struct Order {
            pub(super) _id: u64,
            pub(super) _items: Vec<(String, i32)>,
        }
    }
    assert_eq!(before, fingerprint::<elsewhere::Order>());
}

#[derive(Deserialize)]
struct Meters(#[expect(dead_code, reason = "only its shape counts")] f64);

#[derive(Deserialize)]
struct Nothing;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape counts")]
enum Event {
    Start,
    Moved(Meters),
    Pair(u8, bool),
    Nested { inner: Option<Inner>, other: Result<u16, char> },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape counts")]
enum Inner {
    A,
    B(String),
}

#[test]
fn every_kind_of_type_has_a_shape() {
    assert_eq!(fingerprint::<u64>(), "u64");
    assert_eq!(fingerprint::<(String, Vec<u8>)>(), "(String, [u8])");
    assert_eq!(fingerprint::<HashMap<String, Vec<i8>>>(), "{String: [i8]}");
    assert_eq!(fingerprint::<BTreeMap<u32, ()>>(), "{u32: ()}");
    assert_eq!(fingerprint::<[f32; 3]>(), "(f32, f32, f32)");
    assert_eq!(fingerprint::<[u8; 32]>(), "[u8; 32]");
    assert_eq!(fingerprint::<Option<Meters>>(), "Option<Meters(f64)>");
    assert_eq!(fingerprint::<(Nothing, i128)>(), "(Nothing(), i128)");
    assert_eq!(fingerprint::<Duration>(), "Duration{secs: u64, nanos: u32}");
    assert_eq!(
        fingerprint::<Vec<Event>>(),
        "[Event(Start | Moved: Meters(f64) | Pair(u8, bool) | Nested{inner: Option<Inner(A | B: String)>, \
         other: Result(Ok: u16 | Err: char)})]"
    );
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape counts")]
struct Tree {
    value: i64,
    children: Vec<Tree>,
    parent: Option<Box<Tree>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape counts")]
enum Expr {
    Add(Box<Expr>, Box<Expr>),
    Number(i64),
}

#[test]
fn types_that_contain_themselves_have_an_end() {
    assert_eq!(fingerprint::<Tree>(), "Tree{value: i64, children: [Tree…], parent: Option<Tree…>}");
    assert_eq!(fingerprint::<Expr>(), "Expr(Add(Expr…, Expr…) | Number: i64)");
    assert_eq!(fingerprint::<(Meters, Meters)>(), "(Meters(f64), Meters(f64))", "twice is not in itself");
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Weekday;

impl TryFrom<String> for Weekday {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "Monday" { Ok(Self) } else { Err(format!("{text} is no weekday")) }
    }
}

#[derive(Deserialize)]
#[serde(from = "u8")]
struct Fragile;

impl From<u8> for Fragile {
    fn from(number: u8) -> Self {
        assert!(number == 200, "fragile");
        Self
    }
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape counts")]
struct Shift {
    nth: NonZeroU32,
    address: Ipv4Addr,
    day: Weekday,
    unseen: u64,
}

#[test]
fn a_type_that_refuses_made_up_values_goes_by_what_was_seen_and_its_name() {
    assert_eq!(fingerprint::<NonZeroU32>(), "u32");
    assert_eq!(fingerprint::<Ipv4Addr>(), "(u8, u8, u8, u8)");
    assert_eq!(
        fingerprint::<Option<Shift>>(),
        "Option<Shift{nth: u32, address: (u8, u8, u8, u8), day: String, unseen: ?}> of Option<Shift>"
    );
    assert_eq!(fingerprint::<Fragile>(), "u8");
}

#[test]
fn a_long_fingerprint_ends_with_a_hash_of_all() {
    type Wide = (String, String, String, String, String, String, String, String, String, String);
    let long = fingerprint::<(Wide, Wide, Wide, Wide, u8)>();
    let other = fingerprint::<(Wide, Wide, Wide, Wide, u16)>();
    assert_eq!(long.chars().count(), 240);
    assert!(long.contains("…#") && long[..200] == other[..200] && long != other, "{long} {other}");
}
