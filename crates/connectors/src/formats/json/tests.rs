//! What real Flink answers to the edges of JSON, for both directions.

use super::{JsonDecoder, JsonEncoder, JsonOptions, MapNullKey};
use crate::formats::{Decoder, Encoder};
use crate::print::print_batch;
use crate::schema::{DataType, Field, TypeKind};
use crate::text::time::TimestampFormat;

fn field(name: &str, kind: TypeKind) -> Field {
    Field::new(name, kind.into())
}

fn string() -> TypeKind {
    DataType::string().kind
}

fn read_with(columns: &[Field], options: JsonOptions, text: &str) -> String {
    let all: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = JsonDecoder::new(options, columns, &all);
    match decoder.decode(text.as_bytes(), true, usize::MAX, usize::MAX) {
        Err(error) => format!("ERROR {}", error.reason),
        Ok(used) => {
            assert_eq!(used, text.len());
            let mut out = Vec::new();
            print_batch(&decoder.finish().unwrap(), columns.len(), b"", &mut out).unwrap();
            String::from_utf8(out).unwrap().trim_end_matches('\n').replace("\n+I", " +I")
        }
    }
}

fn read(columns: &[Field], text: &str) -> String {
    read_with(columns, JsonOptions::default(), text)
}

#[test]
fn fields_are_found_by_name_and_read_by_type() {
    use TypeKind as T;
    let three = [field("a", T::Int), field("b", string()), field("t", T::Timestamp(3))];
    assert_eq!(
        read(
            &three,
            "{\"a\":1,\"b\":\"x\",\"t\":\"2013-01-02 03:04:05\"}\n\n{\"b\":null}\n{ \"z\":[1,{}], \"b\": 5 ,\"a\":\"7\"}"
        ),
        "+I[1, x, 2013-01-02T03:04:05] +I[null, null, null] +I[7, 5, null]"
    );
    assert_eq!(read(&three[..1], "{\"a\":1.5}\n{\"a\":-1e2}\n"), "+I[1] +I[-100]");
    assert_eq!(read(&[field("A", T::Int)], "{\"a\":1}\n"), "+I[null]");
    assert_eq!(read(&three[..1], "{\"a\":1,\"a\":2}\n{\"a\":1} {\"a\":2}\n"), "+I[1] +I[1]");
    let texts = "{\"a\":{\"x\": 1, \"y\":[1, 2.50,null]}}\n{\"a\":true}\n{\"a\":1.50}\n{\"a\":1E2}\n{\"a\":[\"q\\u00e9\\n\"]}\n{\"a\":\"\\ud83d\\ude00\\/\"}\n";
    assert_eq!(
        read(&[field("a", string())], texts),
        "+I[{\"x\":1,\"y\":[1,2.5,null]}] +I[true] +I[1.50] +I[1E2] +I[[\"qé\\n\"]] +I[😀/]"
    );
    assert_eq!(read(&[field("a", string())], "{\"a\":\"\\ud83d\\u0041\"}"), "+I[\u{fffd}A]");
    assert_eq!(
        read(&[field("a", T::Boolean)], "{\"a\":\"true\"}\n{\"a\":1}\n{\"a\":\"x\"}\n"),
        "+I[true] +I[false] +I[false]"
    );
    let numbers = [field("a", T::Double), field("b", T::Decimal { precision: 5, scale: 2 })];
    assert_eq!(
        read(&numbers, "{\"a\":1,\"b\":1.005}\n{\"a\":\"2.5\",\"b\":\"3\"}\n{\"a\":1e400,\"b\":123456}\n"),
        "+I[1.0, 1.01] +I[2.5, 3.00] +I[Infinity, null]"
    );
    assert_eq!(read(&[field("a", T::Varbinary(9))], "{\"a\":\"Zm9v\"}\n"), "+I[[102, 111, 111]]");
    let iso = JsonOptions { timestamps: TimestampFormat::Iso8601, ..JsonOptions::default() };
    assert_eq!(
        read_with(
            &[field("a", T::Timestamp(3))],
            iso,
            "{\"a\":\"2013-01-02T03:04:05.5\"}\n{\"a\":\"2013-01-02T03:04\"}\n"
        ),
        "+I[2013-01-02T03:04:05.500] +I[2013-01-02T03:04]"
    );
}

#[test]
fn nested_values() {
    use TypeKind as T;
    let columns = [
        field("a", T::Array(Box::new(T::Int.into()))),
        field("m", T::Map(Box::new(DataType::string()), Box::new(T::Int.into()))),
        field("r", T::Row(vec![field("x", T::Int), field("y", T::Array(Box::new(DataType::string())))])),
    ];
    assert_eq!(
        read(
            &columns,
            "{\"a\":[1,null,3],\"m\":{\"k\":2,\"l\":null},\"r\":{\"y\":[\"a\"],\"x\":1}}\n{\"a\":null,\"m\":{},\"r\":{}}\n"
        ),
        "+I[[1, null, 3], {k=2, l=null}, +I[1, [a]]] +I[null, {}, +I[null, null]]"
    );
    let deep = format!("{{\"z\":{}", "[".repeat(100_000));
    assert_eq!(read(&columns, &deep), "ERROR values are nested deeper than 128");
}

#[test]
fn malformed_lines_are_errors_or_skipped() {
    use TypeKind as T;
    let int = [field("a", T::Int)];
    for bad in [
        "{\"a\":true}",
        "{\"a\":99999999999}",
        "{\"a\":\"\"}",
        "{\"a\":{}}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "{'a':1}",
        "{\"a\":1",
        "{\"b\":1",
        "{\"b\":\"x",
        "{\"b\":\"\\u12\"}",
        "{\"b\":\"\t\"}",
        "{",
        "5",
        "null",
    ] {
        // Nothing after the last field that was asked for is looked at.
        let answer = read(&int, bad);
        assert_eq!(answer.starts_with("ERROR"), bad != "{\"a\":1", "{bad}: {answer}");
    }
    let missing = JsonOptions { fail_on_missing_field: true, ..JsonOptions::default() };
    assert_eq!(read_with(&int, missing, "{\"b\":1}\n"), "ERROR could not find field with name 'a'");
    let ignore = JsonOptions { ignore_parse_errors: true, ..JsonOptions::default() };
    let two = [field("a", T::Int), field("b", string())];
    let text = "{\"a\":\"x\",\"b\":\"k\"}\nnot json\n{\"a\":1} trailing\n{\"a\":2,\"b\":\n[1]\n5\n\"s\"\nnull\n{\"a\":3}\n";
    assert_eq!(read_with(&two, ignore.clone(), text), "+I[null, k] +I[1, null] +I[3, null]");
    let mut decoder = JsonDecoder::new(ignore, &two, &[1, 0, 1]);
    decoder.decode(text.as_bytes(), true, usize::MAX, 99).unwrap();
    assert_eq!((decoder.rows(), decoder.take_skipped()), (3, 7));
    assert_eq!(decoder.finish().unwrap().num_columns(), 3);
}

fn write(columns: &[Field], options: JsonOptions, text: &str) -> String {
    let all: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = JsonDecoder::new(JsonOptions::default(), columns, &all);
    decoder.decode(text.as_bytes(), true, usize::MAX, 99).unwrap();
    let mut out = Vec::new();
    JsonEncoder::new(options, columns).encode(&decoder.finish().unwrap(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn rows_are_written_as_flink_writes_them() {
    use TypeKind as T;
    let columns = [
        field("a", T::Decimal { precision: 23, scale: 3 }),
        field("b", T::Double),
        field("s", string()),
        field("t", T::Timestamp(3)),
        field("l", T::Array(Box::new(T::Int.into()))),
        field("m", T::Map(Box::new(DataType::string()), Box::new(T::Int.into()))),
        field("r", T::Row(vec![field("x", T::Int), field("y", string())])),
        field("n", T::Date),
    ];
    let row = "{\"a\":100,\"b\":1e10,\"s\":\"é\\\"\\\\/\\u0001\\n\",\"t\":\"2013-01-02 03:04:05.120\",\"l\":[1,2],\"m\":{\"a\":1},\"r\":{\"y\":\"x\"}}";
    assert_eq!(
        write(&columns, JsonOptions::default(), row),
        "{\"a\":1E+2,\"b\":1.0E10,\"s\":\"é\\\"\\\\/\\u0001\\n\",\"t\":\"2013-01-02 03:04:05.12\",\"l\":[1,2],\"m\":{\"a\":1},\"r\":{\"x\":null,\"y\":\"x\"},\"n\":null}\n"
    );
    let other = JsonOptions {
        timestamps: TimestampFormat::Iso8601,
        plain_decimals: true,
        ignore_null_fields: true,
        map_null_key: MapNullKey::Drop,
        ..JsonOptions::default()
    };
    assert_eq!(
        write(&columns, other, row),
        "{\"a\":100.000,\"b\":1.0E10,\"s\":\"é\\\"\\\\/\\u0001\\n\",\"t\":\"2013-01-02T03:04:05.12\",\"l\":[1,2],\"m\":{\"a\":1},\"r\":{\"y\":\"x\"}}\n"
    );
}
