//! The configuration that a job's rows are computed under, and may change while it runs.
//!
//! A barrier carries the snapshot in force behind it; the checkpoint of that barrier keeps it. Invariant: the revision of a
//! document never goes back ([`ConfigSnapshot::advance`]), and a document is never taken away, so each committed row was
//! computed under exactly one revision, and later rows under no earlier one.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{OperatorError, OperatorResult};

/// All documents of a job together are no larger, in bytes of JSON: each checkpoint holds them.
pub const MAX_BYTES: usize = 4 << 20;

/// A revision of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// Number of the revision, from 1.
    pub revision: u64,
    /// Its content.
    pub data: Value,
}

/// The documents of a job by the names under which it addresses them, one revision of each.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigSnapshot {
    documents: BTreeMap<String, ConfigDocument>,
}

/// Names and revisions; contents can be long.
impl fmt::Debug for ConfigSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.documents.iter().map(|(name, document)| (name, document.revision)))
            .finish()
    }
}

impl FromIterator<(String, ConfigDocument)> for ConfigSnapshot {
    fn from_iter<I: IntoIterator<Item = (String, ConfigDocument)>>(documents: I) -> Self {
        Self { documents: documents.into_iter().collect() }
    }
}

impl ConfigSnapshot {
    /// The document `name`.
    pub fn document(&self, name: &str) -> Option<&ConfigDocument> {
        self.documents.get(name)
    }

    /// The revision of the document `name`.
    pub fn revision(&self, name: &str) -> Option<u64> {
        Some(self.document(name)?.revision)
    }

    /// All documents, by name.
    pub fn documents(&self) -> impl Iterator<Item = (&str, &ConfigDocument)> {
        self.documents.iter().map(|(name, document)| (name.as_str(), document))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The document `name` as a `T`, with its revision.
    ///
    /// # Errors
    /// When the document does not fit the type: says where, fatally, since it would not fit again.
    ///
    /// ```
    /// # use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
    /// #[derive(serde::Deserialize)]
    /// struct Rules { threshold: f64 }
    /// let data = serde_json::json!({"threshold": 0.5});
    /// let config = ConfigSnapshot::from_iter([("rules".to_owned(), ConfigDocument { revision: 7, data })]);
    /// let (revision, rules) = config.get::<Rules>("rules")?.expect("it is there");
    /// assert_eq!((revision, rules.threshold), (7, 0.5));
    /// # Ok::<(), streamkeeper_dataflow::OperatorError>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> OperatorResult<Option<(u64, T)>> {
        let Some(document) = self.document(name) else { return Ok(None) };
        let value = T::deserialize(&document.data).map_err(|e| {
            OperatorError::fatal(format!(
                "configuration document {name}, revision {}, does not fit {}: {e}",
                document.revision,
                std::any::type_name::<T>()
            ))
        })?;
        Ok(Some((document.revision, value)))
    }

    /// This snapshot with those documents of `newer` whose revision is higher; `None` when there is no such.
    pub fn advance(&self, newer: &Self) -> Option<Self> {
        let mut advanced = self.clone();
        let mut changed = false;
        for (name, document) in &newer.documents {
            if self.revision(name).is_none_or(|revision| revision < document.revision) {
                advanced.documents.insert(name.clone(), document.clone());
                changed = true;
            }
        }
        changed.then_some(advanced)
    }

    /// Whether it is within [`MAX_BYTES`].
    ///
    /// # Errors
    /// Says how large it is.
    pub fn check_size(&self) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|e| e.to_string())?.len();
        if bytes > MAX_BYTES {
            return Err(format!(
                "the job's configuration documents have {bytes} bytes together, the limit is {MAX_BYTES}"
            ));
        }
        Ok(())
    }
}

/// A snapshot in a message: as the text of its JSON, since not every codec can hold JSON's values.
pub(crate) mod as_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use super::ConfigSnapshot;

    pub(crate) fn serialize<S: Serializer>(config: &Arc<ConfigSnapshot>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&serde_json::to_string(config.as_ref()).map_err(ser::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<ConfigSnapshot>, D::Error> {
        let text = String::deserialize(from)?;
        serde_json::from_str(&text).map(Arc::new).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(documents: &[(&str, u64)]) -> ConfigSnapshot {
        let document = |revision| ConfigDocument { revision, data: json!({"threshold": revision}) };
        documents.iter().map(|(name, revision)| ((*name).to_owned(), document(*revision))).collect()
    }

    #[test]
    fn revisions_never_go_back_and_documents_stay() {
        let known = snapshot(&[("a", 5), ("b", 2)]);
        assert_eq!(known.advance(&snapshot(&[("a", 4), ("b", 2)])), None);
        assert_eq!(known.advance(&ConfigSnapshot::default()), None);
        let next = known.advance(&snapshot(&[("a", 4), ("b", 3), ("c", 1)])).expect("b and c are newer");
        assert_eq!(next, snapshot(&[("a", 5), ("b", 3), ("c", 1)]));
    }

    #[test]
    fn a_document_that_does_not_fit_its_type_says_where() {
        #[derive(Debug, Deserialize)]
        struct Rules {
            threshold: String,
        }
        let error = snapshot(&[("rules", 3)]).get::<Rules>("rules").expect_err("a number is no text");
        let text = error.to_string();
        assert!(text.contains("document rules, revision 3") && text.contains("integer `3`"), "{text}");
        assert!(!error.is_recoverable());
        assert!(
            snapshot(&[])
                .get::<Rules>("rules")
                .expect("none is no error")
                .is_none_or(|(_, r)| r.threshold.is_empty())
        );
    }

    #[test]
    fn what_is_too_large_for_a_checkpoint_is_refused() {
        assert!(snapshot(&[("a", 1)]).check_size().is_ok());
        let data = json!("x".repeat(MAX_BYTES));
        let large = ConfigSnapshot::from_iter([("a".to_owned(), ConfigDocument { revision: 1, data })]);
        assert!(large.check_size().expect_err("too large").contains("the limit is 4194304"));
    }
}
