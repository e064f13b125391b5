//! Writes that only the leader of an epoch gets through: each is a transaction that begins with a check of `leader/epoch`.
//!
//! Invariant: once another leader has taken office, no write of this one happens. A write that was told to be done is, one that was
//! told to have failed is not; where neither can be found out in time, [`Error::Unresolved`] says so. An answer that was lost is
//! looked up by `sync`, read and compare ([`judge`], pure); what was not done is sent once more at the same versions, so that the first
//! sending cannot happen after it.

use std::time::{Duration, Instant};

use streamkeeper_zookeeper::{CreateMode, Error as ZkError, Multi};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// Pause before ZooKeeper is asked again.
const RETRY: Duration = Duration::from_millis(50);

/// One write of a guarded transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// Creates a persistent znode.
    Create { path: String, data: Vec<u8> },
    /// Replaces the data that has this version.
    Set { path: String, data: Vec<u8>, version: i32 },
    /// Deletes a znode, whatever its version.
    Delete { path: String },
}

impl Write {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Create { path, .. } | Self::Set { path, .. } | Self::Delete { path } => path,
        }
    }
}

/// Whether a transaction has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It has.
    Done,
    /// It has not.
    NotDone,
    /// Somebody has written since, so that it does not show any more.
    Overwritten,
}

/// Judges by what the znodes of `writes` hold, data and version.
fn judge(writes: &[Write], found: &[Option<(Vec<u8>, i32)>]) -> Verdict {
    let mut done = false;
    for (write, found) in writes.iter().zip(found) {
        let evidence = match (write, found) {
            (Write::Create { data, .. }, Some((text, version))) => {
                if *version > 0 {
                    continue;
                }
                text == data
            }
            (Write::Create { .. }, None) => false,
            (Write::Set { data, version, .. }, Some((text, now))) => {
                if *now > version + 1 {
                    continue;
                }
                *now == version + 1 && text == data
            }
            (Write::Set { .. }, None) => continue,
            (Write::Delete { .. }, found) => found.is_none(),
        };
        if !evidence {
            return Verdict::NotDone;
        }
        done = true;
    }
    if done { Verdict::Done } else { Verdict::Overwritten }
}

/// What a leader's writes are guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) epoch: u64,
    /// The version that `leader/epoch` has while the epoch lasts.
    pub(crate) version: i32,
}

impl Guard {
    /// Does all of `writes` or nothing. `revoked` tells whether the epoch is known to have ended; nothing is sent after that, and no
    /// answer is waited for.
    pub(crate) async fn write(
        self,
        cluster: &Cluster,
        operation: &str,
        writes: &[Write],
        mut revoked: watch::Receiver<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        let patience = cluster.zookeeper().options().operation_timeout * 4;
        let deposed = || Error::Deposed { operation: operation.to_owned(), epoch: self.epoch };
        let mut unsure = false;
        loop {
            let failed = if *revoked.borrow() {
                deposed()
            } else {
                let transaction = self.transaction(cluster, writes);
                let answer = tokio::select! {
                    biased;
                    answer = cluster.zookeeper().multi(transaction) => Some(answer),
                    _ = revoked.wait_for(|revoked| *revoked) => None,
                };
                match answer {
                    Some(Ok(_)) => return Ok(()),
                    Some(Err(error)) if error.is_outcome_unknown() => {
                        unsure = true;
                        error.into()
                    }
                    Some(Err(error)) => self.refused(operation, writes, error),
                    None => {
                        unsure = true;
                        deposed()
                    }
                }
            };
            // Every sending was answered, and refused.
            if !unsure {
                return Err(failed);
            }
            let lost = matches!(&failed, Error::ZooKeeper(error) if error.is_transient());
            let unresolved =
                || Error::Unresolved { operation: operation.to_owned(), waited: began.elapsed() };
            let (epoch, found) = loop {
                match look(cluster, writes).await {
                    Ok(seen) => break seen,
                    Err(Error::ZooKeeper(error)) if error.is_transient() && began.elapsed() < patience => {
                        tokio::time::sleep(RETRY).await;
                    }
                    Err(_) => return Err(unresolved()),
                }
            };
            match judge(writes, &found) {
                Verdict::Done => return Ok(()),
                Verdict::NotDone if epoch != Some(self.version) => return Err(deposed()),
                // Nobody else leads yet: what is on its way may still happen, until somebody does.
                Verdict::NotDone if *revoked.borrow() => return Err(unresolved()),
                Verdict::NotDone if !lost => return Err(failed),
                Verdict::NotDone if began.elapsed() < patience => {}
                // It may be overtaken by another leader, who then knows what was done.
                Verdict::NotDone | Verdict::Overwritten => return Err(unresolved()),
            }
        }
    }

    fn transaction(self, cluster: &Cluster, writes: &[Write]) -> Multi {
        let mut multi = Multi::new().check(&cluster.layout().epoch(), self.version);
        for write in writes {
            multi = match write {
                Write::Create { path, data } => multi.create(path, data.clone(), CreateMode::Persistent),
                Write::Set { path, data, version } => multi.set(path, data.clone(), Some(*version)),
                Write::Delete { path } => multi.delete(path, None),
            };
        }
        multi
    }

    /// What an error that left nothing in doubt means.
    fn refused(self, operation: &str, writes: &[Write], error: ZkError) -> Error {
        let ZkError::Multi { index, source } = &error else { return error.into() };
        let lost_race = matches!(
            **source,
            ZkError::BadVersion { .. }
                | ZkError::NoNode { .. }
                | ZkError::NodeExists { .. }
                | ZkError::NotEmpty { .. }
        );
        match (index.checked_sub(1), lost_race) {
            (None, true) => Error::Deposed { operation: operation.to_owned(), epoch: self.epoch },
            (Some(write), true) => {
                let path = writes.get(write).map_or("", Write::path).to_owned();
                Error::Changed { path }
            }
            (_, false) => error.into(),
        }
    }
}

/// The version of `leader/epoch`, and what the znodes of `writes` hold.
async fn look(cluster: &Cluster, writes: &[Write]) -> Result<(Option<i32>, Vec<Option<(Vec<u8>, i32)>>)> {
    cluster.sync().await?;
    let mut paths = vec![cluster.layout().epoch()];
    paths.extend(writes.iter().map(|write| write.path().to_owned()));
    let mut found = cluster.zookeeper().get_many(paths).await?.into_iter();
    let epoch = found.next().flatten().map(|(_, stat)| stat.version);
    Ok((epoch, found.map(|found| found.map(|(text, stat)| (text, stat.version))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(version: i32) -> Write {
        Write::Set { path: "/a".into(), data: b"new".to_vec(), version }
    }

    fn create() -> Write {
        Write::Create { path: "/b".into(), data: b"b".to_vec() }
    }

    fn holds(text: &str, version: i32) -> Option<(Vec<u8>, i32)> {
        Some((text.as_bytes().to_vec(), version))
    }

    #[test]
    fn a_write_is_found_by_its_text_and_version() {
        for (found, verdict) in [
            (holds("new", 4), Verdict::Done),
            (holds("old", 3), Verdict::NotDone),
            // It says the same, and is not ours.
            (holds("new", 3), Verdict::NotDone),
            // Somebody else's fourth version: ours never was.
            (holds("other", 4), Verdict::NotDone),
            (holds("other", 5), Verdict::Overwritten),
            (holds("new", 5), Verdict::Overwritten),
            (None, Verdict::Overwritten),
        ] {
            assert_eq!(judge(&[set(3)], std::slice::from_ref(&found)), verdict, "{found:?}");
        }
        let delete = Write::Delete { path: "/c".into() };
        assert_eq!(judge(&[create(), delete.clone()], &[holds("b", 0), None]), Verdict::Done);
        assert_eq!(judge(&[delete], &[holds("c", 7)]), Verdict::NotDone);
        assert_eq!(judge(&[create()], &[None]), Verdict::NotDone);
    }

    #[test]
    fn one_write_that_is_missing_is_enough() {
        assert_eq!(judge(&[set(3), create()], &[holds("new", 4), None]), Verdict::NotDone);
        assert_eq!(judge(&[set(3), create()], &[holds("newer", 9), holds("b", 0)]), Verdict::Done);
    }
}
