//! What can be asked of ZooKeeper. A request that no server would take is refused before it is sent.

use zookeeper_client::{self as zk, Acl, CreateMode, Stat};

use crate::error::Error;
use crate::session::ZooKeeper;

/// What a request needs besides path and data: header, version, flags, lengths, one ACL entry.
const REQUEST_OVERHEAD: usize = 128;

impl ZooKeeper {
    /// Creates a znode with the handle's [`crate::Access`]; gives its path, which has a number at its end if the mode is sequential,
    /// and its stat.
    ///
    /// # Errors
    /// [`Error::NodeExists`]; [`Error::NoNode`] if the parent is missing; [`Error::TooLarge`].
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        mode: CreateMode,
    ) -> Result<(String, Stat), Error> {
        let data = data.into();
        self.check_size("create", path, data.len())?;
        let (owned, acls) = (path.to_owned(), self.access.acls());
        self.perform("create", path, move |client| async move {
            let created = client.create(&owned, &data, &mode.with_acls(acls)).await;
            let (stat, sequence) = created.map_err(|error| Error::of("create", &owned, error))?;
            let sequential =
                matches!(mode, CreateMode::PersistentSequential | CreateMode::EphemeralSequential);
            Ok((if sequential { format!("{owned}{sequence}") } else { owned }, stat))
        })
        .await
    }

    /// Creates a persistent znode without data and all that is missing above it; no error if it is there.
    pub async fn create_all(&self, path: &str) -> Result<(), Error> {
        let (owned, acls) = (path.to_owned(), self.access.acls());
        self.perform("create", path, move |client| async move {
            let made = client.mkdir(&owned, &CreateMode::Persistent.with_acls(acls)).await;
            made.map_err(|error| Error::of("create", &owned, error))
        })
        .await
    }

    /// Deletes a znode that has no children; with a version, only if it still has this one.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadVersion`], [`Error::NotEmpty`].
    pub async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), Error> {
        let owned = path.to_owned();
        self.perform("delete", path, move |client| async move {
            client.delete(&owned, version).await.map_err(|error| Error::of("delete", &owned, error))
        })
        .await
    }

    /// A znode's data and stat.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub async fn get(&self, path: &str) -> Result<(Vec<u8>, Stat), Error> {
        let owned = path.to_owned();
        self.perform("get", path, move |client| async move {
            client.get_data(&owned).await.map_err(|error| Error::of("get", &owned, error))
        })
        .await
    }

    /// Data and stat of many znodes, asked for all at once; `None` for one that does not exist. No snapshot: each is read for itself.
    ///
    /// # Errors
    /// The first that is none of these.
    pub async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<(Vec<u8>, Stat)>>, Error> {
        self.perform("get", "many", move |client| async move {
            let asked: Vec<_> = paths.iter().map(|path| client.get_data(path)).collect();
            let mut read = Vec::with_capacity(paths.len());
            for (path, answer) in paths.iter().zip(asked) {
                read.push(present(path, answer.await)?);
            }
            Ok(read)
        })
        .await
    }

    /// The names of the children of many znodes, asked for all at once; `None` for one that does not exist.
    ///
    /// # Errors
    /// The first that is none of these.
    pub async fn children_many(&self, paths: Vec<String>) -> Result<Vec<Option<Vec<String>>>, Error> {
        self.perform("children", "many", move |client| async move {
            let asked: Vec<_> = paths.iter().map(|path| client.list_children(path)).collect();
            let mut read = Vec::with_capacity(paths.len());
            for (path, answer) in paths.iter().zip(asked) {
                read.push(present(path, answer.await)?);
            }
            Ok(read)
        })
        .await
    }

    /// A znode's stat, if it exists.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        let owned = path.to_owned();
        self.perform("exists", path, move |client| async move {
            client.check_stat(&owned).await.map_err(|error| Error::of("exists", &owned, error))
        })
        .await
    }

    /// The names of a znode's children, in no order, and its stat.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub async fn children(&self, path: &str) -> Result<(Vec<String>, Stat), Error> {
        let owned = path.to_owned();
        self.perform("children", path, move |client| async move {
            client.get_children(&owned).await.map_err(|error| Error::of("children", &owned, error))
        })
        .await
    }

    /// Replaces a znode's data; with a version, only if it still has this one.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadVersion`], [`Error::TooLarge`].
    pub async fn set(
        &self,
        path: &str,
        data: impl Into<Vec<u8>>,
        version: Option<i32>,
    ) -> Result<Stat, Error> {
        let data = data.into();
        self.check_size("set", path, data.len())?;
        let owned = path.to_owned();
        self.perform("set", path, move |client| async move {
            client.set_data(&owned, &data, version).await.map_err(|error| Error::of("set", &owned, error))
        })
        .await
    }

    /// Waits until the server that this session is at has all that was committed before the call.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        let owned = path.to_owned();
        self.perform("sync", path, move |client| async move {
            client.sync(&owned).await.map_err(|error| Error::of("sync", &owned, error))
        })
        .await
    }

    /// A znode's ACL and stat.
    ///
    /// # Errors
    /// [`Error::NoNode`].
    pub async fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        let owned = path.to_owned();
        self.perform("acl", path, move |client| async move {
            client.get_acl(&owned).await.map_err(|error| Error::of("acl", &owned, error))
        })
        .await
    }

    fn check_size(&self, operation: &str, path: &str, data: usize) -> Result<(), Error> {
        self.check_request_size(operation, path, path.len() + data + REQUEST_OVERHEAD)
    }

    pub(crate) fn check_request_size(&self, operation: &str, path: &str, bytes: usize) -> Result<(), Error> {
        let limit = self.options().max_request_bytes;
        if bytes > limit {
            return Err(Error::TooLarge { operation: format!("{operation} {path}"), bytes, limit });
        }
        Ok(())
    }
}

/// `None` where there is no such znode.
fn present<T>(path: &str, read: Result<T, zk::Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(zk::Error::NoNode) => Ok(None),
        Err(error) => Err(Error::of("read", path, error)),
    }
}
