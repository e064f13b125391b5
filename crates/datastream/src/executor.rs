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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::StreamExecutionEnvironment;

    #[derive(Clone, Default)]
    struct Noted(Rc<RefCell<Vec<(String, usize)>>>);

    impl PipelineExecutor for Noted {
        fn execute(&self, job: StreamGraph) -> Result<JobStatus, Error> {
            self.0.borrow_mut().push((job.name, job.graph.vertices.len()));
            Ok(JobStatus::Suspended)
        }
    }

    #[test]
    fn an_executor_is_given_what_can_run_elsewhere_and_nothing_else() {
        let noted = Noted::default();
        let env = StreamExecutionEnvironment::new();
        env.set_executor(noted.clone());
        env.from_sequence(0, 3).discard();
        assert_eq!(env.execute("numbers").unwrap(), JobStatus::Suspended);
        let _collected = env.from_sequence(0, 3).collect();
        let refused = env.execute("collected").unwrap_err().to_string();
        assert!(refused.contains("collect() needs a job that runs in one process"), "{refused}");
        assert!(env.execute_async("numbers").is_err());
        assert_eq!(*noted.0.borrow(), [("numbers".to_owned(), 1)]);
    }
}
