//! The datagen source: sequences end, a restored job makes the same rows again, options are checked.

use streamkeeper_connectors::table::{ScanRequest, TableDescriptor, create_source};

use crate::harness::{context, read, table};

fn generated(options: &[(&str, &str)]) -> TableDescriptor {
    let mut table = table(std::path::Path::new(""), &[]);
    table.options = [("connector", "datagen")]
        .iter()
        .chain(options)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    table
}

fn refusal(options: &[(&str, &str)]) -> String {
    create_source(&generated(options), &ScanRequest::default()).err().unwrap().to_string()
}

#[test]
fn a_sequence_is_shared_and_ends_and_goes_on_after_a_restore() {
    let table = generated(&[
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "5"),
        ("fields.id.end", "30004"),
        ("fields.name.length", "10"),
        ("rows-per-second", "1000000"),
        ("seed", "7"),
    ]);
    let scan = create_source(&table, &ScanRequest { projection: vec![0, 1], limit: None })
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(scan.bounded);
    let mut enumerator = scan.source.enumerator(2, None).unwrap();
    let mut reader = scan.source.reader(&context(0, 1)).unwrap();
    let mut whole = read(reader.as_mut(), enumerator.as_mut(), usize::MAX).unwrap();

    let mut enumerator = scan.source.enumerator(2, None).unwrap();
    let mut reader = scan.source.reader(&context(0, 1)).unwrap();
    let mut parts = read(reader.as_mut(), enumerator.as_mut(), 9000).unwrap();
    assert!(parts.len() < whole.len());
    let (splits, rest) = (reader.snapshot().unwrap(), enumerator.snapshot().unwrap());
    let mut enumerator = scan.source.enumerator(1, Some(&rest)).unwrap();
    enumerator.add_splits_back(splits);
    let mut reader = scan.source.reader(&context(0, 1)).unwrap();
    parts.extend(read(reader.as_mut(), enumerator.as_mut(), usize::MAX).unwrap());
    whole.sort();
    parts.sort();
    assert!(whole == parts);
    let mut ids: Vec<u64> = whole.iter().map(|row| row.split_once(',').unwrap().0.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(5..=30_004));
    assert!(whole.iter().all(|row| row.split_once(',').unwrap().1.len() == 10));
}

#[test]
fn random_values_keep_their_bounds() {
    let table = generated(&[
        ("fields.id.min", "-3"),
        ("fields.id.max", "3"),
        ("fields.name.length", "4"),
        ("fields.name.var-len", "true"),
        ("number-of-rows", "1000"),
    ]);
    let scan = create_source(&table, &ScanRequest { projection: vec![0, 1], limit: None })
        .unwrap_or_else(|e| panic!("{e}"));
    let mut enumerator = scan.source.enumerator(1, None).unwrap();
    let mut reader = scan.source.reader(&context(0, 1)).unwrap();
    let rows = read(reader.as_mut(), enumerator.as_mut(), usize::MAX).unwrap();
    assert_eq!(rows.len(), 1000);
    for wanted in -3..=3 {
        assert!(rows.iter().any(|row| row.starts_with(&format!("{wanted},"))), "{wanted}");
    }
    assert!(rows.iter().all(|row| (1..=4).contains(&row.split_once(',').unwrap().1.len())));
}

#[test]
fn options_are_checked() {
    assert!(refusal(&[("fields.idd.min", "1")]).starts_with("Unsupported options found for 'datagen'"));
    assert!(refusal(&[("fields.id.kind", "sequence")]).contains("'fields.id.start'"));
    assert!(refusal(&[("fields.id.min", "2"), ("fields.id.max", "1")]).contains("'fields.id.max'"));
    assert!(refusal(&[("rows-per-second", "0")]).contains("'rows-per-second'"));
}
