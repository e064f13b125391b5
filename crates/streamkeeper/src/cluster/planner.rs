//! From a job's spec to its graph: the statements of the spec in a session of their own.
//!
//! Invariant: the graph depends on the spec alone, so that every process of the cluster has the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use streamkeeper::live_config::LiveConfig;
use streamkeeper_cluster::{Planned, Planner};
use streamkeeper_coordination::catalog::{Catalog, ObjectName};
use streamkeeper_coordination::jobs::{JobKind, JobSpec};
use streamkeeper_dataflow::config::Config;
use streamkeeper_dataflow::job::Reconfigurer;
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Definition, PlannedJob, Session, StatementResult};

/// The key of a spec's details that says what relative paths are relative to.
pub(super) const DIRECTORY: &str = "directory";

/// Plans SQL jobs.
pub(super) struct SqlPlanner {
    /// The configuration of this process: what a job does not say, the JobManager that takes it in does.
    defaults: Config,
    /// Whether the jobs' configuration documents are read here.
    leads: bool,
}

impl SqlPlanner {
    /// For a JobManager.
    pub(super) fn of_job_manager(defaults: Config) -> Self {
        Self { defaults, leads: true }
    }

    /// For a TaskManager: the configuration documents come with the orders.
    pub(super) fn of_task_manager(defaults: Config) -> Self {
        Self { defaults, leads: false }
    }

    fn session(&self, spec: &JobSpec) -> Result<(Session, PlannedJob), String> {
        if spec.kind != JobKind::Sql {
            return Err(
                "it is a compiled program: start the program itself as the cluster's processes".into()
            );
        }
        let mut config = streamkeeper_sql::config::new().and_keys(streamkeeper_cluster::config::KEYS);
        for (key, value) in &spec.configuration {
            config.set(key, value)?;
        }
        if spec.parallelism > 0 {
            config.set("parallelism.default", &spec.parallelism.to_string())?;
        }
        let mut session = Session::new(config);
        if let Some(directory) = spec.details.get(DIRECTORY).and_then(|directory| directory.as_str()) {
            session.set_base_directory(PathBuf::from(directory));
        }
        let mut job = None;
        for text in &spec.statements {
            for statement in parse_script(text).map_err(|error| error.render(text, None))? {
                match session.execute(&statement.node).map_err(|error| error.render(text, None))? {
                    StatementResult::Job(planned) if job.is_none() => job = Some(*planned),
                    StatementResult::Job(_) => return Err("its statements are more than one job".into()),
                    StatementResult::Ok(_) | StatementResult::Table { .. } | StatementResult::Text(_) => {}
                }
            }
        }
        let job = job.ok_or("its statements are no job: there is no INSERT")?;
        Ok((session, job))
    }
}

impl Planner for SqlPlanner {
    fn resolve(&self, mut spec: JobSpec) -> JobSpec {
        for (key, value) in self.defaults.entries() {
            spec.configuration.entry(key.clone()).or_insert_with(|| value.clone());
        }
        spec
    }

    fn plan(&self, spec: &JobSpec) -> Result<Planned, String> {
        let (session, job) = self.session(spec)?;
        let settings = session.config().job();
        let name = if spec.name.is_empty() { job.name } else { spec.name.clone() };
        let config = if self.leads && !job.config_documents.is_empty() {
            let live = LiveConfig::open(session.config(), &name, &job.config_documents);
            live.and_then(|live| live.snapshot()).map_err(|error| error.to_string())?
        } else {
            Arc::default()
        };
        Ok(Planned { name, graph: job.graph, settings, config })
    }

    fn check_catalog(&self, catalog: &Catalog, complete: bool) -> BTreeMap<ObjectName, String> {
        let mut session = Session::new(self.defaults.clone());
        for (name, content) in catalog.databases() {
            session.define_database(name, super::catalog::database(&content.value));
        }
        let definitions = catalog.objects().map(|(database, name, object)| {
            ((database.to_owned(), name.to_owned()), super::catalog::definition(database, &object.value))
        });
        let definitions: BTreeMap<ObjectName, Definition> = definitions.collect();
        let by_name = definitions.iter().map(|(name, definition)| (name.clone(), definition));
        let wrong = session.define(by_name, |_| complete).into_iter();
        wrong.map(|(name, error)| (name, error.message)).collect()
    }

    fn follow(&self, spec: &JobSpec, reconfigurer: Reconfigurer) -> Option<Box<dyn Send + Sync>> {
        let (session, job) = self.session(spec).ok()?;
        if job.config_documents.is_empty() {
            return None;
        }
        let name = if spec.name.is_empty() { &job.name } else { &spec.name };
        let live = LiveConfig::open(session.config(), name, &job.config_documents);
        match live.and_then(|live| live.follow(reconfigurer)) {
            Ok(following) => Some(Box::new(following)),
            Err(error) => {
                tracing::error!(job = name, "the job's configuration documents are not followed: {error}");
                None
            }
        }
    }
}
