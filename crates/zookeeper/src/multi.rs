//! Several writes as one: all of them happen, or none.

use zookeeper_client as zk;
use zookeeper_client::{CreateMode, Stat};

use crate::error::Error;
use crate::options::Access;
use crate::session::ZooKeeper;

/// What an operation needs besides path and data.
const OPERATION_OVERHEAD: usize = 128;

/// Writes that happen together, in their order: each sees what those before it did.
#[derive(Debug, Clone, Default)]
pub struct Multi {
    operations: Vec<Operation>,
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Operation {
    Check { path: String, version: i32 },
    Create { path: String, data: Vec<u8>, mode: CreateMode },
    Set { path: String, data: Vec<u8>, version: Option<i32> },
    Delete { path: String, version: Option<i32> },
}

/// What came of one operation of a [`Multi`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The znode had the version.
    Checked,
    /// The znode's path, with its number if it is a sequential one.
    Created(String),
    /// The znode's stat.
    Set(Stat),
    /// It is gone.
    Deleted,
}

impl Multi {
    /// No operation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// An upper bound of the length of the request, in bytes.
    pub fn request_bytes(&self) -> usize {
        self.bytes + OPERATION_OVERHEAD
    }

    /// By how much a request grows with an operation on this path, with so many bytes of data.
    pub fn operation_bytes(path: &str, data: usize) -> usize {
        path.len() + data + OPERATION_OVERHEAD
    }

    /// All fails unless the znode has this version.
    pub fn check(mut self, path: &str, version: i32) -> Self {
        self.push(Self::operation_bytes(path, 0), Operation::Check { path: path.to_owned(), version });
        self
    }

    /// Creates a znode.
    pub fn create(mut self, path: &str, data: impl Into<Vec<u8>>, mode: CreateMode) -> Self {
        let data = data.into();
        let bytes = Self::operation_bytes(path, data.len());
        self.push(bytes, Operation::Create { path: path.to_owned(), data, mode });
        self
    }

    /// Replaces a znode's data, if it has this version.
    pub fn set(mut self, path: &str, data: impl Into<Vec<u8>>, version: Option<i32>) -> Self {
        let data = data.into();
        let bytes = Self::operation_bytes(path, data.len());
        self.push(bytes, Operation::Set { path: path.to_owned(), data, version });
        self
    }

    /// Deletes a znode, if it has this version.
    pub fn delete(mut self, path: &str, version: Option<i32>) -> Self {
        self.push(Self::operation_bytes(path, 0), Operation::Delete { path: path.to_owned(), version });
        self
    }

    fn push(&mut self, bytes: usize, operation: Operation) {
        self.bytes += bytes;
        self.operations.push(operation);
    }
}

impl Operation {
    fn path(&self) -> &str {
        match self {
            Self::Check { path, .. }
            | Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }

    fn add(&self, writer: &mut zk::MultiWriter<'_>, access: Access) -> Result<(), zk::Error> {
        match self {
            Self::Check { path, version } => writer.add_check_version(path, *version),
            Self::Create { path, data, mode } => {
                writer.add_create(path, data, &mode.with_acls(access.acls()))
            }
            Self::Set { path, data, version } => writer.add_set_data(path, data, *version),
            Self::Delete { path, version } => writer.add_delete(path, *version),
        }
    }
}

impl ZooKeeper {
    /// Does all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Multi`] names the operation that failed; [`Error::TooLarge`] if the request is over the limit.
    pub async fn multi(&self, multi: Multi) -> Result<Vec<Outcome>, Error> {
        let path = multi.operations.first().map_or("", Operation::path).to_owned();
        self.check_request_size("multi", &path, multi.request_bytes())?;
        let access = self.access;
        self.perform(
            "multi",
            &path,
            move |client| async move { commit(client, multi.operations, access).await },
        )
        .await
    }
}

async fn commit(
    client: zk::Client,
    operations: Vec<Operation>,
    access: Access,
) -> Result<Vec<Outcome>, Error> {
    let failed = |index: usize, error: zk::Error| {
        let path = operations.get(index).map_or("", Operation::path);
        Error::Multi { index, source: Box::new(Error::of("multi", path, error)) }
    };
    let mut writer = client.new_multi_writer();
    for (index, operation) in operations.iter().enumerate() {
        operation.add(&mut writer, access).map_err(|error| failed(index, error))?;
    }
    match writer.commit().await {
        Ok(results) => Ok(results.into_iter().map(outcome).collect()),
        Err(zk::MultiWriteError::OperationFailed { index, source }) => Err(failed(index, source)),
        Err(zk::MultiWriteError::RequestFailed { source }) => {
            Err(Error::of("multi", operations.first().map_or("", Operation::path), source))
        }
    }
}

fn outcome(result: zk::MultiWriteResult) -> Outcome {
    match result {
        zk::MultiWriteResult::Create { path, .. } => Outcome::Created(path),
        zk::MultiWriteResult::SetData { stat } => Outcome::Set(stat),
        zk::MultiWriteResult::Delete => Outcome::Deleted,
        // The enum may grow; what we send gives no other answers.
        _ => Outcome::Checked,
    }
}
