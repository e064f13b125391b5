//! Which revision of a document is in force, for somebody who reads the znode as it changes.
//!
//! Invariant: the revision in force never goes back, and its content never changes; what would do either, or is no valid
//! document, is ignored and kept as a problem. A document that is deleted stays in force.

use super::document::Document;

/// What a look at the znode has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds what is in force already.
    Unchanged,
    /// A newer revision is in force from now on.
    Changed,
    /// It is ignored, for this reason.
    Ignored(String),
}

/// One document as it is followed.
#[derive(Debug, Clone, Default)]
pub struct Followed {
    in_force: Option<Document>,
    problem: Option<String>,
}

impl Followed {
    /// One of which `known` is known to have been in force: the newest valid one of the history.
    pub fn new(known: Option<Document>) -> Self {
        Self { in_force: known, problem: None }
    }

    /// The revision in force.
    pub fn in_force(&self) -> Option<&Document> {
        self.in_force.as_ref()
    }

    /// Why what the znode holds is not in force.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Takes what the znode holds; `None` when there is none.
    pub fn observe(&mut self, text: Option<&[u8]>) -> Verdict {
        let verdict = match (text, &self.in_force) {
            (None, None) => Verdict::Unchanged,
            (None, Some(known)) => Verdict::Ignored(format!(
                "the document was deleted; revision {} stays in force",
                known.revision
            )),
            (Some(text), known) => match judge(known.as_ref(), text) {
                Ok(None) => Verdict::Unchanged,
                Ok(Some(document)) => {
                    self.in_force = Some(document);
                    Verdict::Changed
                }
                Err(reason) => {
                    let stays = known.as_ref().map_or("no revision is in force".into(), |known| {
                        format!("revision {} stays in force", known.revision)
                    });
                    Verdict::Ignored(format!("the znode's content is ignored: {reason}; {stays}"))
                }
            },
        };
        self.problem = match &verdict {
            Verdict::Ignored(reason) => Some(reason.clone()),
            _ => None,
        };
        verdict
    }
}

/// The document in `text` if it is newer than `known`, nothing if it is `known`.
fn judge(known: Option<&Document>, text: &[u8]) -> Result<Option<Document>, String> {
    let document = Document::decode(text)?;
    let Some(known) = known else { return Ok(Some(document)) };
    if document.revision > known.revision {
        Ok(Some(document))
    } else if document.revision < known.revision {
        Err(format!(
            "its revision {} is older than {}; to go back to old content write it as a new revision (config rollback)",
            document.revision, known.revision
        ))
    } else if document == *known {
        Ok(None)
    } else {
        Err(format!("revision {} had another content; a change is a new revision", document.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(revision: u64, threshold: u64) -> Vec<u8> {
        format!(r#"{{"v":1,"revision":{revision},"data":{{"threshold":{threshold}}}}}"#).into_bytes()
    }

    fn in_force(followed: &Followed) -> Option<(u64, u64)> {
        let document = followed.in_force()?;
        Some((document.revision, document.data["threshold"].as_u64()?))
    }

    #[test]
    fn newer_revisions_come_into_force() {
        let mut followed = Followed::default();
        assert_eq!((followed.observe(None), in_force(&followed)), (Verdict::Unchanged, None));
        assert_eq!(
            (followed.observe(Some(&text(1, 5))), in_force(&followed)),
            (Verdict::Changed, Some((1, 5)))
        );
        assert_eq!(
            (followed.observe(Some(&text(1, 5))), in_force(&followed)),
            (Verdict::Unchanged, Some((1, 5)))
        );
        assert_eq!(
            (followed.observe(Some(&text(9, 6))), in_force(&followed)),
            (Verdict::Changed, Some((9, 6)))
        );
    }

    #[test]
    fn an_invalid_edit_is_ignored_and_the_last_good_revision_stays() {
        let mut followed = Followed::new(Document::decode(&text(4, 5)).ok());
        let with_schema =
            br#"{"v":1,"revision":5,"schema":{"properties":{"threshold":{"maximum":9}}},"data":{"threshold":10}}"#;
        for (edit, reason) in [
            (Some(b"threshold = 6".to_vec()), "no configuration document"),
            (Some(text(3, 6)), "older than 4"),
            (Some(text(4, 6)), "had another content"),
            (Some(with_schema.to_vec()), "more than the maximum 9"),
            (None, "deleted"),
        ] {
            assert!(matches!(followed.observe(edit.as_deref()), Verdict::Ignored(_)), "{reason}");
            let problem = followed.problem().expect("a problem");
            assert!(problem.contains(reason) && problem.contains("revision 4 stays in force"), "{problem}");
            assert_eq!(in_force(&followed), Some((4, 5)));
        }
        followed.observe(Some(&text(5, 7)));
        assert_eq!((in_force(&followed), followed.problem()), (Some((5, 7)), None));
    }
}
