//! The keeper without the rest of Streamkeeper, for those who work on it: it builds in seconds, and takes the flags of
//! `streamkeeper keeper` that tests need.
//!
//!     standalone keeper [--config zoo.cfg] [--data-dir DIR] [--client-port PORT] [--admin-port PORT] [--set key=value]...

use std::path::PathBuf;
use std::process::ExitCode;

use streamkeeper_keeper::config::Config;
use streamkeeper_keeper::server::Keeper;

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let mut file: Option<PathBuf> = None;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for pair in arguments.chunks(2) {
        let [flag, value] = pair else { return Err(format!("{pair:?}: a flag without a value").into()) };
        match flag.as_str() {
            "--config" => file = Some(value.into()),
            "--data-dir" => pairs.push(("dataDir", value)),
            "--client-port" => pairs.push(("clientPort", value)),
            "--admin-port" => pairs.push(("admin.serverPort", value)),
            "--set" => pairs.push(value.split_once('=').ok_or("write --set key=value")?),
            other => return Err(format!("{other}: no such flag").into()),
        }
    }
    if file.is_none() && !arguments.iter().any(|argument| argument == "--admin-port") {
        pairs.push(("admin.enableServer", "false"));
    }
    let (config, warnings) = Config::from_sources(file.as_deref(), pairs)?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    let text = file.map_or(Ok(String::new()), std::fs::read_to_string)?;
    Ok(Keeper::from_config(&config, &text)?.wait()?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
