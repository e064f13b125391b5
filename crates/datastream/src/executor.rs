//! Where jobs are executed, if not by the threads of this process.

use std::collections::BTreeSet;

use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::graph::JobGraph;
use streamkeeper_dataflow::job::JobStatus;

use crate::error::Error;

/// A job, as a program has described it.
pub struct StreamGraph {
    /// `pipeline.name`, or the name that the program gives it.
    pub name: String,
    /// Its tasks.
    pub graph: JobGraph,
    /// The environment's configuration.
    pub config: Config,
    /// The configuration documents that its functions ask for.
    pub documents: BTreeSet<String>,
}

/// Executes jobs: an environment that has one hands it what `execute` is called for.
pub trait PipelineExecutor {
    /// Executes a job; returns when that has come to an end, as far as this process has to do with it.
    ///
    /// # Errors
    /// Why the job, or the process, cannot be started.
    fn execute(&self, job: StreamGraph) -> Result<JobStatus, Error>;
}
