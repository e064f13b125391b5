//! A server that is killed under load, as by `examples/durability`, in short. This binary is the server as well.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use streamkeeper_keeper::core::CoreOptions;
use streamkeeper_keeper::server::{Keeper, ServerOptions, StorageOptions};
use streamkeeper_keeper::storage::{LogOptions, RecoverOptions};

use crate::driver::{self, Options, Summary};

/// The server's port and directory, and after how many transactions it takes a snapshot.
const PORT: &str = "KEEPER_UNDER_TEST_PORT";
const DIR: &str = "KEEPER_UNDER_TEST_DIR";
const SNAPSHOT: &str = "KEEPER_UNDER_TEST_SNAPSHOT";

#[test]
#[ignore = "is the server that the other tests here start"]
fn server() {
    let Ok(port) = std::env::var(PORT) else { return };
    let storage = StorageOptions {
        recover: RecoverOptions {
            log: LogOptions { preallocate_bytes: 64 << 10, ..LogOptions::default() },
            ..RecoverOptions::default()
        },
        snapshot_transactions: std::env::var(SNAPSHOT).unwrap().parse().unwrap(),
        purge: Some((3, Duration::from_millis(100))),
        ..StorageOptions::new(std::env::var_os(DIR).unwrap())
    };
    let keeper = Keeper::start(ServerOptions {
        client_addresses: vec![SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))],
        storage: Some(storage),
        core: CoreOptions { tick_ms: 100, min_session_timeout_ms: 300, ..CoreOptions::default() },
        ..ServerOptions::default()
    });
    let _keeper = keeper.unwrap();
    // The test has ended when nobody holds the other end any more.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// `before_start` may do something to the directory.
fn kill_under_load(
    options: &Options,
    snapshot: u64,
    before_start: impl Fn(&Path) + Send + Sync + 'static,
) -> Result<Summary, String> {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = move || {
        before_start(dir.path());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["durability::server", "--exact", "--ignored", "--nocapture"]);
        command.env(PORT, port.to_string()).env(DIR, dir.path()).env(SNAPSHOT, snapshot.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    driver::run(options, &format!("127.0.0.1:{port}"), &(Box::new(start) as driver::process::Start))
}

const OPTIONS: Options = Options {
    seed: 7,
    kills: 5,
    writers: 3,
    racers: 3,
    life: (Duration::from_millis(100), Duration::from_millis(500)),
    expiry_every: 3,
    back_within: Duration::from_secs(20),
};

#[test]
fn nothing_answered_is_lost_when_the_server_is_killed() {
    // Many snapshots, and old files are removed while others are written.
    let summary = kill_under_load(&OPTIONS, 400, |_| {}).unwrap_or_else(|what| panic!("{what}"));
    println!("{summary}");
    assert_eq!(summary.kills, OPTIONS.kills);
    assert!(summary.written.answered > 100 && summary.written.compared > 0, "{summary}");
    assert!(summary.sessions.expired > 0 && summary.histories > 0, "{summary}");
    assert!(summary.operations_overlapping * 4 > summary.operations, "{summary}");
}

/// Leaves of the newest log what a server would leave that answers before all is written.
fn cut_newest_log(dir: &Path) {
    let files = std::fs::read_dir(dir.join("version-2")).into_iter().flatten().flatten();
    let logs = files.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        Some((i64::from_str_radix(name.strip_prefix("log.")?, 16).ok()?, file.path()))
    });
    let Some((_, newest)) = logs.max() else { return };
    let bytes = std::fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let cut = std::fs::File::options().write(true).open(newest).unwrap();
    cut.set_len(end as u64 - end as u64 / 4).unwrap();
}

#[test]
fn a_server_that_forgets_is_caught() {
    let options = Options {
        kills: 1,
        life: (Duration::from_millis(400), Duration::from_millis(800)),
        back_within: Duration::from_millis(1500),
        ..OPTIONS
    };
    // Both parts must see it: here clients of one kind only.
    for options in [Options { racers: 0, ..options.clone() }, Options { writers: 0, ..options }] {
        let caught = kill_under_load(&options, 1_000_000, cut_newest_log);
        println!("{caught:?}");
        assert!(caught.is_err());
    }
}
