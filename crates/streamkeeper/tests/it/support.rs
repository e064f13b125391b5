//! Runs the binary and reads what it wrote.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::read::GzDecoder;

/// The data beside these tests.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// The root of the repository: example scripts are run from there.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// The command `streamkeeper sql -f -`, which reads `sql`, with further arguments.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamkeeper"));
    command.args(["sql", "-f", "-"]).args(arguments).current_dir(root());
    command.env_remove("STREAMKEEPER_CONF").env_remove("STREAMKEEPER_LOG").env_remove("STREAMKEEPER_FAULT");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Feeds `sql` to a command and waits for it.
pub(crate) fn run(mut command: Command, sql: &str) -> Output {
    let mut child = command.spawn().expect("the binary starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), sql.as_bytes())
        .expect("it reads its input");
    child.wait_with_output().expect("it ends")
}

/// Runs `sql`, which must succeed; gives standard output.
pub(crate) fn succeed(sql: &str, arguments: &[&str]) -> String {
    let output = run(command(arguments), sql);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Runs `sql`, which must fail with this exit code, without a panic; gives standard error.
pub(crate) fn fail(sql: &str, arguments: &[&str], code: i32) -> String {
    let output = run(command(arguments), sql);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    stderr
}

/// The lines of all visible files below a directory, sorted.
pub(crate) fn rows(directory: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    collect(directory, &mut rows);
    rows.sort_unstable();
    rows
}

fn collect(directory: &Path, rows: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.expect("readable").path()) {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if path.is_dir() {
            collect(&path, rows);
        } else if !hidden {
            rows.extend(std::fs::read_to_string(&path).expect("text").lines().map(str::to_owned));
        }
    }
}

/// The lines of a text file, gzipped or not.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzipped text");
    } else {
        text = String::from_utf8(bytes).expect("text");
    }
    text.lines().map(str::to_owned).collect()
}

/// Compares sorted rows and shows where they differ first.
pub(crate) fn assert_rows(name: &str, actual: &[String], expected: &[String]) {
    let differs = actual.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(i) = differs {
        panic!("{name}: row {i} is {:?}, Flink says {:?}", actual[i], expected[i]);
    }
    assert_eq!(actual.len(), expected.len(), "{name}: number of rows");
}
