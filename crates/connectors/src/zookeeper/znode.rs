//! A znode as records have it, and what can be followed.

use serde::{Deserialize, Serialize};
use streamkeeper_zookeeper::Stat;

/// A znode at one moment, or its deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZNode {
    /// Its path, below the chroot if there is one.
    pub path: String,
    /// Its data; `None`: it was deleted. The other fields are then those it had last.
    pub data: Option<Vec<u8>>,
    /// How often its data were written since it was created.
    pub version: i32,
    /// The transaction that created it.
    pub czxid: i64,
    /// The transaction that wrote its data last.
    pub mzxid: i64,
    /// When it was created, in ms since 1970.
    pub ctime_ms: i64,
    /// When its data were written last, in ms since 1970.
    pub mtime_ms: i64,
    /// The session that it goes with; 0 if it is not ephemeral.
    pub ephemeral_owner: i64,
}

impl ZNode {
    pub(crate) fn new(path: String, data: Vec<u8>, stat: &Stat) -> Self {
        Self {
            path,
            data: Some(data),
            version: stat.version,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            ephemeral_owner: stat.ephemeral_owner,
        }
    }

    /// Its data as text; what is no UTF-8 becomes U+FFFD. Empty if it was deleted.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.data.as_deref().unwrap_or_default()).into_owned()
    }

    /// Whether this is its deletion.
    pub fn is_deleted(&self) -> bool {
        self.data.is_none()
    }

    /// Its deletion.
    pub(crate) fn deleted(self) -> Self {
        Self { data: None, ..self }
    }

    /// What it takes in memory, about.
    pub(crate) fn num_bytes(&self) -> usize {
        size_of::<Self>() + self.path.len() + self.data.as_ref().map_or(0, Vec::len)
    }
}

/// What of the tree is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The znode itself.
    Node,
    /// Its children, not itself.
    Children,
    /// All below it, not itself.
    Tree,
}

impl Mode {
    /// Whether `path` is among what is followed at `root`.
    pub(crate) fn holds(self, root: &str, path: &str) -> bool {
        match (self, below(root, path)) {
            (Self::Node, _) => path == root,
            (Self::Children, Some(rest)) => !rest.contains('/'),
            (Self::Tree, Some(_)) => true,
            (_, None) => false,
        }
    }
}

/// `path` seen from `root`: what comes behind the slash; `None` if it is not below it.
pub(crate) fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let rest =
        if root == "/" { path.strip_prefix('/')? } else { path.strip_prefix(root)?.strip_prefix('/')? };
    (!rest.is_empty()).then_some(rest)
}

/// The path of what `name` means at `root`.
pub(crate) fn join(root: &str, name: &str) -> String {
    if root == "/" { format!("/{name}") } else { format!("{root}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed() {
        assert!(Mode::Node.holds("/a", "/a") && !Mode::Node.holds("/a", "/a/b"));
        for (root, path, children, tree) in [
            ("/a", "/a", false, false),
            ("/a", "/a/b", true, true),
            ("/a", "/a/b/c", false, true),
            ("/a", "/ab", false, false),
            ("/", "/a", true, true),
            ("/", "/a/b", false, true),
            ("/", "/", false, false),
        ] {
            assert_eq!(Mode::Children.holds(root, path), children, "{root} {path}");
            assert_eq!(Mode::Tree.holds(root, path), tree, "{root} {path}");
        }
        assert_eq!((join("/", "a"), join("/a", "b/c")), ("/a".into(), "/a/b/c".into()));
    }
}
