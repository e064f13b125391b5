//! The JobManager's process: what it is configured with, where it runs, and what it has logged.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use serde_json::{Value, json};

use super::api::{Api, Call, Reply, RestError};
use super::task_managers::find;

/// Log files that are listed at most.
const MAX_FILES: usize = 1_000;

/// How much of a log file is sent: its end.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// What is shown instead of a secret, as by Flink.
pub(super) const SECRET: &str = "******";

/// Whether the value of a key is not to be shown.
pub(super) fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 8] = [
        "password",
        "secret",
        "fs.azure.account.key",
        "apikey",
        "api-key",
        "auth-params",
        "token",
        "credential",
    ];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
}

/// `GET /jobmanager/config`, and `GET /jobs/:jobid/jobmanager/config`.
pub(super) fn config(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let entries = api.options.configuration.iter().map(|(key, value)| {
        let value = if is_secret(key) { SECRET } else { value.as_str() };
        json!({ "key": key, "value": value })
    });
    Ok(Value::Array(entries.collect()).into())
}

/// The same, of a job that is there.
pub(super) fn config_of_job(api: &Api, call: &Call) -> Result<Reply, RestError> {
    api.job(call)?;
    config(api, call)
}

/// `GET /jobmanager/environment`. There is no virtual machine: its options are the program's arguments.
pub(super) fn environment(_: &Api, _: &Call) -> Result<Reply, RestError> {
    Ok(json!({
        "jvm": {
            "version": concat!("Streamkeeper ", env!("CARGO_PKG_VERSION"), " (no JVM)"),
            "arch": std::env::consts::ARCH,
            "options": [],
        },
        "classpath": [],
    })
    .into())
}

/// The same, of a job that is there.
pub(super) fn environment_of_job(api: &Api, call: &Call) -> Result<Reply, RestError> {
    api.job(call)?;
    environment(api, call)
}

/// `GET /jobmanager/logs`.
pub(super) fn logs(api: &Api, _: &Call) -> Result<Reply, RestError> {
    let files = api.options.log_directory.as_deref().map(files).unwrap_or_default();
    let entries =
        files.iter().map(|(name, size, mtime)| json!({ "name": name, "size": size, "mtime": mtime }));
    Ok(json!({ "logs": entries.collect::<Vec<_>>() }).into())
}

/// Name, size and time of change of the files of a directory.
fn files(directory: &Path) -> Vec<(String, u64, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        let (Ok(name), true) = (entry.file_name().into_string(), data.is_file()) else { continue };
        let changed = data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        files.push((name, data.len(), changed.map_or(0, |at| at.as_millis() as u64)));
        if files.len() == MAX_FILES {
            break;
        }
    }
    files.sort();
    files
}

/// `GET /jobmanager/logs/:filename`.
pub(super) fn log(api: &Api, call: &Call) -> Result<Reply, RestError> {
    let name = call.param("filename");
    // Only what is listed: a name that leads elsewhere is not among it.
    let directory = api.options.log_directory.as_deref();
    let found = directory.filter(|directory| files(directory).iter().any(|(file, ..)| file == name));
    let missing = || RestError::not_found(format!("There is no log file {name}."));
    let bytes = tail(&found.ok_or_else(missing)?.join(name)).map_err(|_| missing())?;
    Ok(Reply::Text("text/plain; charset=UTF-8", Body::from(bytes)))
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `GET /taskmanagers/:taskmanagerid/logs`: they are not sent to the JobManager.
pub(super) fn task_manager_logs(api: &Api, call: &Call) -> Result<Reply, RestError> {
    find(&api.handle.view()?, call)?;
    Ok(json!({ "logs": [] }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_keys_and_logs_end_with_their_end() {
        assert!(is_secret("security.ssl.rest.key-password") && is_secret("s3.Secret-Key"));
        assert!(!is_secret("parallelism.default"));
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a.log"), "one\ntwo\n").expect("written");
        std::fs::create_dir(directory.path().join("b")).expect("made");
        let files = files(directory.path());
        assert_eq!((files.len(), files[0].0.as_str(), files[0].1), (1, "a.log", 8));
        assert_eq!(tail(&directory.path().join("a.log")).expect("read"), b"one\ntwo\n");
    }
}
