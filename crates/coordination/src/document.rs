//! The text of a znode: one JSON object with the version of its format, `{"v":1,…}`.
//!
//! Invariant: what is written is at most [`MAX_BYTES`] long, and can be read again; what is read is within the same limit and of a
//! version that this build knows. Fields that this build does not know are let through, so that a later one may add some.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// The version of all formats that this build writes and reads.
pub const VERSION: u32 = 1;

/// Larger documents are refused, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Larger documents are warned of, in bytes.
pub const WARN_BYTES: usize = 64 * 1024;

/// A document, and the version of its znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// What the znode holds.
    pub value: T,
    /// ZooKeeper's version of its data.
    pub version: i32,
}

/// The text of the znode `path`: `value`, which must be a JSON object, behind the format's version.
///
/// # Errors
/// [`Error::InvalidDocument`] when it is too large.
pub(crate) fn encode<T: Serialize>(path: &str, value: &T) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::InvalidDocument { scope: path.to_owned(), reason };
    let Value::Object(fields) = serde_json::to_value(value).map_err(|error| refused(error.to_string()))?
    else {
        return Err(refused("it is no JSON object".into()));
    };
    let mut object = serde_json::Map::new();
    object.insert("v".into(), VERSION.into());
    object.extend(fields);
    let text = serde_json::to_vec(&object).map_err(|error| refused(error.to_string()))?;
    if text.len() > MAX_BYTES {
        return Err(refused(format!(
            "it has {} bytes, the limit is {MAX_BYTES}; make it smaller",
            text.len()
        )));
    }
    if text.len() > WARN_BYTES {
        tracing::warn!("{path} has {} bytes; documents over {MAX_BYTES} are refused", text.len());
    }
    Ok(text)
}

/// Reads the text of a znode.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8]) -> std::result::Result<T, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, the limit is {MAX_BYTES}", text.len()));
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
    match value.get("v").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(format!("its format has version {version}; this build reads version {VERSION}"));
        }
        None => return Err(format!("it has no version; documents look like {{\"v\":{VERSION},…}}")),
    }
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Reads the text of the znode `path`.
///
/// # Errors
/// [`Error::UnreadableDocument`].
pub(crate) fn read<T: DeserializeOwned>(path: &str, text: &[u8]) -> Result<T> {
    decode(text).map_err(|reason| Error::UnreadableDocument { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn documents_carry_their_version_first_and_come_back() {
        let value = BTreeMap::from([("a", "b")]);
        let text = encode("/x", &value).expect("valid");
        assert_eq!(text, br#"{"v":1,"a":"b"}"#);
        let read: BTreeMap<String, Value> = decode(&text).expect("valid");
        assert_eq!(read["a"], "b");
        assert!(encode("/x", &7).is_err(), "no object");
    }

    #[test]
    fn what_is_no_document_is_refused_with_a_reason() {
        for (text, reason) in
            [("", "no JSON"), ("{}", "no version"), (r#"{"v":2}"#, "has version 2"), ("[1]", "no version")]
        {
            let error = decode::<Value>(text.as_bytes()).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_document_that_is_too_large_is_neither_written_nor_read() {
        let large = BTreeMap::from([("text", "x".repeat(MAX_BYTES))]);
        let refused = encode("/x", &large).expect_err("too large").to_string();
        assert!(
            refused.contains("/x is not written") && refused.contains("the limit is 262144"),
            "{refused}"
        );
        let text = serde_json::to_vec(&large).expect("JSON");
        assert!(decode::<Value>(&text).expect_err("too large").contains("the limit is 262144"));
        let fits = BTreeMap::from([("text", "x".repeat(WARN_BYTES + 1))]);
        assert!(encode("/x", &fits).is_ok(), "only warned of");
    }
}
