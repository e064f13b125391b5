//! What real Flink answers to the edges of CSV, for both directions.

use arrow::array::RecordBatch;

use super::{CsvDecoder, CsvEncoder, CsvOptions};
use crate::formats::{Decoder, Encoder};
use crate::print::print_batch;
use crate::schema::{DataType, Field, TypeKind};

fn columns(types: &[TypeKind]) -> Vec<Field> {
    types.iter().zip("abcdefghij".chars()).map(|(t, n)| Field::new(n, t.clone().into())).collect()
}

fn strings(n: usize) -> Vec<Field> {
    columns(&vec![DataType::string().kind; n])
}

/// The rows in Flink's print form, joined by blanks, or the reason of the error.
fn read_with(columns: &[Field], options: CsvOptions, text: &str) -> String {
    let all: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = CsvDecoder::new(options, columns, &all);
    match decoder.decode(text.as_bytes(), true, usize::MAX, usize::MAX) {
        Err(error) => format!("ERROR {}", error.reason),
        Ok(used) => {
            assert_eq!(used, text.len());
            print(&decoder.finish().unwrap(), columns.len())
        }
    }
}

fn print(batch: &RecordBatch, columns: usize) -> String {
    let mut out = Vec::new();
    print_batch(batch, columns, b"", &mut out).unwrap();
    String::from_utf8(out).unwrap().trim_end_matches('\n').replace("\n+I", " +I")
}

fn read(types: &[TypeKind], text: &str) -> String {
    read_with(&columns(types), CsvOptions::default(), text)
}

fn text(options: CsvOptions, text: &str) -> String {
    read_with(&strings(2), options, text)
}

#[test]
fn quotes_blanks_and_line_ends() {
    let plain = CsvOptions::default;
    assert_eq!(text(plain(), "\"a\"\"b\",\"c\nd\"\n\"x,y\",\" z \"\n"), "+I[a\"b, c\nd] +I[x,y,  z ]");
    assert_eq!(text(plain(), "a\"b,c \"d\"\n x, y \n"), "+I[a\"b, c \"d\"] +I[ x,  y ]");
    assert_eq!(text(plain(), "\"a\" ,b\n \"c\",d"), "+I[a, b] +I[ \"c\", d]");
    assert_eq!(text(plain(), "a,b\r\nc,d\re,f"), "+I[a, b] +I[c, d] +I[e, f]");
    assert_eq!(text(plain(), ",\n"), "+I[, ]");
    assert!(text(plain(), "\"a\"x,b\n").starts_with("ERROR column `a`: expected the delimiter ','"));
    assert!(text(plain(), "\"a,b\n").starts_with("ERROR column `a`: a quoted value is never closed"));
    let unquoted = CsvOptions { quote: None, ..plain() };
    assert_eq!(text(unquoted, "\"a\",b\"\n"), "+I[\"a\", b\"]");
    let bars = CsvOptions { delimiter: b'|', quote: Some(b'\''), ..plain() };
    assert_eq!(text(bars, "'a|b'|c\n"), "+I[a|b, c]");
}

#[test]
fn escapes_comments_and_null_literals() {
    let plain = CsvOptions::default;
    let escape = CsvOptions { escape: Some(b'\\'), ..plain() };
    assert_eq!(
        text(escape.clone(), "a\\,b,c\\\\d\n\"q\\\"r\",\\n\nx\\\"y,z\n"),
        "+I[a,b, c\\d] +I[q\"r, \n] +I[x\"y, z]"
    );
    assert_eq!(text(escape, "\"a\"\"b\",x\n"), "+I[a\"b, x]");
    let comments = CsvOptions { allow_comments: true, ..plain() };
    assert_eq!(text(comments, "#c,d\na,b\n #x,y\n\"#q\",r\n"), "+I[a, b] +I[#q, r]");
    let empty = CsvOptions { null_literal: Some(Vec::new()), ..plain() };
    assert_eq!(text(empty.clone(), "\"\",x\n,\"\"\n"), "+I[null, x] +I[null, null]");
    assert_eq!(
        read_with(&columns(&[TypeKind::Int, TypeKind::Double]), empty, ",\n1,2\n"),
        "+I[null, null] +I[1, 2.0]"
    );
    let null = CsvOptions { null_literal: Some(b"NULL".to_vec()), ..plain() };
    assert_eq!(text(null, "\"NULL\",x\nNULL,\n"), "+I[null, x] +I[null, ]");
    let number = CsvOptions { null_literal: Some(b"-1".to_vec()), ..plain() };
    assert_eq!(read_with(&columns(&[TypeKind::BigInt]), number, "-1\n-12\n"), "+I[null] +I[-12]");
}

#[test]
fn too_few_and_too_many_fields() {
    let types = [TypeKind::Int, DataType::string().kind];
    assert!(read(&types, "1,x\n\n").starts_with("ERROR"));
    assert_eq!(read(&types, "1\n"), "ERROR row length mismatch: 2 fields expected but was 1");
    assert_eq!(read(&types, "1,x,\n2,y"), "+I[1, x] +I[2, y]");
    assert_eq!(read(&types, "1,x,z\n"), "ERROR too many fields: expected at most 2");
    assert_eq!(read(&types, "1,x,,\n"), "ERROR too many fields: expected at most 2");
    assert_eq!(read(&types[1..], "x\n\n  \ny"), "+I[x] +I[] +I[  ] +I[y]");
}

#[test]
fn ignored_errors_null_a_field_or_skip_the_record() {
    let types = columns(&[TypeKind::Int, DataType::string().kind]);
    let ignore = CsvOptions { ignore_parse_errors: true, ..CsvOptions::default() };
    let read = |text| read_with(&types, ignore.clone(), text);
    assert_eq!(read("1\n2,y\n,z\nq,w\n"), "+I[1, null] +I[2, y] +I[null, z] +I[null, w]");
    assert_eq!(read("1,x,z\n2,y\n3,w,\n"), "+I[2, y] +I[3, w]");
    assert_eq!(read("\"1\"x,y\n2,z\n\"3,open\n4,w\n"), "+I[2, z]");
    let mut decoder = CsvDecoder::new(ignore.clone(), &types, &[0]);
    decoder.decode(b"1\nq,w\n1,x,z\n", true, usize::MAX, 10).unwrap();
    assert_eq!((decoder.rows(), decoder.take_skipped()), (2, 3));
}

#[test]
fn numbers_and_times() {
    use TypeKind as T;
    assert_eq!(
        read(&[T::Int, T::BigInt], " 1 ,+2\n-3,-9223372036854775808\n"),
        "+I[1, 2] +I[-3, -9223372036854775808]"
    );
    assert_eq!(read(&[T::BigInt], "9223372036854775807\n"), "+I[9223372036854775807]");
    for (kind, bad) in [
        (T::Int, "1.0"),
        (T::Int, "2147483648"),
        (T::Int, ""),
        (T::TinyInt, "128"),
        (T::SmallInt, "40000"),
        (T::BigInt, "9223372036854775808"),
        (T::Date, " 2013-01-02"),
        (T::Time(0), "24:00:00"),
        (T::Timestamp(3), "2013-02-03T01:02:03"),
        (T::Timestamp(3), "2013-02-03 01:02"),
        (T::TimestampLtz(3), "2013-02-03 01:02:03"),
        (T::Decimal { precision: 5, scale: 2 }, " 7 "),
        (T::Binary(3), "!!!"),
    ] {
        let answer = read(&[kind], &format!("{bad}\n"));
        assert!(answer.starts_with(&format!("ERROR column `a`: '{bad}' is not ")), "{answer}");
    }
    assert_eq!(read(&[T::Boolean], "true\nTRUE\n1\n\"\"\n"), "+I[true] +I[true] +I[false] +I[false]");
    assert_eq!(read(&[T::Date], "2013-02-30\n2013-01-02\n"), "+I[2013-03-02] +I[2013-01-02]");
    assert_eq!(read(&[T::Time(3)], "10:11:12.5\n10:11\n"), "+I[10:11:12.500] +I[10:11]");
    assert_eq!(
        read(
            &[T::Timestamp(3)],
            "2013-02-30 24:00:00\n2013-02-03 01:02:03.\n 2013-02-03 01:02:03.123456789 \n"
        ),
        "+I[2013-03-01T00:00] +I[2013-02-03T01:02:03] +I[2013-02-03T01:02:03.123]"
    );
    assert_eq!(
        read(&[T::Timestamp(9)], "2013-02-03 01:02:03.123456789\n1969-12-31 23:59:59.5\n"),
        "+I[2013-02-03T01:02:03.123456789] +I[1969-12-31T23:59:59.500]"
    );
    assert_eq!(read(&[T::TimestampLtz(3)], "2013-02-03 01:02:03.5Z\n"), "+I[2013-02-03T01:02:03.500Z]");
    assert_eq!(
        read(&[T::Decimal { precision: 5, scale: 2 }], "1.005\n1e2\n123456\n-0.005\n"),
        "+I[1.01] +I[100.00] +I[null] +I[-0.01]"
    );
    assert_eq!(
        read(&[T::Double, T::Float], "1.5,1.1\nNaN,Infinity\n1e400,1d\n"),
        "+I[1.5, 1.1] +I[NaN, Infinity] +I[Infinity, 1.0]"
    );
    assert_eq!(read(&[T::Varbinary(9)], "Zm9v\n"), "+I[[102, 111, 111]]");
    let arrays = [T::Array(Box::new(T::Int.into())), T::Array(Box::new(DataType::string()))];
    assert_eq!(read(&arrays, "1;2;3,a;b\n,\n4,p\n"), "+I[[1, 2, 3], [a, b]] +I[[], []] +I[[4], [p]]");
}

/// Whatever is at hand of the input at a time, and whatever is kept of the columns: the rows are the same.
#[test]
fn any_portion_gives_the_same_rows() {
    let types = columns(&[
        TypeKind::BigInt,
        DataType::string().kind,
        TypeKind::Timestamp(3),
        DataType::string().kind,
    ]);
    let input = "1,\"a \"\"q\"\" \n b\",2013-02-03 01:02:03.5,x\r\n-22,,2013-02-03 01:02:03, y\n3,zz,2013-02-04 01:02:03.25,\"l\"\n4,p,2013-02-04 01:02:03,";
    for projection in [vec![0, 1, 2, 3], vec![3, 0], vec![2], vec![]] {
        let mut whole = CsvDecoder::new(CsvOptions::default(), &types, &projection);
        assert_eq!(whole.decode(input.as_bytes(), true, usize::MAX, 99).unwrap(), input.len());
        let whole = whole.finish().unwrap();
        assert_eq!(whole.num_rows(), 4);
        for portion in 1..input.len() {
            let mut decoder = CsvDecoder::new(CsvOptions::default(), &types, &projection);
            let (mut at, mut filled) = (0, 0);
            while at < input.len() {
                filled = (filled + portion).min(input.len());
                let bytes = &input.as_bytes()[at..filled];
                at += decoder.decode(bytes, filled == input.len(), usize::MAX, 99).unwrap();
            }
            assert_eq!(decoder.finish().unwrap(), whole, "portions of {portion}");
        }
    }
}

fn write_with(columns: &[Field], options: CsvOptions, input: &str) -> String {
    let all: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = CsvDecoder::new(
        CsvOptions { null_literal: Some(b"NULL".to_vec()), ..CsvOptions::default() },
        columns,
        &all,
    );
    decoder.decode(input.as_bytes(), true, usize::MAX, 99).unwrap();
    let mut out = Vec::new();
    CsvEncoder::new(options, columns).encode(&decoder.finish().unwrap(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_are_quoted_where_jackson_quotes() {
    let values =
        "p q,,NULL,aaaaaaaaaaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaaaaaaa,\"a\"\"b\",\"a,b\",a+b,a-b,é€\n";
    let write = |options| write_with(&strings(10), options, values);
    let plain = CsvOptions::default;
    let usual = "\"p q\",,,aaaaaaaaaaaaaaaaaaaaaaaa,\"aaaaaaaaaaaaaaaaaaaaaaaaa\",\"a\"\"b\",\"a,b\",\"a+b\",a-b,é€\n";
    assert_eq!(write(plain()), usual);
    assert_eq!(write(CsvOptions { escape: Some(b'\\'), ..plain() }), usual);
    assert_eq!(
        write(CsvOptions { quote: None, ..plain() }),
        "p q,,,aaaaaaaaaaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaaaaaaa,a\"b,a,b,a+b,a-b,é€\n"
    );
    assert_eq!(
        write(CsvOptions { null_literal: Some(b"n a".to_vec()), ..plain() }),
        usual.replacen(",,,", ",,n a,", 1)
    );
    assert_eq!(
        write(CsvOptions { delimiter: b'|', ..plain() }),
        "\"p q\"|||\"aaaaaaaaaaaaaaaaaaaaaaaa\"|\"aaaaaaaaaaaaaaaaaaaaaaaaa\"|\"a\"\"b\"|\"a,b\"|\"a+b\"|\"a-b\"|é€\n"
    );
    let escaped = CsvOptions { escape: Some(b'\\'), ..plain() };
    assert_eq!(write_with(&strings(1), escaped, "\"a\\b\"\"c\"\n"), "\"a\\\\b\"\"c\"\n");
}

#[test]
fn numbers_and_times_are_written_as_flink_writes_them() {
    use TypeKind as T;
    let decimal = |precision, scale| T::Decimal { precision, scale };
    let types = columns(&[
        decimal(23, 3),
        decimal(10, 5),
        decimal(20, 10),
        decimal(38, 2),
        T::Double,
        T::Float,
        T::Boolean,
    ]);
    let values = "100,0,0.00000001,123456789012345678901234567.89,1e10,1.1,true\n";
    assert_eq!(
        write_with(&types, CsvOptions::default(), values),
        "1E+2,0,1E-8,123456789012345678901234567.89,1.0E10,1.1,true\n"
    );
    assert_eq!(
        write_with(&types, CsvOptions { scientific: false, ..CsvOptions::default() }, values),
        "100,0,0.00000001,123456789012345678901234567.89,1.0E10,1.1,true\n"
    );
    let list = |t: T| T::Array(Box::new(t.into()));
    let types = columns(&[
        T::Date,
        T::Time(0),
        T::Timestamp(3),
        list(T::Int),
        list(decimal(6, 2)),
        list(T::Varchar(9)),
    ]);
    assert_eq!(
        write_with(
            &types,
            CsvOptions::default(),
            "2013-01-02,03:04:05,2013-01-02 03:04:05.120,1;2;3,100,a b;c\n"
        ),
        "2013-01-02,03:04:05,\"2013-01-02 03:04:05.12\",1;2;3,\"1E+2\",\"a b;c\"\n"
    );
}
