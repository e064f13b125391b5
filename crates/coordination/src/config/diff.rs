//! What differs between two JSON values, path by path.

use std::fmt;

use serde_json::Value;

use super::schema::escape;

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// JSON pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// The value before; none if it was not there.
    pub old: Option<Value>,
    /// The value after; none if it is gone.
    pub new: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "~ {path}: {old} -> {new}"),
            (None, Some(new)) => write!(f, "+ {path}: {new}"),
            (Some(old), None) => write!(f, "- {path}: {old}"),
            (None, None) => write!(f, "  {path}"),
        }
    }
}

/// The changes that lead from `old` to `new`: objects by name, arrays by index, in the order of `old` and then of `new`.
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    collect(Some(old), Some(new), &mut String::new(), &mut changes);
    changes
}

fn collect(old: Option<&Value>, new: Option<&Value>, path: &mut String, into: &mut Vec<Change>) {
    let mut child = |name: &str, old, new| {
        let length = path.len();
        path.push('/');
        path.push_str(&escape(name));
        collect(old, new, path, into);
        path.truncate(length);
    };
    match (old, new) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (name, value) in before {
                child(name, Some(value), after.get(name));
            }
            for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                child(name, None, Some(value));
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for i in 0..before.len().max(after.len()) {
                child(&i.to_string(), before.get(i), after.get(i));
            }
        }
        (old, new) if old == new => {}
        (old, new) => into.push(Change { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_path_by_path() {
        let old = json!({"threshold": 5, "gone": {"x": 1}, "list": [1, 2, 3], "same": [{"a": null}]});
        let new = json!({"threshold": 7.5, "list": [1, 4], "same": [{"a": null}], "a/b": "new"});
        let lines: Vec<String> = diff(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(
            lines,
            [
                "~ /threshold: 5 -> 7.5",
                r#"- /gone: {"x":1}"#,
                "~ /list/1: 2 -> 4",
                "- /list/2: 3",
                r#"+ /a~1b: "new""#,
            ]
        );
        assert_eq!(diff(&new, &new), []);
    }

    #[test]
    fn another_type_is_one_change() {
        let lines: Vec<String> = diff(&json!({}), &json!([])).iter().map(Change::to_string).collect();
        assert_eq!(lines, ["~ /: {} -> []"]);
    }
}
