//! Where things are in ZooKeeper: below `<root>/<cluster-id>`, under the names of Flink's keys.
//!
//! Invariant: no other part of Streamkeeper puts a path of this layout together.

use crate::config::Scope;
use crate::error::{Error, Result};

/// Default of `high-availability.zookeeper.path.root`.
pub const DEFAULT_ROOT: &str = "/streamkeeper";

/// Default of `high-availability.cluster-id`.
pub const DEFAULT_CLUSTER_ID: &str = "/default";

/// The paths of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    base: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self { base: format!("{DEFAULT_ROOT}{DEFAULT_CLUSTER_ID}") }
    }
}

impl Layout {
    /// The layout below `root` and `cluster_id`; a `/` at the front of either may be left out.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when they are no znode paths.
    pub fn new(root: &str, cluster_id: &str) -> Result<Self> {
        let mut base = String::new();
        for (key, path) in
            [("high-availability.zookeeper.path.root", root), ("high-availability.cluster-id", cluster_id)]
        {
            let trimmed = path.strip_prefix('/').unwrap_or(path);
            for name in trimmed.split('/') {
                check_name(name).map_err(|reason| Error::InvalidName {
                    what: key.into(),
                    name: path.into(),
                    reason,
                })?;
                base.push('/');
                base.push_str(name);
            }
        }
        Ok(Self { base })
    }

    /// What all others are below.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Which version of this layout the cluster has, and when it was made.
    pub fn meta(&self) -> String {
        format!("{}/meta", self.base)
    }

    /// The parent of the candidates' latch nodes.
    pub fn latches(&self) -> String {
        format!("{}/leader/latch", self.base)
    }

    /// A candidate's latch node.
    pub fn latch(&self, name: &str) -> String {
        format!("{}/leader/latch/{name}", self.base)
    }

    /// Who leads, and since which epoch: discovery and fencing in one.
    pub fn epoch(&self) -> String {
        format!("{}/leader/epoch", self.base)
    }

    /// The parent of the TaskManagers' documents.
    pub fn task_managers(&self) -> String {
        format!("{}/taskmanagers", self.base)
    }

    /// A TaskManager's document.
    pub fn task_manager(&self, id: &str) -> String {
        format!("{}/taskmanagers/{id}", self.base)
    }

    /// The parent of the jobs.
    pub fn jobs(&self) -> String {
        format!("{}/jobs", self.base)
    }

    /// A job, whose documents are its children.
    pub fn job(&self, job: &str) -> String {
        format!("{}/jobs/{job}", self.base)
    }

    /// A document of a job.
    pub fn job_document(&self, job: &str, part: JobPart) -> String {
        format!("{}/jobs/{job}/{part}", self.base)
    }

    /// The parent of the databases.
    pub fn catalog(&self) -> String {
        format!("{}/catalog", self.base)
    }

    /// A database, whose tables and views are its children.
    pub fn database(&self, database: &str) -> String {
        format!("{}/catalog/{database}", self.base)
    }

    /// A table or a view.
    pub fn catalog_object(&self, database: &str, object: &str) -> String {
        format!("{}/catalog/{database}/{object}", self.base)
    }

    /// The persistent parents of everything that a cluster keeps, each after the one above it, without `leader/epoch` and `meta`,
    /// which have content.
    pub(crate) fn parents(&self) -> [String; 6] {
        let leader = format!("{}/leader", self.base);
        [self.base.clone(), leader, self.latches(), self.task_managers(), self.jobs(), self.catalog()]
    }

    /// The document of a scope.
    pub fn config(&self, scope: &Scope) -> String {
        format!("{}/config/{scope}", self.base)
    }

    /// The parent of all documents of a kind: `job` or `shared`.
    pub fn config_kind(&self, kind: &str) -> String {
        format!("{}/config/{kind}", self.base)
    }

    /// The parent of the revisions of a scope.
    pub fn config_history(&self, scope: &Scope) -> String {
        format!("{}/config-history/{scope}", self.base)
    }

    /// One revision. Ten digits, so that a listing is in order.
    pub fn config_revision(&self, scope: &Scope, revision: u64) -> String {
        format!("{}/config-history/{scope}/{revision:010}", self.base)
    }
}

/// The documents of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobPart {
    /// What is to run; never changes.
    Spec,
    /// What its users want of it.
    Desired,
    /// Which TaskManager has which subtask.
    Assignment,
    /// What has become of it so far.
    Status,
    /// Its latest and its retained checkpoints.
    Checkpoint,
    /// How it ended.
    Result,
}

impl JobPart {
    /// Those of a job that has not ended.
    pub const LIVE: [Self; 5] = [Self::Spec, Self::Desired, Self::Assignment, Self::Status, Self::Checkpoint];

    /// The name of its znode.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Desired => "desired",
            Self::Assignment => "assignment",
            Self::Status => "status",
            Self::Checkpoint => "checkpoint",
            Self::Result => "result",
        }
    }

    /// The part whose znode has this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::LIVE.into_iter().chain([Self::Result]).find(|part| part.name() == name)
    }
}

impl std::fmt::Display for JobPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Checks a name that somebody gave, as [`check_name`] does.
pub(crate) fn checked(what: &str, name: &str) -> Result<()> {
    check_name(name).map_err(|reason| Error::InvalidName { what: what.into(), name: name.into(), reason })
}

/// Whether `name` can be a znode's name: ZooKeeper's rules, and at most 128 bytes.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("a name is empty".into());
    }
    if name.len() > 128 {
        return Err(format!("a name of {} bytes is longer than 128", name.len()));
    }
    if name == "." || name == ".." {
        return Err("`.` and `..` are no names".into());
    }
    let refused = |c: char| {
        c == '/' || c.is_control() || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
    };
    match name.chars().find(|c| refused(*c)) {
        Some(c) => Err(format!("{c:?} cannot be in a name")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_root_and_cluster() {
        let layout = Layout::new("streams/prod", "/eu").expect("valid");
        let scope = Scope::parse("shared/rules").expect("valid");
        assert_eq!(layout.config(&scope), "/streams/prod/eu/config/shared/rules");
        assert_eq!(
            layout.config_revision(&scope, 7),
            "/streams/prod/eu/config-history/shared/rules/0000000007"
        );
        assert_eq!(Layout::new(DEFAULT_ROOT, DEFAULT_CLUSTER_ID).expect("valid"), Layout::default());
        assert_eq!(layout.job_document("j1", JobPart::Checkpoint), "/streams/prod/eu/jobs/j1/checkpoint");
        assert_eq!(JobPart::of("result"), Some(JobPart::Result));
        assert!(Layout::new("/a//b", "/c").is_err());
        assert!(Layout::new("", "/c").is_err());
    }
}
