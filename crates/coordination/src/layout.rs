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
        assert!(Layout::new("/a//b", "/c").is_err());
        assert!(Layout::new("", "/c").is_err());
    }
}
