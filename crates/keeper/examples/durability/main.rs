//! Kills a server again and again under load, and checks that nothing that it had answered is lost.
//!
//!     durability --server 'streamkeeper keeper --data-dir {data} --client-port {port}' [--kills 100] [--seed N]
//!                [--check durable|linearizable|both] [--writers 6] [--racers 5] [--life-ms 20-600] [--expiry-every 25] [--data DIR]
//!
//! Checked are (`durable`): each answer is the one that is due; answered writes are there, unanswered ones wholly or not at all and in
//! order; zxids only grow; sessions live on with their ephemerals, or end with them. (`linearizable`): writes and reads after `sync` of
//! shared znodes are linearizable over all kills. Exit code 1: something is not as it must be; the seed replays the load and the times of
//! the kills, not the kernel's timing. The data directory is left then.

mod driver;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use driver::Options;
use driver::process::Start;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: u64) -> Result<u64> {
    Ok(argument(name).map_or(Ok(default), |text| text.parse()).map_err(|error| format!("{name}: {error}"))?)
}

fn options() -> Result<Options> {
    let check = argument("--check").unwrap_or_else(|| "both".to_owned());
    let (durable, linearizable) = match check.as_str() {
        "both" => (true, true),
        "durable" => (true, false),
        "linearizable" => (false, true),
        other => return Err(format!("--check {other}: write durable, linearizable or both").into()),
    };
    let life = argument("--life-ms").unwrap_or_else(|| "20-600".to_owned());
    let (shortest, longest) = life.split_once('-').ok_or("--life-ms: write MIN-MAX")?;
    let life = (Duration::from_millis(shortest.parse()?), Duration::from_millis(longest.parse()?));
    if life.0 > life.1 {
        return Err("--life-ms: the first number is the smaller one".into());
    }
    Ok(Options {
        seed: number("--seed", 1)?,
        kills: number("--kills", 100)?,
        writers: if durable { number("--writers", 6)?.max(1) } else { 0 },
        racers: if linearizable { u32::try_from(number("--racers", 5)?)?.clamp(1, 200) } else { 0 },
        life,
        expiry_every: number("--expiry-every", 25)?.max(1),
        back_within: Duration::from_secs(60),
    })
}

/// Starts the command with `{data}` and `{port}` replaced; what it prints goes to a file beside its data.
fn start(command: &str, data: &Path, port: u16) -> Result<Start> {
    let quoted = format!("'{}'", data.display().to_string().replace('\'', r"'\''"));
    let line = format!("exec {}", command.replace("{data}", &quoted).replace("{port}", &port.to_string()));
    let log = std::fs::File::options().create(true).append(true).open(data.with_extension("log"))?;
    Ok(Box::new(move || {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&line);
        // Without a copy of the file its words are seen on the terminal.
        if let (Ok(out), Ok(err)) = (log.try_clone(), log.try_clone()) {
            command.stdout(out).stderr(err);
        }
        command
    }))
}

fn run() -> Result<bool> {
    let options = options()?;
    let command = argument("--server").ok_or("--server COMMAND is missing")?;
    let dir = match argument("--data") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::temp_dir().join(format!("durability-{}", std::process::id())),
    };
    let data = dir.join("data");
    std::fs::create_dir_all(&data)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    match driver::run(&options, &format!("127.0.0.1:{port}"), &start(&command, &data, port)?) {
        Ok(summary) => {
            println!("seed {}: {summary}", options.seed);
            if argument("--data").is_none() {
                std::fs::remove_dir_all(&dir)?;
            }
            Ok(true)
        }
        Err(what) => {
            println!("{what}\nseed {}: wrong; the server's files are in {}", options.seed, dir.display());
            Ok(false)
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
