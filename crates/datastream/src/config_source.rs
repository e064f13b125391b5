//! Where an environment has a job's configuration documents from.
//!
//! Invariant: a job begins under what its source says when it is started; what changes then reaches it as long as it runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::job::Reconfigurer;
use streamkeeper_dataflow::live_config::ConfigSnapshot;

use crate::error::Result;

/// Begins to pass changes on to a job; goes on until the result is dropped, which is when the job has ended or nobody holds
/// its handle.
pub type Follow = Box<dyn FnOnce(Reconfigurer) -> Result<Box<dyn Send + Sync>>>;

/// Gives a job its configuration documents.
pub trait ConfigSource {
    /// The documents that the job `job` addresses by these names, as they are now, and what follows their changes. A
    /// document that does not exist yet is left out. `config` is the environment's configuration.
    ///
    /// # Errors
    /// When they cannot be read: the job is not started.
    fn open(
        &self,
        job: &str,
        documents: &BTreeSet<String>,
        config: &Config,
    ) -> Result<(Arc<ConfigSnapshot>, Follow)>;
}

/// Documents that are given beforehand, and change by
/// [`JobHandle::reconfigure`](streamkeeper_dataflow::job::JobHandle::reconfigure) only: for tests, and for programs that have
/// them from elsewhere.
impl ConfigSource for ConfigSnapshot {
    fn open(&self, _: &str, names: &BTreeSet<String>, _: &Config) -> Result<(Arc<ConfigSnapshot>, Follow)> {
        let given = self.documents().filter(|(name, _)| names.contains(*name));
        let given = given.map(|(name, document)| (name.to_owned(), document.clone())).collect();
        Ok((Arc::new(given), Box::new(|_| Ok(Box::new(())))))
    }
}
