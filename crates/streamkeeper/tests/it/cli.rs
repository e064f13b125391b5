//! What the command prints, and its exit codes.

use crate::support::{command, fail, run, succeed};

#[test]
fn a_select_prints_its_rows() {
    let printed =
        succeed("SELECT a + 1, b FROM (VALUES (1, 'x'), (2, 'y')) AS t(a, b) WHERE a > 1;", &["--quiet"]);
    assert_eq!(printed.trim_end(), "+I[3, y]");
}

#[test]
fn tables_are_shown_and_described() {
    let printed = succeed(
        "CREATE TABLE t (a INT, b STRING NOT NULL) WITH ('connector' = 'blackhole'); SHOW TABLES; DESCRIBE t;",
        &["--quiet"],
    );
    assert!(printed.contains('t') && printed.contains("INT") && printed.contains("STRING"), "{printed}");
}

#[test]
fn set_options_come_from_file_then_command_line_then_script() {
    let directory = tempfile::tempdir().expect("temp dir");
    let file = directory.path().join("streamkeeper.yaml");
    std::fs::write(&file, "pipeline:\n  name: from-file\nparallelism.default: 3\n").expect("writable");
    let mut command = command(&["--quiet", "--set", "parallelism.default=2"]);
    command.env("STREAMKEEPER_CONF", &file);
    let output = run(command, "SET 'table.local-time-zone' = 'UTC'; SET;");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["from-file", "parallelism.default", "UTC"] {
        assert!(printed.contains(expected), "{printed}");
    }
    assert!(!printed.contains("'3'"), "{printed}");
}

#[test]
fn errors_point_at_the_text() {
    let stderr = fail("SELECT 1 +\n  nowhere\nFROM (VALUES (1)) AS t(a);", &["--quiet"], 2);
    assert!(stderr.contains("2:3"), "{stderr}");
    assert!(stderr.contains("nowhere") && stderr.contains("^^^^^^^"), "{stderr}");
}
