//! `streamkeeper savepoint inspect`: what a savepoint or checkpoint consists of, read from its files alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use streamkeeper_dataflow::Error;
use streamkeeper_dataflow::checkpoint::location::{Found, find};
use streamkeeper_dataflow::checkpoint::manifest::{Manifest, StateEntry};
use streamkeeper_dataflow::checkpoint::savepoint;
use streamkeeper_dataflow::checkpoint::storage::{CheckpointStorage, Restored};
use streamkeeper_dataflow::element::BarrierKind;

use crate::Failure;
use crate::run::{print, table};

/// What `streamkeeper savepoint inspect` is asked to do.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// The directory of a savepoint, a `chk-N` directory, or a checkpoint directory (its latest).
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The pieces of one state of one operator.
#[derive(Default)]
struct State {
    kind: String,
    fingerprint: String,
    /// Of each piece: key groups, frames and bytes.
    parts: Vec<((u16, u16), usize, u64)>,
}

impl State {
    fn frames(&self) -> usize {
        self.parts.iter().map(|(_, frames, _)| frames).sum()
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|(.., bytes)| bytes).sum()
    }
}

/// Shows a savepoint. Every checksum is checked.
pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let (manifest, restored) = read(args).map_err(Failure::usage)?;
    let mut states: BTreeMap<(String, String), State> = BTreeMap::new();
    for (entry, segment) in manifest.states.iter().zip(restored.segments.iter()) {
        let state = states.entry((entry.uid.clone(), entry.name.clone())).or_default();
        state.kind = format!("{:?}", entry.kind).to_lowercase();
        state.fingerprint.clone_from(&entry.fingerprint);
        state.parts.push((entry.key_groups, segment.frames.len(), entry.length));
    }
    for state in states.values_mut() {
        state.parts.sort_unstable();
    }
    print(&if args.json { format!("{}\n", as_json(&manifest, &states)) } else { as_text(&manifest, &states) })
}

fn read(args: &InspectArgs) -> Result<(Manifest, Restored), Error> {
    let all = |_: &StateEntry| true;
    let (manifest, restored) = match find(&args.path)? {
        Found::Savepoint(path) => (savepoint::read(&path)?, savepoint::read_state(&path)?),
        Found::Checkpoint(at) => {
            let storage = CheckpointStorage::directory(&at.directory, &at.lineage)?;
            (storage.manifest(at.checkpoint)?, storage.read_where(at.checkpoint, all)?)
        }
    };
    Ok((manifest, restored))
}

fn kind(kind: BarrierKind) -> &'static str {
    match kind {
        BarrierKind::Savepoint => "savepoint",
        BarrierKind::Stop { drain: false } => "savepoint with which the job ended",
        BarrierKind::Stop { drain: true } => "savepoint with which the job ended, drained",
        BarrierKind::Checkpoint | BarrierKind::Reconfigure => "checkpoint",
        BarrierKind::Final => "last checkpoint",
    }
}

fn as_json(manifest: &Manifest, states: &BTreeMap<(String, String), State>) -> serde_json::Value {
    let state = |((uid, name), state): (&(String, String), &State)| {
        let parts = state.parts.iter().map(|(groups, frames, bytes)| {
            json!({ "key_groups": [groups.0, groups.1], "frames": frames, "bytes": bytes })
        });
        json!({
            "operator": uid,
            "task": manifest.names.get(uid),
            "state": name,
            "kind": state.kind,
            "type": state.fingerprint,
            "frames": state.frames(),
            "bytes": state.bytes(),
            "parts": parts.collect::<Vec<_>>(),
        })
    };
    json!({
        "job": manifest.job,
        "lineage": manifest.lineage,
        "checkpoint": manifest.checkpoint,
        "kind": kind(manifest.kind),
        "timestamp_ms": manifest.timestamp_ms,
        "max_parallelism": manifest.max_parallelism,
        "operators": manifest.operators,
        "finished": manifest.finished,
        "states": states.iter().map(state).collect::<Vec<_>>(),
    })
}

fn as_text(manifest: &Manifest, states: &BTreeMap<(String, String), State>) -> String {
    let taken = chrono::DateTime::from_timestamp_millis(manifest.timestamp_ms)
        .map_or_else(|| "-".into(), |time| time.format("%Y-%m-%d %H:%M:%S").to_string());
    let bytes: u64 = states.values().map(State::bytes).sum();
    let mut text = format!(
        "{} {} of job {}, taken {taken} (UTC)\n{} operators, {} states, {bytes} bytes, {} key groups\n",
        kind(manifest.kind),
        manifest.checkpoint,
        manifest.job,
        manifest.operators.len(),
        states.len(),
        manifest.max_parallelism,
    );
    let columns = ["operator", "state", "kind", "key groups", "frames", "bytes"].map(str::to_owned);
    let mut rows = Vec::new();
    for ((uid, name), state) in states {
        for (groups, frames, bytes) in &state.parts {
            let groups =
                if state.kind == "keyed" { format!("{}-{}", groups.0, groups.1) } else { "-".into() };
            let row = [
                uid.clone(),
                name.clone(),
                state.kind.clone(),
                groups,
                frames.to_string(),
                bytes.to_string(),
            ];
            rows.push(row.to_vec());
        }
    }
    text.push_str(&table(&columns, &rows));
    let shown: BTreeSet<&String> = states.keys().map(|(uid, _)| uid).collect();
    for uid in shown {
        if let Some(task) = manifest.names.get(uid) {
            text.push_str(&format!("{uid}  {task}\n"));
        }
    }
    text
}
