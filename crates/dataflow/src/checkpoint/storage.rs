//! Checkpoints in an object store: `<lineage>/chk-<id>/{state-<writer>,_metadata}`, and the pointer `<lineage>/_latest`.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::{Manifest, StateEntry, VERSION, decode_frames, encode_frames};
use crate::element::CheckpointId;
use crate::error::Error;
use crate::fault;
use crate::state::{SnapshotFn, StateSegment, StateWriter};

pub(super) const MANIFEST: &str = "_metadata";
pub(super) const POINTER: &str = "_latest";

/// Which checkpoints of a lineage are complete, the latest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// Format version, 1.
    pub v: u32,
    /// Complete and retained, in ascending order.
    pub retained: Vec<CheckpointId>,
}

/// Where the pointer to the latest checkpoint is kept. `publish` makes a checkpoint count.
pub trait CheckpointStore: Send + Sync {
    /// The pointer, if a checkpoint was ever completed.
    ///
    /// # Errors
    /// When it cannot be read; an unreadable pointer is not the same as none.
    fn load(&self) -> Result<Option<Pointer>, String>;

    /// Replaces the pointer, durably.
    ///
    /// # Errors
    /// When it is not known to be replaced.
    fn publish(&self, pointer: &Pointer) -> Result<(), String>;
}

/// The state to restore a job from.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the checkpoint consists of.
    pub manifest: Manifest,
    /// Its state.
    pub segments: Arc<Vec<StateSegment>>,
}

/// The checkpoints of one lineage.
pub struct CheckpointStorage {
    store: Arc<dyn ObjectStore>,
    runtime: tokio::runtime::Runtime,
    /// For messages.
    location: String,
    lineage: String,
    /// Whether what is written here outlives the process.
    durable: bool,
    /// It holds one savepoint and nothing else.
    savepoint: bool,
}

impl CheckpointStorage {
    /// Checkpoints in a local directory, which is created.
    ///
    /// # Errors
    /// When the directory cannot be created or is not writable.
    pub fn directory(directory: &std::path::Path, lineage: &str) -> Result<Self, Error> {
        let location = directory.join(lineage).display().to_string();
        let fail = |reason: String| Error::InvalidJob(format!("checkpoint directory {location}: {reason}"));
        std::fs::create_dir_all(directory).map_err(|e| fail(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(|e| fail(e.to_string()))?;
        let store = Arc::new(store.with_fsync(true).with_automatic_cleanup(true));
        Self::new(store, location, lineage, true)
    }

    /// Checkpoints that live as long as the process: enough to restart a task, not to restart the process.
    ///
    /// # Errors
    /// When the I/O runtime cannot be started.
    pub fn in_memory(lineage: &str) -> Result<Self, Error> {
        Self::new(Arc::new(InMemory::new()), "memory".into(), lineage, false)
    }

    /// One savepoint, in a directory of its own, which is created when something is written.
    ///
    /// # Errors
    /// When the directory is no local one, or the I/O runtime cannot be started.
    pub(super) fn savepoint(directory: &std::path::Path) -> Result<Self, Error> {
        let location = directory.display().to_string();
        let fail = |reason: String| Error::InvalidJob(format!("savepoint {location}: {reason}"));
        std::fs::create_dir_all(directory).map_err(|e| fail(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(directory).map_err(|e| fail(e.to_string()))?;
        let storage = Self::new(Arc::new(store.with_fsync(true)), location, "", true)?;
        Ok(Self { savepoint: true, ..storage })
    }

    fn new(
        store: Arc<dyn ObjectStore>,
        location: String,
        lineage: &str,
        durable: bool,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .map_err(|e| Error::InvalidJob(format!("the checkpoint writer cannot start: {e}")))?;
        Ok(Self { store, runtime, location, lineage: lineage.to_owned(), durable, savepoint: false })
    }

    /// Whether checkpoints outlive the process.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    fn path(&self, name: &str) -> Path {
        if self.savepoint { Path::from(name) } else { Path::from(format!("{}/{name}", self.lineage)) }
    }

    /// What belongs to a checkpoint, below [`CheckpointStorage::path`].
    fn object(&self, checkpoint: CheckpointId, name: &str) -> String {
        if self.savepoint { name.to_owned() } else { format!("chk-{checkpoint}/{name}") }
    }

    fn state_object(&self, checkpoint: CheckpointId, writer: &str) -> String {
        self.object(checkpoint, &format!("state-{writer}"))
    }

    fn read_error(&self, object: &str, reason: impl std::fmt::Display) -> Error {
        Error::CheckpointRead { location: format!("{}/{object}", self.location), reason: reason.to_string() }
    }

    /// Writes the state that `writer` has of a checkpoint, as one object; none when there is no state.
    pub(crate) fn write_state(
        &self,
        checkpoint: CheckpointId,
        writer: &str,
        snapshots: Vec<(String, SnapshotFn)>,
    ) -> Result<Vec<StateEntry>, Error> {
        let fail =
            |reason: String| Error::CheckpointWrite { checkpoint, location: self.location.clone(), reason };
        let object = self.state_object(checkpoint, writer);
        let (mut offset, mut states) = (0u64, Vec::new());
        if snapshots.is_empty() {
            return Ok(states);
        }
        self.runtime.block_on(async {
            let upload =
                self.store.put_multipart(&self.path(&object)).await.map_err(|e| fail(e.to_string()))?;
            let mut upload = WriteMultipart::new(upload);
            for (uid, snapshot) in snapshots {
                let mut writer = StateWriter::new(uid);
                snapshot(&mut writer).map_err(|e| fail(e.to_string()))?;
                for segment in writer.into_segments() {
                    let bytes = encode_frames(&segment).map_err(fail)?;
                    let groups = segment.frames.iter().map(|(key_group, _)| *key_group);
                    states.push(StateEntry {
                        key_groups: (groups.clone().min().unwrap_or(0), groups.max().unwrap_or(0)),
                        object: object.clone(),
                        offset,
                        length: bytes.len() as u64,
                        crc32: crc32fast::hash(&bytes),
                        uid: segment.uid,
                        name: segment.name,
                        kind: segment.kind,
                        fingerprint: segment.fingerprint,
                    });
                    offset += bytes.len() as u64;
                    upload.put(bytes.into());
                    upload.wait_for_capacity(1).await.map_err(|e| fail(e.to_string()))?;
                }
            }
            upload.finish().await.map_err(|e| fail(e.to_string()))?;
            fault::point("state-written");
            Ok(states)
        })
    }

    /// Writes the manifest; the state that it names is durable. Returns the size of both in bytes.
    pub(crate) fn write_manifest(&self, manifest: &Manifest) -> Result<u64, Error> {
        let checkpoint = manifest.checkpoint;
        let fail =
            |reason: String| Error::CheckpointWrite { checkpoint, location: self.location.clone(), reason };
        let text = manifest.encode().map_err(fail)?;
        let size = manifest.states.iter().map(|state| state.length).sum::<u64>() + text.len() as u64;
        let path = self.path(&self.object(checkpoint, MANIFEST));
        let put = self.store.put(&path, PutPayload::from(text.into_bytes()));
        self.runtime.block_on(put).map_err(|e| fail(e.to_string()))?;
        fault::point("manifest-written");
        Ok(size)
    }

    /// Reads a checkpoint back, checking every checksum.
    ///
    /// # Errors
    /// When any part of it is missing or damaged.
    pub fn read(&self, checkpoint: CheckpointId) -> Result<Restored, Error> {
        self.read_where(checkpoint, |_| true)
    }

    /// As [`CheckpointStorage::read`], of the state only what `wanted` says.
    ///
    /// # Errors
    /// When any part of that is missing or damaged.
    pub fn read_where(
        &self,
        checkpoint: CheckpointId,
        wanted: impl Fn(&StateEntry) -> bool,
    ) -> Result<Restored, Error> {
        let manifest = self.manifest(checkpoint)?;
        let mut objects: std::collections::BTreeMap<&str, Vec<u8>> = std::collections::BTreeMap::new();
        let mut segments = Vec::new();
        for entry in manifest.states.iter().filter(|entry| wanted(entry)) {
            if !objects.contains_key(entry.object.as_str()) {
                let bytes = self.get(&entry.object)?.ok_or_else(|| {
                    self.read_error(&entry.object, "the file is missing, the manifest names it")
                })?;
                objects.insert(&entry.object, bytes);
            }
            segments.push(self.segment(entry, &objects[entry.object.as_str()])?);
        }
        Ok(Restored { manifest, segments: Arc::new(segments) })
    }

    /// Reads the manifest of a checkpoint.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn manifest(&self, checkpoint: CheckpointId) -> Result<Manifest, Error> {
        let name = self.object(checkpoint, MANIFEST);
        let text = self.get(&name)?.ok_or_else(|| {
            self.read_error(
                &name,
                "there is no such checkpoint; name one that completed, or start without it",
            )
        })?;
        let text = std::str::from_utf8(&text).map_err(|e| self.read_error(&name, e))?;
        Manifest::decode(text).map_err(|reason| self.read_error(&name, reason))
    }

    fn segment(&self, entry: &StateEntry, object: &[u8]) -> Result<StateSegment, Error> {
        let fail = |reason: String| {
            let what = format!("state `{}` of operator {}", entry.name, entry.uid);
            let advice = "restore another checkpoint by naming it, if output since then may repeat";
            self.read_error(&entry.object, format!("{what}: {reason}; {advice}"))
        };
        let end = entry.offset.checked_add(entry.length);
        let range =
            end.and_then(|end| object.get(usize::try_from(entry.offset).ok()?..usize::try_from(end).ok()?));
        let Some(bytes) = range else {
            return Err(fail(format!(
                "the file is truncated: it has {} bytes, the state is at {} with {} bytes",
                object.len(),
                entry.offset,
                entry.length
            )));
        };
        let crc = crc32fast::hash(bytes);
        if crc != entry.crc32 {
            return Err(fail(format!("its checksum is {crc:08x}, the manifest says {:08x}", entry.crc32)));
        }
        Ok(StateSegment {
            uid: entry.uid.clone(),
            name: entry.name.clone(),
            kind: entry.kind,
            fingerprint: entry.fingerprint.clone(),
            frames: decode_frames(bytes).map_err(fail)?,
        })
    }

    /// An object, by its name here; state of a savepoint is named by its absolute path.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        if name.starts_with('/') {
            return match std::fs::read(name) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(Error::CheckpointRead { location: name.into(), reason: e.to_string() }),
            };
        }
        self.runtime.block_on(async {
            match self.store.get(&self.path(name)).await {
                Ok(found) => Ok(Some(found.bytes().await.map_err(|e| self.read_error(name, e))?.into())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(self.read_error(name, e)),
            }
        })
    }

    /// Removes a checkpoint that no pointer names any more, and the savepoint that it owns. What cannot be removed stays as garbage.
    pub(crate) fn delete(&self, checkpoint: CheckpointId) {
        let origin = self.manifest(checkpoint).ok().and_then(|manifest| manifest.origin);
        if let Some(origin) = origin.filter(|origin| origin.claimed)
            && let Err(error) = super::savepoint::dispose(&origin.savepoint)
        {
            tracing::warn!("the claimed savepoint {} is not removed: {error}", origin.savepoint.display());
        }
        let objects = self.runtime.block_on(async {
            let prefix = self.path(&format!("chk-{checkpoint}"));
            self.store.list_with_delimiter(Some(&prefix)).await
        });
        match objects {
            Ok(found) => found.objects.iter().for_each(|object| self.delete_object(&object.location)),
            Err(e) => tracing::warn!(checkpoint, "cannot list the old checkpoint's objects: {e}"),
        }
    }

    /// Removes what `writer` has written of a checkpoint that was given up.
    pub(crate) fn delete_state(&self, checkpoint: CheckpointId, writer: &str) {
        self.delete_object(&self.path(&self.state_object(checkpoint, writer)));
    }

    fn delete_object(&self, path: &Path) {
        match self.runtime.block_on(self.store.delete(path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => tracing::warn!("cannot delete {path} of an old checkpoint: {e}"),
        }
    }
}

/// The pointer as a file beside the checkpoints.
impl CheckpointStore for CheckpointStorage {
    fn load(&self) -> Result<Option<Pointer>, String> {
        let Some(bytes) = self.get(POINTER).map_err(|e| e.to_string())? else { return Ok(None) };
        let pointer: Pointer = serde_json::from_slice(&bytes).map_err(|e| {
            format!("{}/{POINTER} is damaged ({e}); name a checkpoint directory instead", self.location)
        })?;
        if pointer.v != VERSION {
            return Err(format!(
                "{}/{POINTER} has version {}; this build reads {VERSION}",
                self.location, pointer.v
            ));
        }
        Ok(Some(pointer))
    }

    fn publish(&self, pointer: &Pointer) -> Result<(), String> {
        let text = serde_json::to_vec(pointer).map_err(|e| e.to_string())?;
        let path = self.path(POINTER);
        let put = self.store.put(&path, PutPayload::from(text));
        self.runtime.block_on(put).map_err(|e| format!("{}/{POINTER}: {e}", self.location))?;
        fault::point("pointer-written");
        Ok(())
    }
}
