use streamkeeper_connectors::schema::{Field, TypeKind};
use streamkeeper_sql::operators::harness::{Harness, batch};
use streamkeeper_sql::operators::sink_kinds::{ConstraintEnforcer, NotNullEnforcer, TypeLengthEnforcer};

use crate::join_support::{bigint, string};

fn columns() -> Vec<Field> {
    vec![
        Field::new("id", bigint("").data_type.not_null()),
        Field::new("c", TypeKind::Char(3).into()),
        Field::new("v", TypeKind::Varchar(3).into()),
    ]
}

fn enforce(
    not_null: NotNullEnforcer,
    type_length: TypeLengthEnforcer,
    lines: &[&str],
) -> Result<(Vec<String>, u64), String> {
    let mut enforcer = Harness::open(ConstraintEnforcer::new(columns(), not_null, type_length)).unwrap();
    enforcer.push(0, batch(&columns(), true, lines).unwrap()).map_err(|e| e.to_string())?;
    Ok((enforcer.take(), enforcer.metrics.num_records_in_errors.get()))
}

#[test]
fn not_null_is_enforced_or_drops() {
    let rows = ["+I|1|null|x", "-U|null|abc|y", "+U|2|abc|null"];
    let error = enforce(NotNullEnforcer::Error, TypeLengthEnforcer::Ignore, &rows).unwrap_err();
    assert_eq!(
        error,
        "Column 'id' is NOT NULL, however, a null value is being written into it. You can set job configuration \
         'table.exec.sink.not-null-enforcer'='DROP' to suppress this exception and drop such records silently."
    );
    let (rows, dropped) = enforce(NotNullEnforcer::Drop, TypeLengthEnforcer::Ignore, &rows).unwrap();
    assert_eq!(rows, ["+I[1, null, x]", "+U[2, abc, null]"]);
    assert_eq!(dropped, 1);
}

#[test]
fn lengths_are_ignored_fitted_or_enforced() {
    let rows = ["+I|1|é|über", "+I|2|abcd|x"];
    let (ignored, _) = enforce(NotNullEnforcer::Error, TypeLengthEnforcer::Ignore, &rows).unwrap();
    assert_eq!(ignored, ["+I[1, é, über]", "+I[2, abcd, x]"]);
    let (fitted, _) = enforce(NotNullEnforcer::Error, TypeLengthEnforcer::TrimPad, &rows).unwrap();
    assert_eq!(fitted, ["+I[1, é  , übe]", "+I[2, abc, x]"]);
    let error = enforce(NotNullEnforcer::Error, TypeLengthEnforcer::Error, &rows[1..]).unwrap_err();
    assert_eq!(
        error,
        "Column 'c' is CHAR(3), however, a string of length 4 is being written into it. You can set job configuration \
         'table.exec.sink.type-length-enforcer' to control this behaviour."
    );
}

#[test]
fn the_enforcer_is_left_out_where_nothing_can_be_violated() {
    let query = vec![bigint("id"), string("c")];
    let not_null = vec![Field::new("id", bigint("").data_type.not_null()), string("c")];
    assert!(!ConstraintEnforcer::is_needed(&query, &query, TypeLengthEnforcer::Error));
    assert!(ConstraintEnforcer::is_needed(&query, &not_null, TypeLengthEnforcer::Ignore));
    assert!(!ConstraintEnforcer::is_needed(&query, &columns()[1..], TypeLengthEnforcer::Ignore));
    assert!(ConstraintEnforcer::is_needed(&query, &columns()[1..], TypeLengthEnforcer::TrimPad));
}
