//! What a write does: the new revision and its place in the history, as one transaction.
//!
//! Invariant: a revision number is used once, also when the znode was deleted or spoilt by a foreign edit. The new revision
//! is valid. After the transaction, every revision that ever was in force and is among the newest [`MAX_REVISIONS`], or
//! named as kept, is in the history.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Scope;
use super::document::{Document, VERSION, WARN_BYTES};
use super::follow::Followed;
use crate::error::{Error, Result};

/// So many revisions are kept.
pub const MAX_REVISIONS: usize = 100;

/// One transaction deletes no more old revisions than these; the next go on.
const MAX_DELETES: usize = 50;

/// What is found in ZooKeeper.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Text and version of the document's znode, if it is there.
    pub current: Option<(Vec<u8>, i32)>,
    /// The revisions in the history, in order.
    pub revisions: Vec<u64>,
    /// The newest valid one of them.
    pub newest: Option<Document>,
}

impl Found {
    /// The revision in force, and why the znode's content is not if it is another.
    pub fn followed(&self) -> Followed {
        let mut followed = Followed::new(self.newest.clone());
        followed.observe(self.current.as_ref().map(|(text, _)| text.as_slice()));
        followed
    }
}

/// What becomes of the schema.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaEdit {
    /// It stays.
    Keep,
    /// This is it from now on.
    Replace(Value),
    /// There is none from now on.
    Drop,
}

/// A change that somebody wants.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Who.
    pub author: String,
    /// When, RFC 3339.
    pub time: String,
    /// Why.
    pub comment: String,
    /// The new content.
    pub data: Value,
    /// The new schema.
    pub schema: SchemaEdit,
    /// The revision that was looked at, 0 for none; if given, the write is refused when it is no longer in force.
    pub expected: Option<u64>,
}

/// One transaction: the document is created or set at `version`, the `archive` is created, `delete` is deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The new revision.
    pub document: Document,
    /// Its text.
    pub text: Vec<u8>,
    /// The version of the znode to replace; none to create it.
    pub version: Option<i32>,
    /// Revisions that enter the history: the new one, and a foreign edit that it replaces.
    pub archive: Vec<(u64, Vec<u8>)>,
    /// Revisions that leave it.
    pub delete: Vec<u64>,
    /// Something that the user should know.
    pub warning: Option<String>,
}

/// Plans `edit`. Revisions in `kept` (those that a retained checkpoint names) stay in the history however old they are.
///
/// # Errors
/// [`Error::Conflict`] when another revision than the expected one is in force, [`Error::InvalidDocument`] when the new one
/// would not be valid.
pub fn plan(scope: &Scope, found: &Found, edit: Edit, kept: &BTreeSet<u64>) -> Result<Plan> {
    let followed = found.followed();
    let in_force = followed.in_force();
    let at = in_force.map_or(0, |document| document.revision);
    if let Some(expected) = edit.expected.filter(|expected| *expected != at) {
        return Err(Error::Conflict { scope: scope.to_string(), expected, found: at });
    }
    let schema = match edit.schema {
        SchemaEdit::Keep => in_force.and_then(|document| document.schema.clone()),
        SchemaEdit::Replace(schema) => Some(schema),
        SchemaEdit::Drop => None,
    };
    let document = Document {
        v: VERSION,
        revision: at.max(found.revisions.last().copied().unwrap_or(0)) + 1,
        author: edit.author,
        time: edit.time,
        comment: edit.comment,
        schema,
        data: edit.data,
    };
    let text =
        document.encode().map_err(|reason| Error::InvalidDocument { scope: scope.to_string(), reason })?;
    let mut archive = vec![(document.revision, text.clone())];
    if let Some((foreign, _)) = &found.current
        && at > 0
        && !found.revisions.contains(&at)
    {
        archive.push((at, foreign.clone()));
    }
    let mut revisions: BTreeSet<u64> = found.revisions.iter().copied().collect();
    revisions.extend(archive.iter().map(|(revision, _)| *revision));
    let old = revisions.len().saturating_sub(MAX_REVISIONS);
    let delete = revisions.into_iter().take(old).filter(|r| !kept.contains(r)).take(MAX_DELETES).collect();
    let warning = (text.len() > WARN_BYTES).then(|| {
        format!("{scope} has {} bytes: each change is sent whole to every job that reads it", text.len())
    });
    let version = found.current.as_ref().map(|(_, version)| *version);
    Ok(Plan { document, text, version, archive, delete, warning })
}

/// The edit that makes the content and schema of `old` a new revision.
pub fn rollback(old: &Document, author: String, time: String, comment: String) -> Edit {
    Edit {
        author,
        time,
        comment: if comment.is_empty() { format!("rollback to revision {}", old.revision) } else { comment },
        data: old.data.clone(),
        schema: old.schema.clone().map_or(SchemaEdit::Drop, SchemaEdit::Replace),
        expected: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        Scope::Shared("rules".into())
    }

    fn edit(data: Value) -> Edit {
        Edit {
            author: "ada".into(),
            time: "2026-11-24T19:43:44Z".into(),
            comment: String::new(),
            data,
            schema: SchemaEdit::Keep,
            expected: None,
        }
    }

    fn document(revision: u64) -> Document {
        let text = format!(r#"{{"v":1,"revision":{revision},"data":{{"threshold":{revision}}}}}"#);
        Document::decode(text.as_bytes()).expect("valid")
    }

    /// What ZooKeeper holds after `revisions` were written.
    fn written(revisions: std::ops::RangeInclusive<u64>) -> Found {
        let newest = document(*revisions.end());
        let current = Some((newest.encode().expect("valid"), 3));
        Found { current, revisions: revisions.collect(), newest: Some(newest) }
    }

    fn planned(found: &Found, edit: Edit) -> Plan {
        plan(&scope(), found, edit, &BTreeSet::new()).expect("valid")
    }

    #[test]
    fn the_first_write_creates_and_the_next_replaces_that_version() {
        let first = planned(&Found::default(), edit(json!({"threshold": 5})));
        assert_eq!((first.document.revision, first.version), (1, None));
        assert_eq!(first.archive, [(1, first.text.clone())]);
        let next = planned(&written(1..=1), edit(json!({"threshold": 6})));
        assert_eq!((next.document.revision, next.version, next.delete), (2, Some(3), vec![]));
        assert_eq!(next.archive.len(), 1, "revision 1 is in the history");
    }

    #[test]
    fn a_write_that_expected_another_revision_is_refused() {
        let expecting = |expected| {
            let edit = Edit { expected: Some(expected), ..edit(json!({})) };
            plan(&scope(), &written(1..=7), edit, &BTreeSet::new())
        };
        assert!(expecting(7).is_ok());
        assert!(matches!(expecting(6), Err(Error::Conflict { expected: 6, found: 7, .. })));
        assert!(matches!(expecting(0), Err(Error::Conflict { .. })));
    }

    #[test]
    fn the_schema_stays_until_it_is_replaced_or_dropped() {
        let schema = json!({"properties": {"threshold": {"type": "integer"}}});
        let first = planned(
            &Found::default(),
            Edit { schema: SchemaEdit::Replace(schema.clone()), ..edit(json!({"threshold": 5})) },
        );
        let found =
            Found { current: Some((first.text, 0)), revisions: vec![1], newest: Some(first.document) };
        let refused = plan(&scope(), &found, edit(json!({"threshold": "x"})), &BTreeSet::new());
        assert!(
            matches!(refused, Err(Error::InvalidDocument { reason, .. }) if reason.contains("/threshold"))
        );
        let next = planned(&found, edit(json!({"threshold": 6})));
        assert_eq!(next.document.schema, Some(schema));
        let dropped = planned(&found, Edit { schema: SchemaEdit::Drop, ..edit(json!({"threshold": "x"})) });
        assert_eq!(dropped.document.schema, None);
    }

    #[test]
    fn a_revision_number_is_used_once_whatever_became_of_the_znode() {
        let mut spoilt = written(1..=7);
        spoilt.current = Some((b"oops".to_vec(), 9));
        let repaired = planned(&spoilt, edit(json!({})));
        assert_eq!((repaired.document.revision, repaired.version, repaired.archive.len()), (8, Some(9), 1));
        let deleted = Found { current: None, ..written(1..=7) };
        assert_eq!(planned(&deleted, edit(json!({}))).document.revision, 8);
    }

    #[test]
    fn a_foreign_edit_that_was_in_force_enters_the_history() {
        let mut found = written(1..=7);
        let foreign = document(12).encode().expect("valid");
        found.current = Some((foreign.clone(), 9));
        let plan = planned(&found, edit(json!({})));
        assert_eq!(plan.document.revision, 13);
        assert_eq!(plan.archive, [(13, plan.text.clone()), (12, foreign)]);
    }

    #[test]
    fn the_last_hundred_and_those_that_checkpoints_name_are_kept() {
        let full = planned(&written(1..=100), edit(json!({})));
        assert_eq!(full.delete, [1]);
        let kept =
            plan(&scope(), &written(1..=103), edit(json!({})), &BTreeSet::from([2, 4])).expect("valid");
        assert_eq!(kept.delete, [1, 3]);
        let behind = planned(&written(1..=1000), edit(json!({})));
        assert_eq!((behind.delete.len(), behind.delete[0]), (50, 1), "bounded");
    }

    #[test]
    fn a_rollback_is_a_new_revision_with_the_old_content() {
        let plan =
            planned(&written(1..=7), rollback(&document(3), "ada".into(), String::new(), String::new()));
        assert_eq!((plan.document.revision, &plan.document.data), (8, &json!({"threshold": 3})));
        assert_eq!(plan.document.comment, "rollback to revision 3");
    }

    #[test]
    fn a_large_document_is_warned_of() {
        let warning = planned(&Found::default(), edit(json!({"x": "y".repeat(WARN_BYTES)}))).warning;
        assert!(warning.expect("a warning").contains("sent whole"));
    }
}
