//! From a job's spec to its graph: what this crate leaves to whoever knows how jobs are written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use streamkeeper_coordination::catalog::{Catalog, ObjectName};
use streamkeeper_coordination::jobs::JobSpec;
use streamkeeper_dataflow::config::JobSettings;
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::job::Reconfigurer;
use streamkeeper_dataflow::live_config::ConfigSnapshot;

/// A job, planned.
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its tasks.
    pub graph: JobGraph,
    /// How it is run.
    pub settings: JobSettings,
    /// What its rows are computed under at first.
    pub config: Arc<ConfigSnapshot>,
}

/// Plans jobs. The same spec gives the same graph in every process of a cluster: only the spec is sent.
pub trait Planner: Send + Sync {
    /// Says of a job that is taken in what its spec leaves to the cluster: after that, all processes plan the same.
    fn resolve(&self, spec: JobSpec) -> JobSpec {
        spec
    }

    /// Plans a job.
    ///
    /// # Errors
    /// Says what is wrong with the spec.
    fn plan(&self, spec: &JobSpec) -> Result<Planned, String>;

    /// Says what is wrong with tables and views, by database and name: these must not be used. A view of tables that are not there is
    /// wrong only if `complete`.
    fn check_catalog(&self, _catalog: &Catalog, _complete: bool) -> BTreeMap<ObjectName, String> {
        BTreeMap::new()
    }

    /// Follows what a job reads of the configuration while it runs, until the result is dropped.
    fn follow(&self, _spec: &JobSpec, _job: Reconfigurer) -> Option<Box<dyn Send + Sync>> {
        None
    }
}

/// Where a job's checkpoints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointPlace {
    /// `execution.checkpointing.dir`.
    pub(crate) directory: PathBuf,
    /// The lineage within it.
    pub(crate) lineage: String,
}
