//! The manifest of a checkpoint: one line of JSON and the CRC-32 of that line.
//!
//! Invariant: a manifest that parses and matches its checksum describes a checkpoint whose state objects were durable
//! before it was written. Each piece of state has a checksum of its own, checked when it is read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::element::{BarrierKind, CheckpointId};
use crate::live_config::ConfigSnapshot;
use crate::state::{StateKind, StateSegment};
use crate::time::Timestamp;

/// The version that this build writes.
pub const VERSION: u32 = 1;

/// What a checkpoint consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub v: u32,
    /// Identifies the run that the checkpoint belongs to, across restores.
    pub lineage: String,
    /// The job's name.
    pub job: String,
    /// The checkpoint's id.
    pub checkpoint: CheckpointId,
    /// Why it was taken.
    pub kind: BarrierKind,
    /// When it was triggered, epoch milliseconds.
    pub timestamp_ms: Timestamp,
    /// Number of key groups.
    pub max_parallelism: u16,
    /// The configuration that its barrier brought: what a restore begins with.
    #[serde(default, skip_serializing_if = "ConfigSnapshot::is_empty")]
    pub config: ConfigSnapshot,
    /// The savepoint that holds the state, when the job began with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Uids of all operators of the job.
    pub operators: Vec<String>,
    /// By uid, the name of the task that the operator is in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Uids of vertices all of whose subtasks had finished.
    pub finished: Vec<String>,
    /// The pieces of state.
    pub states: Vec<StateEntry>,
}

/// Where a job has its first state from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The savepoint's directory.
    pub savepoint: PathBuf,
    /// It is the job's, and is deleted when the job does not need it any more.
    pub claimed: bool,
}

/// One named state of one subtask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The operator's uid.
    pub uid: String,
    /// The state's name.
    pub name: String,
    /// Keyed or list.
    pub kind: StateKind,
    /// The types inside.
    pub fingerprint: String,
    /// First and last key group inside.
    pub key_groups: (u16, u16),
    /// The object, relative to the checkpoint directory of the lineage, or to the savepoint; absolute, when it is in another one.
    pub object: String,
    /// Position in the object, bytes.
    pub offset: u64,
    /// Length, bytes.
    pub length: u64,
    /// CRC-32 (IEEE) of the bytes.
    pub crc32: u32,
}

impl Manifest {
    /// The text of the manifest's object.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn encode(&self) -> Result<String, String> {
        let json = serde_json::to_string(self).map_err(|e| e.to_string())?;
        let crc = crc32fast::hash(json.as_bytes());
        Ok(format!("{json}\ncrc32 {crc:08x}\n"))
    }

    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let (json, crc) = match (lines.next(), lines.next().and_then(|l| l.strip_prefix("crc32 "))) {
            (Some(json), Some(crc)) => (json, crc),
            _ => return Err("the manifest is truncated: its checksum line is missing".into()),
        };
        let actual = crc32fast::hash(json.as_bytes());
        if u32::from_str_radix(crc, 16) != Ok(actual) {
            return Err(format!("the manifest is damaged: its checksum is {actual:08x}, it says {crc}"));
        }
        let version = serde_json::from_str::<serde_json::Value>(json).map_err(|e| e.to_string())?;
        match version.get("v").and_then(serde_json::Value::as_u64) {
            Some(v) if v == u64::from(VERSION) => {}
            v => return Err(format!("the manifest has version {v:?}; this build reads version {VERSION}")),
        }
        serde_json::from_str(json).map_err(|e| format!("the manifest cannot be understood: {e}"))
    }
}

/// The bytes of a segment: per frame, key group (u16), length (u32), both little endian, and the frame.
///
/// # Errors
/// When a frame is longer than 4 GiB.
pub fn encode_frames(segment: &StateSegment) -> Result<Vec<u8>, String> {
    let length = segment.frames.iter().map(|(_, bytes)| bytes.len() + 6).sum();
    let mut out = Vec::with_capacity(length);
    for (key_group, bytes) in &segment.frames {
        let length = u32::try_from(bytes.len()).map_err(|_| {
            format!("a frame of state `{}` has {} bytes; the limit is 4 GiB", segment.name, bytes.len())
        })?;
        out.extend_from_slice(&key_group.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

/// Reads what [`encode_frames`] wrote.
///
/// # Errors
/// When the bytes end within a frame.
pub fn decode_frames(mut bytes: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, String> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let truncated = || "the state ends within a frame".to_owned();
        let (key_group, rest) = bytes.split_first_chunk::<2>().ok_or_else(truncated)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        let (frame, rest) =
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(truncated)?;
        frames.push((u16::from_le_bytes(*key_group), frame.to_vec()));
        bytes = rest;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            v: VERSION,
            lineage: "l".into(),
            job: "j".into(),
            checkpoint: 3,
            kind: BarrierKind::Checkpoint,
            timestamp_ms: 5,
            max_parallelism: 128,
            config: ConfigSnapshot::default(),
            origin: None,
            operators: vec!["a".into()],
            names: BTreeMap::new(),
            finished: vec![],
            states: vec![],
        }
    }

    #[test]
    fn a_damaged_manifest_is_never_read() {
        let text = manifest().encode().expect("plain data");
        assert_eq!(Manifest::decode(&text), Ok(manifest()));
        for cut in 0..text.len() - 1 {
            assert!(Manifest::decode(&text[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Manifest::decode(&text.replace("\"checkpoint\":3", "\"checkpoint\":4")).is_err());
    }

    #[test]
    fn frames_come_back_and_truncated_ones_do_not() {
        let segment = StateSegment {
            uid: String::new(),
            name: "s".into(),
            kind: StateKind::Keyed,
            fingerprint: String::new(),
            frames: vec![(1, vec![1, 2]), (127, vec![]), (1, vec![3])],
        };
        let bytes = encode_frames(&segment).expect("short frames");
        assert_eq!(decode_frames(&bytes), Ok(segment.frames));
        assert!(decode_frames(&bytes[..bytes.len() - 1]).is_err());
    }
}
