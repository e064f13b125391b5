//! The catalog against what Flink 2.3 answers to the same statements.

use expect_test::{Expect, expect};
use streamkeeper_sql::catalog::{Catalog, CatalogObject, Database};
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::parser::{Statement, parse_script};

fn execute(catalog: &mut Catalog, statement: &Statement) -> Result<(), SqlError> {
    match statement {
        Statement::CreateTable(table) => catalog.create_table(table).map(drop),
        Statement::CreateView(view) => catalog.create_view(view, None).map(drop),
        Statement::CreateDatabase { if_not_exists, name, .. } => {
            catalog.create_database(name, *if_not_exists, Database::default())
        }
        Statement::Drop(drop) => catalog.drop(drop),
        Statement::AlterTable { if_exists, name, operation } => {
            catalog.alter_table(name, *if_exists, operation)
        }
        Statement::AlterView { name, operation } => catalog.alter_view(name, operation),
        Statement::Use(name) => catalog.use_database(name),
        Statement::UseCatalog(name) => catalog.use_catalog(name),
        other => panic!("no statement of the catalog: {other}"),
    }
}

/// Runs a script; the rendered error of the first statement that fails.
fn run(catalog: &mut Catalog, script: &str) -> Result<(), String> {
    let statements = parse_script(script).map_err(|e| e.render(script, None))?;
    statements.iter().try_for_each(|s| execute(catalog, &s.node)).map_err(|e| e.render(script, None))
}

fn show(catalog: &Catalog, name: &str) -> String {
    let text = format!("SHOW CREATE TABLE {name}");
    let Statement::Show(show) = streamkeeper_sql::parser::parse_statement(&text).unwrap().node else {
        panic!()
    };
    let (path, object) = catalog.resolve(show.name.as_ref().unwrap()).unwrap();
    match object {
        CatalogObject::Table(table) => table.show_create(&path, catalog.is_temporary(&path)),
        CatalogObject::View(view) => view.show_create(&path, catalog.is_temporary(&path)),
    }
}

fn describe(catalog: &Catalog, name: &str) -> String {
    let text = format!("DESCRIBE {name}");
    let Statement::Describe { name, .. } = streamkeeper_sql::parser::parse_statement(&text).unwrap().node
    else {
        panic!()
    };
    let CatalogObject::Table(table) = catalog.resolve(&name).unwrap().1 else { panic!("a view") };
    let text = |value: Option<String>| value.unwrap_or("null".to_string());
    let rows = table.describe().into_iter().map(|row| {
        let nullable = row.nullable;
        let (name, data_type) = (row.name, row.data_type);
        format!(
            "{name} | {data_type} | {nullable} | {} | {} | {}\n",
            text(row.key),
            text(row.extras),
            text(row.watermark)
        )
    });
    rows.collect()
}

const T: &str = "CREATE TABLE t (a BIGINT, b STRING COMMENT 'it''s', ts TIMESTAMP(3), c AS a + 1 COMMENT 'cc',
    m TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, v VARCHAR, d DECIMAL, ch CHAR, bi BINARY, vb VARBINARY, ti TIME,
    tt TIMESTAMP, tl TIMESTAMP_LTZ, r ROW<x INT, y STRING NOT NULL>, nn INT NOT NULL,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND, PRIMARY KEY (a, b) NOT ENFORCED)
    COMMENT 'tbl''x' DISTRIBUTED BY HASH(a) INTO 4 BUCKETS PARTITIONED BY (b)
    WITH ('connector'='datagen', 'a' = 'it''s');";

fn with_t() -> Catalog {
    let mut catalog = Catalog::new();
    run(&mut catalog, T).unwrap();
    catalog
}

#[test]
fn show_create_table_is_flinks_text() {
    // Word for word what Flink 2.3.0 prints.
    let flink = expect![[r#"
        CREATE TABLE `default_catalog`.`default_database`.`t` (
          `a` BIGINT NOT NULL,
          `b` VARCHAR(2147483647) NOT NULL COMMENT 'it''s',
          `ts` TIMESTAMP(3),
          `c` AS `a` + 1 COMMENT 'cc',
          `m` TIMESTAMP(3) WITH LOCAL TIME ZONE METADATA FROM 'timestamp' VIRTUAL,
          `v` VARCHAR(2147483647),
          `d` DECIMAL(10, 0),
          `ch` CHAR(1),
          `bi` BINARY(1),
          `vb` VARBINARY(2147483647),
          `ti` TIME(0),
          `tt` TIMESTAMP(6),
          `tl` TIMESTAMP(6) WITH LOCAL TIME ZONE,
          `r` ROW<`x` INT, `y` VARCHAR(2147483647) NOT NULL>,
          `nn` INT NOT NULL,
          WATERMARK FOR `ts` AS `ts` - INTERVAL '5' SECOND,
          CONSTRAINT `PK_a_b` PRIMARY KEY (`a`, `b`) NOT ENFORCED
        )
        COMMENT 'tbl''x'
        DISTRIBUTED BY HASH(`a`) INTO 4 BUCKETS
        PARTITIONED BY (`b`)
        WITH (
          'a' = 'it''s',
          'connector' = 'datagen'
        )
    "#]];
    flink.assert_eq(&show(&with_t(), "t"));
}

#[test]
fn show_create_table_can_be_run_again() {
    let catalog = with_t();
    let mut again = Catalog::new();
    run(&mut again, &show(&catalog, "t")).unwrap();
    assert_eq!(show(&again, "t"), show(&catalog, "t"));
}

#[test]
fn describe_is_flinks_rows() {
    let mut catalog = with_t();
    run(&mut catalog, "CREATE TABLE p (x BIGINT, pt AS PROCTIME())").unwrap();
    let flink = expect![[r#"
        x | BIGINT | true | null | null | null
        pt | TIMESTAMP_LTZ(3) *PROCTIME* | false | null | AS PROCTIME() | null
    "#]];
    flink.assert_eq(&describe(&catalog, "p"));
    let rows = describe(&catalog, "t");
    let row = |start: &str| rows.lines().find(|row| row.starts_with(start)).unwrap().to_string();
    assert_eq!(row("a |"), "a | BIGINT | false | PRI(a, b) | null | null");
    assert_eq!(row("ts |"), "ts | TIMESTAMP(3) *ROWTIME* | true | null | null | `ts` - INTERVAL '5' SECOND");
    assert_eq!(row("m |"), "m | TIMESTAMP_LTZ(3) | true | null | METADATA FROM 'timestamp' VIRTUAL | null");
    assert_eq!(row("tt |"), "tt | TIMESTAMP(6) | true | null | null | null");
}

#[test]
fn like_takes_over_as_flink_does() {
    let mut catalog = with_t();
    run(&mut catalog, "CREATE TABLE l2 (z INT) WITH ('connector'='print') LIKE t").unwrap();
    let text = show(&catalog, "l2");
    assert!(text.contains("  `nn` INT NOT NULL,\n  `z` INT,\n  WATERMARK FOR `ts`"), "{text}");
    assert!(text.contains("'a' = 'it''s',\n  'connector' = 'print'"), "{text}");
    assert!(!text.contains("\nCOMMENT"), "Flink does not take the comment over: {text}");
    let l6 = "CREATE TABLE l6 (c AS a * 2, WATERMARK FOR ts AS ts) LIKE t (OVERWRITING GENERATED OVERWRITING WATERMARKS
        EXCLUDING CONSTRAINTS EXCLUDING OPTIONS EXCLUDING METADATA)";
    run(&mut catalog, l6).unwrap();
    let text = show(&catalog, "l6");
    assert!(text.contains("`ts` TIMESTAMP(3),\n  `c` AS `a` * 2,\n  `v` "), "{text}");
    assert!(text.contains("WATERMARK FOR `ts` AS `ts`\n)"), "{text}");
    assert!(!text.contains("WITH (") && !text.contains("METADATA") && !text.contains("PRIMARY"), "{text}");
}

fn refused(script: &str, expected: &Expect) {
    let error = run(&mut with_t(), script).expect_err(script);
    expected.assert_eq(&error);
}

#[test]
fn like_refuses_what_flink_refuses() {
    for (script, hint) in [
        ("CREATE TABLE l (z INT, c AS z * 2) LIKE t", "OVERWRITING GENERATED"),
        ("CREATE TABLE l (WATERMARK FOR ts AS ts) LIKE t", "OVERWRITING WATERMARKS"),
        ("CREATE TABLE l (a INT) LIKE t", "`a` already exists in the base table"),
        ("CREATE TABLE l WITH ('a'='z') LIKE t (INCLUDING ALL)", "the option 'a'"),
        ("CREATE TABLE l (PRIMARY KEY (a) NOT ENFORCED) LIKE t", "EXCLUDING CONSTRAINTS"),
        ("CREATE TABLE l PARTITIONED BY (a) LIKE t", "EXCLUDING PARTITIONS"),
        ("CREATE TABLE l LIKE nope", "`default_catalog.default_database.nope` does not exist"),
    ] {
        let error = run(&mut with_t(), script).expect_err(script);
        assert!(error.contains(hint), "{script}\n{error}");
    }
}

#[test]
fn invalid_tables_are_refused_with_their_place() {
    refused(
        "CREATE TABLE e (a INT, a STRING)",
        &expect![[r#"
            1:24: column `a` is defined twice
               |
             1 | CREATE TABLE e (a INT, a STRING)
               |                        ^"#]],
    );
    refused(
        "CREATE TABLE e (a INT, WATERMARK FOR zz AS zz)",
        &expect![[r#"
            1:38: the rowtime column `zz` of the watermark is not defined in the table, which has `a`
               |
             1 | CREATE TABLE e (a INT, WATERMARK FOR zz AS zz)
               |                                      ^^"#]],
    );
    for (script, hint) in [
        ("CREATE TABLE e (a INT, PRIMARY KEY (a))", "NOT ENFORCED"),
        ("CREATE TABLE e (a INT PRIMARY KEY)", "NOT ENFORCED"),
        ("CREATE TABLE e (a INT, PRIMARY KEY (zz) NOT ENFORCED)", "`zz` is not defined"),
        ("CREATE TABLE e (a INT, c AS a + 1, PRIMARY KEY (c) NOT ENFORCED)", "`c` is not physical"),
        ("CREATE TABLE e (a STRING, WATERMARK FOR a AS a)", "but is STRING"),
        ("CREATE TABLE e (a TIMESTAMP(6), WATERMARK FOR a AS a)", "but is TIMESTAMP(6)"),
        ("CREATE TABLE e (a TIMESTAMP(3), WATERMARK FOR a AS 5)", "must be a timestamp"),
        ("CREATE TABLE e (a AS PROCTIME(), WATERMARK FOR a AS a)", "processing-time"),
        ("CREATE TABLE e (a INT) PARTITIONED BY (zz)", "`zz` is not a physical column"),
        ("CREATE TABLE t (a INT)", "already exists"),
        ("CREATE TABLE nodb.t (a INT)", "database `nodb` does not exist"),
        ("CREATE TABLE nocat.db.t (a INT)", "catalog `nocat` does not exist"),
        ("CREATE VIEW t AS SELECT 1", "the table `default_catalog.default_database.t` already exists"),
    ] {
        let error = run(&mut with_t(), script).expect_err(script);
        assert!(error.contains(hint), "{script}\n{error}");
    }
}

#[test]
fn dropping_follows_flink() {
    for (script, hint) in [
        ("DROP TABLE zz", "table `default_catalog.default_database.zz` does not exist"),
        ("DROP VIEW t", "view `default_catalog.default_database.t` does not exist"),
        ("CREATE TEMPORARY TABLE tmp (a INT); DROP TABLE tmp", "DROP TEMPORARY TABLE"),
        ("DROP TEMPORARY TABLE t", "temporary table `default_catalog.default_database.t` does not exist"),
        ("DROP DATABASE default_database", "is the current one"),
        ("CREATE DATABASE d; CREATE TABLE d.x (a INT); DROP DATABASE d", "is not empty"),
        ("CREATE DATABASE default_database", "already exists"),
        ("USE nope", "database `nope` does not exist"),
        ("USE CATALOG nope", "catalog `nope` does not exist"),
    ] {
        let error = run(&mut with_t(), script).expect_err(script);
        assert!(error.contains(hint), "{script}\n{error}");
    }
    let mut catalog = with_t();
    let fine = "DROP TABLE IF EXISTS zz; CREATE DATABASE d; CREATE TABLE d.x (a INT); DROP DATABASE d CASCADE;
        DROP DATABASE IF EXISTS d; CREATE TABLE IF NOT EXISTS t (other INT); CREATE TEMPORARY TABLE t (hides INT);";
    run(&mut catalog, fine).unwrap();
    assert!(
        show(&catalog, "t")
            .starts_with("CREATE TEMPORARY TABLE `default_catalog`.`default_database`.`t` (\n  `hides`")
    );
    run(&mut catalog, "DROP TEMPORARY TABLE t").unwrap();
    assert!(show(&catalog, "t").contains("`nn` INT NOT NULL"));
    assert_eq!(catalog.names("default_database"), [("t".to_string(), false)]);
}

#[test]
fn names_have_one_to_three_parts() {
    let mut catalog = with_t();
    run(&mut catalog, "CREATE DATABASE d; USE d; CREATE TABLE u (a INT); CREATE VIEW v AS SELECT 1 AS x")
        .unwrap();
    for name in ["u", "d.u", "`default_catalog`.d.`u`", "default_database.t"] {
        assert!(!show(&catalog, name).is_empty());
    }
    assert_eq!(catalog.names("d"), [("u".to_string(), false), ("v".to_string(), true)]);
    let error = run(&mut catalog, "CREATE TABLE l LIKE U").unwrap_err();
    assert!(error.contains("did you mean `u`?"), "{error}");
}

#[test]
fn altering_keeps_a_valid_table() {
    let mut catalog = with_t();
    let fine = "ALTER TABLE t SET ('connector'='print', 'x'='y'); ALTER TABLE t RESET ('a');
        ALTER TABLE t ADD (first_one INT FIRST, after_v INT AFTER v); ALTER TABLE t MODIFY (nn STRING);
        ALTER TABLE t DROP (ti, tt); ALTER TABLE t RENAME tl TO renamed; ALTER TABLE t DROP WATERMARK;
        ALTER TABLE t RENAME TO t2; ALTER TABLE IF EXISTS nope SET ('a'='b')";
    run(&mut catalog, fine).unwrap();
    let flink = expect![[r#"
        CREATE TABLE `default_catalog`.`default_database`.`t2` (
          `first_one` INT,
          `a` BIGINT NOT NULL,
          `b` VARCHAR(2147483647) NOT NULL COMMENT 'it''s',
          `ts` TIMESTAMP(3),
          `c` AS `a` + 1 COMMENT 'cc',
          `m` TIMESTAMP(3) WITH LOCAL TIME ZONE METADATA FROM 'timestamp' VIRTUAL,
          `v` VARCHAR(2147483647),
          `after_v` INT,
          `d` DECIMAL(10, 0),
          `ch` CHAR(1),
          `bi` BINARY(1),
          `vb` VARBINARY(2147483647),
          `renamed` TIMESTAMP(6) WITH LOCAL TIME ZONE,
          `r` ROW<`x` INT, `y` VARCHAR(2147483647) NOT NULL>,
          `nn` VARCHAR(2147483647),
          CONSTRAINT `PK_a_b` PRIMARY KEY (`a`, `b`) NOT ENFORCED
        )
        COMMENT 'tbl''x'
        DISTRIBUTED BY HASH(`a`) INTO 4 BUCKETS
        PARTITIONED BY (`b`)
        WITH (
          'connector' = 'print',
          'x' = 'y'
        )
    "#]];
    flink.assert_eq(&show(&catalog, "t2"));
    let before = catalog.clone();
    for (script, hint) in [
        ("ALTER TABLE t2 RESET ('connector')", "'connector'"),
        ("ALTER TABLE t2 DROP a", "used by the primary key"),
        ("ALTER TABLE t2 ADD a INT", "defined twice"),
        ("ALTER TABLE t2 ADD WATERMARK FOR zz AS zz", "`zz`"),
        ("ALTER TABLE t2 DROP WATERMARK", "no watermark"),
        ("ALTER TABLE nope SET ('a'='b')", "does not exist"),
        ("ALTER TABLE t2 RENAME ts TO a", "already exists"),
    ] {
        let error = run(&mut catalog, script).expect_err(script);
        assert!(error.contains(hint), "{script}\n{error}");
        assert_eq!(catalog, before, "{script} changed the catalog");
    }
}
