//! A configuration document: one revision of its data, as it stands in a znode.
//!
//! Invariant: a document that [`Document::decode`] gives is within the size limit, of a version that this build knows, and
//! valid by its own schema. [`Document::encode`] refuses what `decode` would refuse.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::Schema;
use super::secret;

pub use crate::document::{MAX_BYTES, VERSION, WARN_BYTES};

/// Revisions go no further: ten digits.
pub const MAX_REVISION: u64 = 9_999_999_999;

/// `{"v":1,"revision":7,"author":"ada","time":"2026-11-24T19:43:44Z","comment":"…","schema":{…},"data":{…}}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// [`VERSION`].
    pub v: u32,
    /// Number of the revision, from 1, one higher with each write.
    pub revision: u64,
    /// Who wrote it.
    #[serde(default)]
    pub author: String,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// What `data` must look like: see [`Schema`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// What jobs read.
    pub data: Value,
}

impl Document {
    /// The text of the znode.
    ///
    /// # Errors
    /// Says, one complaint a line, why the document must not be written.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        self.check()?;
        let text = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        check_size(text.len())?;
        Ok(text)
    }

    /// Reads a znode.
    ///
    /// # Errors
    /// Says what is wrong with it. The text contains no value of the document.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        check_size(bytes.len())?;
        // The version first: a later one may have other fields.
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let fail = |e: serde_json::Error| {
            format!(
                "it is no configuration document: {e}; documents look like {{\"v\":{VERSION},\"revision\":1,\"data\":{{…}}}}"
            )
        };
        let Version { v } = serde_json::from_slice(bytes).map_err(fail)?;
        if v != VERSION {
            return Err(format!("it has version {v}; this build reads version {VERSION}"));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(fail)?;
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<(), String> {
        if self.revision == 0 {
            return Err("its revision is 0; revisions count from 1".into());
        }
        if self.revision > MAX_REVISION {
            return Err(format!("its revision is {}; revisions end at {MAX_REVISION}", self.revision));
        }
        if !self.time.is_empty() {
            chrono::DateTime::parse_from_rfc3339(&self.time)
                .map_err(|e| format!("its time `{}` is not RFC 3339: {e}", self.time))?;
        }
        if !self.data.is_object() {
            return Err("its data is no JSON object".into());
        }
        secret::check(&self.data)?;
        let Some(schema) = &self.schema else { return Ok(()) };
        let schema = Schema::parse(schema).map_err(|e| format!("its schema cannot be used: {e}"))?;
        let complaints = schema.validate(&self.data);
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }
}

fn check_size(bytes: usize) -> Result<(), String> {
    if bytes > MAX_BYTES {
        return Err(format!(
            "it has {bytes} bytes, the limit is {MAX_BYTES}; split it into several documents"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(data: Value) -> Document {
        Document {
            v: VERSION,
            revision: 7,
            author: "ada".into(),
            time: "2026-11-24T19:43:44Z".into(),
            comment: String::new(),
            schema: None,
            data,
        }
    }

    #[test]
    fn a_document_comes_back() {
        let written = document(json!({"threshold": 5, "deep": {"a": [1, 2]}}));
        let text = written.encode().expect("valid");
        assert_eq!(Document::decode(&text), Ok(written));
        assert!(text.starts_with(br#"{"v":1,"revision":7,"author":"ada","time""#));
        let shortest = Document::decode(br#"{"v":1,"revision":1,"data":{}}"#).expect("the rest is optional");
        assert_eq!((shortest.author.as_str(), shortest.schema), ("", None));
    }

    #[test]
    fn what_is_no_document_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no configuration document"),
            ("{\"threshold\": 5}", "missing field `v`"),
            (r#"{"v":2,"revision":1,"data":{},"new":1}"#, "version 2; this build reads version 1"),
            (r#"{"v":1,"revision":0,"data":{}}"#, "count from 1"),
            (r#"{"v":1,"revision":1,"data":[]}"#, "no JSON object"),
            (r#"{"v":1,"revision":1,"data":{},"extra":1}"#, "unknown field `extra`"),
            (r#"{"v":1,"revision":1,"time":"yesterday","data":{}}"#, "not RFC 3339"),
            (r#"{"v":1,"revision":1,"schema":{"type":"objekt"},"data":{}}"#, "`type` at the top must be"),
            (r#"{"v":1,"revision":10000000000,"data":{}}"#, "revisions end at 9999999999"),
            (
                r#"{"v":1,"revision":1,"schema":{"properties":{"a":{"type":"integer"}}},"data":{"a":"x"}}"#,
                "/a: ",
            ),
        ] {
            let error = Document::decode(text.as_bytes()).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_neither_written_nor_read() {
        let large = document(json!({"text": "x".repeat(MAX_BYTES)}));
        assert!(large.encode().expect_err("too large").contains("the limit is 262144"));
        let text = serde_json::to_vec(&large).expect("JSON");
        assert!(Document::decode(&text).expect_err("too large").contains("the limit is 262144"));
    }
}
