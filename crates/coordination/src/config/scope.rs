//! The name of a configuration document.
//!
//! Invariant: the name under which a job addresses a document ([`Scope::of_job`]) means one scope only; so no shared
//! document is called `job` or `cluster`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::layout::check_name;

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `cluster`.
    Cluster,
    /// `job/<name>`: of the job with this name.
    Job(String),
    /// `shared/<doc>`: of all jobs that read it.
    Shared(String),
}

impl Scope {
    /// Reads `cluster`, `job/<name>` or `shared/<doc>`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |reason: String| Error::InvalidName { what: "scope".into(), name: text.into(), reason };
        let scope = match text.split_once('/') {
            None if text == "cluster" => return Ok(Self::Cluster),
            Some(("job", name)) => Self::Job(name.into()),
            Some(("shared", name)) => Self::Shared(name.into()),
            _ => return Err(fail("write it as cluster, job/<name> or shared/<doc>".into())),
        };
        if let Self::Job(name) | Self::Shared(name) = &scope {
            check_name(name).map_err(fail)?;
        }
        if let Self::Shared(name) = &scope
            && (name == "job" || name == "cluster")
        {
            return Err(fail(format!("no shared document can be called `{name}`: a job calls its own so")));
        }
        Ok(scope)
    }

    /// What the job `job` means by the document name `doc`: `job` is its own document, `cluster` the cluster's, any
    /// other name a shared one.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when no document can have that name.
    pub fn of_job(job: &str, doc: &str) -> Result<Self> {
        match doc {
            "cluster" => Ok(Self::Cluster),
            "job" => Self::parse(&format!("job/{job}")),
            shared => Self::parse(&format!("shared/{shared}")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Job(name) => write!(f, "job/{name}"),
            Self::Shared(name) => write!(f, "shared/{name}"),
        }
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written_alike() {
        for text in ["cluster", "job/a job: with spaces", "shared/rules.v2"] {
            assert_eq!(Scope::parse(text).expect("valid").to_string(), text);
        }
        for text in ["", "jobs/a", "shared", "shared/", "shared/a/b", "shared/..", "shared/job", "cluster/x"]
        {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_job_calls_its_documents_by_short_names() {
        let of = |doc| Scope::of_job("etl", doc).expect("valid").to_string();
        assert_eq!(
            (of("rules"), of("job"), of("cluster")),
            ("shared/rules".into(), "job/etl".into(), "cluster".into())
        );
        assert!(Scope::of_job("etl", "a/b").is_err());
    }
}
