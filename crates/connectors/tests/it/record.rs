//! Structs become batches and come back, whatever is in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use streamkeeper_connectors::record::{Changelog, Decimal, Record, Row, RowKind, StreamRow, TableRow, Value};
use streamkeeper_connectors::schema::to_arrow_schema;
use streamkeeper_derive::Record;

#[derive(Debug, Clone, PartialEq, Record)]
struct Everything {
    bool: bool,
    i8: i8,
    i16: i16,
    i32: i32,
    i64: i64,
    f32: f32,
    f64: f64,
    string: String,
    bytes: Vec<u8>,
    decimal: Decimal<38, 9>,
    date: NaiveDate,
    time: NaiveTime,
    timestamp: NaiveDateTime,
    instant: DateTime<Utc>,
    maybe: Maybe,
    lists: Lists,
}

#[derive(Debug, Clone, PartialEq, Record)]
struct Maybe {
    bool: Option<bool>,
    number: Option<i64>,
    string: Option<String>,
    bytes: Option<Vec<u8>>,
    decimal: Option<Decimal<5, 0>>,
    date: Option<NaiveDate>,
    time: Option<NaiveTime>,
    timestamp: Option<NaiveDateTime>,
    #[record(precision = 6)]
    micros: Option<DateTime<Utc>>,
    point: Option<Point>,
}

#[derive(Debug, Clone, PartialEq, Record)]
struct Point {
    x: i32,
    label: Option<String>,
    at: NaiveDate,
}

#[derive(Debug, Clone, PartialEq, Record)]
struct Lists {
    numbers: Vec<i32>,
    words: Option<Vec<Option<String>>>,
    nested: Vec<Vec<i64>>,
    points: Vec<Point>,
    maybe_points: Option<Vec<Option<Point>>>,
    map: BTreeMap<String, i64>,
    maybe_map: Option<HashMap<i32, Option<Point>>>,
    maps: Vec<BTreeMap<i32, Vec<u8>>>,
}

fn date() -> impl Strategy<Value = NaiveDate> + Clone {
    (-262_000i32..262_000, 1u32..=366).prop_map(|(year, day)| {
        NaiveDate::from_yo_opt(year, day).unwrap_or_else(|| NaiveDate::from_yo_opt(year, 1).unwrap())
    })
}

fn time() -> impl Strategy<Value = NaiveTime> + Clone {
    (0u32..86_400_000).prop_map(|ms| {
        NaiveTime::from_num_seconds_from_midnight_opt(ms / 1000, ms % 1000 * 1_000_000).unwrap()
    })
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> + Clone {
    any::<i64>().prop_map(DateTime::from_timestamp_nanos)
}

fn micros() -> impl Strategy<Value = DateTime<Utc>> + Clone {
    (-8_000_000_000_000_000_000i64..8_000_000_000_000_000_000)
        .prop_map(|us| DateTime::from_timestamp_micros(us).unwrap_or_default())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> + Clone {
    vec(any::<u8>(), 0..5)
}

fn point() -> impl Strategy<Value = Point> + Clone {
    (any::<i32>(), option::of(".{0,4}".boxed()), date()).prop_map(|(x, label, at)| Point { x, label, at })
}

fn maybe() -> impl Strategy<Value = Maybe> {
    let decimal = (-99_999i128..=99_999).prop_map(|n| Decimal::new(n).unwrap());
    (
        (option::of(any::<bool>()), option::of(any::<i64>()), option::of(".{0,4}"), option::of(bytes())),
        (option::of(decimal), option::of(date()), option::of(time())),
        (option::of(instant()), option::of(micros()), option::of(point())),
    )
        .prop_map(
            |((bool, number, string, bytes), (decimal, date, time), (timestamp, micros, point))| Maybe {
                bool,
                number,
                string,
                bytes,
                decimal,
                date,
                time,
                timestamp: timestamp.map(|t| t.naive_utc()),
                micros,
                point,
            },
        )
}

fn lists() -> impl Strategy<Value = Lists> {
    (
        vec(any::<i32>(), 0..4),
        option::of(vec(option::of(".{0,4}"), 0..4)),
        vec(vec(any::<i64>(), 0..3), 0..3),
        vec(point(), 0..3),
        option::of(vec(option::of(point()), 0..3)),
        btree_map(".{0,4}", any::<i64>(), 0..3),
        option::of(btree_map(any::<i32>(), option::of(point()), 0..3)),
        vec(btree_map(any::<i32>(), bytes(), 0..3), 0..3),
    )
        .prop_map(|(numbers, words, nested, points, maybe_points, map, maybe_map, maps)| Lists {
            numbers,
            words,
            nested,
            points,
            maybe_points,
            map,
            maybe_map: maybe_map.map(|map| map.into_iter().collect()),
            maps,
        })
}

fn everything() -> impl Strategy<Value = Everything> {
    let limit = 10i128.pow(38) - 1;
    let decimal = (-limit..=limit).prop_map(|n| Decimal::new(n).unwrap());
    (
        (any::<bool>(), any::<i8>(), any::<i16>(), any::<i32>(), any::<i64>(), any::<f32>(), any::<f64>()),
        (".{0,8}", bytes(), decimal, date(), time(), instant(), instant()),
        (maybe(), lists()),
    )
        .prop_map(|(numbers, others, (maybe, lists))| Everything {
            bool: numbers.0,
            i8: numbers.1,
            i16: numbers.2,
            i32: numbers.3,
            i64: numbers.4,
            f32: numbers.5,
            f64: numbers.6,
            string: others.0,
            bytes: others.1,
            decimal: others.2,
            date: others.3,
            time: others.4,
            timestamp: others.5.naive_utc(),
            instant: others.6,
            maybe,
            lists,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_come_back_from_a_batch_and_from_any_part_of_it(
        records in vec(everything(), 0..12),
        cut in any::<[proptest::sample::Index; 2]>(),
    ) {
        let batch = Everything::to_batch(&records).unwrap();
        prop_assert_eq!(batch.schema(), to_arrow_schema(&Everything::fields()));
        prop_assert_eq!(&Everything::from_batch(&batch).unwrap(), &records);
        let [a, b] = cut.map(|at| at.index(records.len() + 1));
        let part = batch.slice(a.min(b), a.max(b) - a.min(b));
        prop_assert_eq!(&Everything::from_batch(&part).unwrap()[..], &records[a.min(b)..a.max(b)]);
    }

    #[test]
    fn changes_come_back_with_their_kinds(records in vec((0i8..4, point()), 0..12)) {
        let changes: Vec<Changelog<Point>> = records
            .into_iter()
            .map(|(code, point)| Changelog::new(RowKind::from_code(code).unwrap(), point))
            .collect();
        let batch = Changelog::encode(&changes).unwrap();
        prop_assert_eq!(Changelog::<Point>::decode(&batch, &Arc::from([])).unwrap(), changes);
    }

    #[test]
    fn rows_show_what_records_held_and_survive_their_encoding(records in vec(everything(), 1..4)) {
        let batch = Everything::to_batch(&records).unwrap();
        let rows = rows(&batch);
        for (row, record) in rows.iter().zip(&records) {
            prop_assert_eq!(row.get::<i64>("i64").unwrap(), record.i64);
            prop_assert_eq!(row.get::<Decimal<38, 9>>("decimal").unwrap(), record.decimal);
            prop_assert_eq!(row.get::<DateTime<Utc>>("instant").unwrap(), record.instant);
            let maybe: Row = row.get("maybe").unwrap();
            prop_assert_eq!(&maybe.get::<Option<String>>("string").unwrap(), &record.maybe.string);
            prop_assert_eq!(maybe.get::<Option<NaiveDate>>("date").unwrap(), record.maybe.date);
            let lists: Row = row.get("lists").unwrap();
            prop_assert_eq!(&lists.get::<Vec<i32>>("numbers").unwrap(), &record.lists.numbers);
            prop_assert_eq!(&lists.get::<Vec<Vec<i64>>>("nested").unwrap(), &record.lists.nested);
            prop_assert_eq!(&lists.get::<BTreeMap<String, i64>>("map").unwrap(), &record.lists.map);
        }
        let bytes = postcard::to_allocvec(&rows).unwrap();
        let back: Vec<Row> = postcard::from_bytes(&bytes).unwrap();
        // Floats are compared by their text: NaN is not equal to itself.
        prop_assert_eq!(format!("{back:?}"), format!("{rows:?}"));
    }
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let names: Arc<[String]> = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    Row::decode(batch, &names).unwrap()
}

#[derive(Debug, Clone, PartialEq, Record)]
struct Bid {
    #[record(key)]
    auction: i64,
    price: Decimal<10, 2>,
    #[record(rename = "from")]
    bidder: Option<String>,
    #[record(rowtime)]
    at: DateTime<Utc>,
    #[record(key)]
    channel: String,
}

#[test]
fn attributes_name_columns_the_key_and_the_event_time() {
    let columns: Vec<String> = Bid::fields().iter().map(|f| format!("{} {}", f.name, f.data_type)).collect();
    assert_eq!(
        columns,
        [
            "auction BIGINT NOT NULL",
            "price DECIMAL(10, 2) NOT NULL",
            "from STRING",
            "at TIMESTAMP_LTZ(3) NOT NULL",
            "channel STRING NOT NULL"
        ]
    );
    assert_eq!((Bid::KEY, Bid::ROWTIME), (&[0, 4][..], Some(3)));
    let bid = Bid {
        auction: 1,
        price: "2.50".parse().unwrap(),
        bidder: None,
        at: DateTime::from_timestamp_nanos(-1),
        channel: "c".into(),
    };
    // What is finer than a millisecond is cut towards the past, in the column as in the event time.
    assert_eq!(bid.event_time(), Some(-1));
    let back = Bid::from_batch(&Bid::to_batch(std::slice::from_ref(&bid)).unwrap()).unwrap();
    assert_eq!(back[0].at, DateTime::from_timestamp_millis(-1).unwrap());
    assert_eq!(Bid { at: bid.at, ..back[0].clone() }, bid);
}

#[test]
fn rows_and_changes_print_as_flink_prints_them() {
    let at = DateTime::from_timestamp_millis(60_000).unwrap();
    let bid = Bid { auction: 1, price: "2.5".parse().unwrap(), bidder: None, at, channel: "c".into() };
    let changes = [Changelog::insert(bid.clone()), Changelog::delete(bid)];
    let batch = Changelog::encode(&changes).unwrap();
    let names: Arc<[String]> = Bid::fields().into_iter().map(|f| f.name).collect();
    let rows: Vec<Changelog<Row>> = Changelog::decode(&batch, &names).unwrap();
    assert_eq!(rows[0].to_string(), "+I[1, 2.50, null, 1970-01-01T00:01:00Z, c]");
    assert_eq!(rows[1].kind, RowKind::Delete);
    assert_eq!(rows[1].value.get::<Value>("from").unwrap(), Value::Null);
}

#[test]
fn columns_are_found_by_name_and_others_are_left_alone() {
    #[derive(Debug, PartialEq, Record)]
    struct Part {
        channel: String,
        auction: i64,
    }
    let at = DateTime::from_timestamp_millis(0).unwrap();
    let bid = Bid { auction: 7, price: Decimal::default(), bidder: None, at, channel: "c".into() };
    let batch = Bid::to_batch(&[bid]).unwrap();
    assert_eq!(Part::from_batch(&batch).unwrap(), [Part { channel: "c".into(), auction: 7 }]);
}
