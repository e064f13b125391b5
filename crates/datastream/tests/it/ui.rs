//! What does not compile, and what the compiler says: the mistakes of `tests/ui`, each with its message.
//!
//! `TRYBUILD=overwrite cargo test` renews the messages.

use std::process::Command;

/// Whose messages they are; those of another compiler read differently.
const RUSTC: &str = "rustc 1.95.";

#[test]
fn wrong_use_does_not_compile() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("a compiler");
    let version = String::from_utf8_lossy(&version.stdout);
    if version.starts_with(RUSTC) {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
    } else {
        eprintln!("not compared: the messages are those of {RUSTC}, this is {version}");
    }
}
