//! `CONFIG('doc', 'key')` and `CONFIG_REVISION('doc')`: what the configuration in force says.
//!
//! Between two barriers both are constants. So they are no kernels: whoever runs an expression with them replaces them by
//! their values when a configuration comes into force ([`bind_config`]). Invariant: they are never folded before that, since
//! they are not deterministic, and an expression that still has one does not evaluate.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use serde_json::Value;
use streamkeeper_connectors::schema::TypeKind;
use streamkeeper_dataflow::live_config::ConfigSnapshot;

use super::eval::Args;
use super::functions::signature::{Function, Nulls, function, string};
use super::{EvalError, ScalarExpr};

/// The two functions.
pub(crate) const TABLE: &[Function] = &[
    function("CONFIG", "SS", string, Nulls::Always, unbound),
    function("CONFIG_REVISION", "S", |_| TypeKind::BigInt, Nulls::Always, unbound),
];

fn unbound(_: &Args<'_>) -> Result<ArrayRef, EvalError> {
    Err(EvalError("CONFIG is evaluated where no configuration is in force".into()))
}

/// Whether the function `name` reads the configuration.
pub(crate) fn reads_config(name: &str) -> bool {
    TABLE.iter().any(|function| function.name == name)
}

/// The names of the documents that `expr` reads.
pub(crate) fn documents(expr: &ScalarExpr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    visit(expr, &mut names);
    names
}

fn visit(expr: &ScalarExpr, into: &mut BTreeSet<String>) {
    match expr {
        ScalarExpr::Column { .. } | ScalarExpr::Literal { .. } => {}
        ScalarExpr::Cast { input, .. } => visit(input, into),
        ScalarExpr::Call { function, args, .. } => {
            if reads_config(function) {
                into.extend(args.first().and_then(text).map(str::to_owned));
            }
            args.iter().for_each(|arg| visit(arg, into));
        }
    }
}

/// `expr` with what `config` says in place of the calls.
pub(crate) fn bind_config(expr: &ScalarExpr, config: &ConfigSnapshot) -> ScalarExpr {
    expr.rewrite(&|node| match &node {
        ScalarExpr::Call { function, args, data_type } if reads_config(function) => {
            let document = args.first().and_then(text).and_then(|name| config.document(name));
            let value: ArrayRef = if *function == "CONFIG" {
                let key = args.get(1).and_then(text);
                let value = document.zip(key).and_then(|(document, key)| lookup(&document.data, key));
                Arc::new(StringArray::from(vec![value]))
            } else {
                let revision = document.and_then(|document| i64::try_from(document.revision).ok());
                Arc::new(Int64Array::from(vec![revision]))
            };
            ScalarExpr::Literal { value, data_type: data_type.clone() }
        }
        _ => node,
    })
}

/// The text of a literal, also below the cast to STRING that its coercion is.
pub(crate) fn text(expr: &ScalarExpr) -> Option<&str> {
    match expr {
        ScalarExpr::Literal { value, .. } => {
            let value = value.as_string_opt::<i32>()?;
            value.is_valid(0).then(|| value.value(0))
        }
        ScalarExpr::Cast { input, .. } => text(input),
        _ => None,
    }
}

/// The value at `key` of a document: a JSON pointer (RFC 6901) if it begins with `/` or is empty, else names and indices
/// joined by dots. A string as it is, null as NULL, anything else as JSON.
fn lookup(data: &Value, key: &str) -> Option<String> {
    let value = if key.is_empty() || key.starts_with('/') {
        data.pointer(key)?
    } else {
        key.split('.').try_fold(data, |value, name| match value {
            Value::Object(object) => object.get(name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })?
    };
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use streamkeeper_dataflow::live_config::ConfigDocument;

    use super::*;
    use crate::expr::{call, literal_string};

    #[test]
    fn keys_are_dotted_or_json_pointers() {
        let data = json!({"a": {"b.c": 1.50, "list": [{"x": "y"}, null]}, "flag": true, "a/b": "slash"});
        for (key, expected) in [
            ("flag", Some("true")),
            ("a.list.0.x", Some("y")),
            ("a.list.1", None),
            ("a.list.2", None),
            ("/a/b.c", Some("1.5")),
            ("/a~1b", Some("slash")),
            ("a.list", Some(r#"[{"x":"y"},null]"#)),
            ("b", None),
            ("flag.x", None),
        ] {
            assert_eq!(lookup(&data, key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn calls_become_what_the_configuration_says() {
        let threshold =
            call("CONFIG", vec![literal_string("rules"), literal_string("threshold")]).expect("typed");
        let revision = call("CONFIG_REVISION", vec![literal_string("rules")]).expect("typed");
        assert!(!threshold.is_constant() && !revision.is_constant());
        assert_eq!(documents(&threshold), BTreeSet::from(["rules".to_owned()]));
        let document = ConfigDocument { revision: 7, data: json!({"threshold": 5}) };
        let config = ConfigSnapshot::from_iter([("rules".to_owned(), document)]);
        let shown = |config| {
            (bind_config(&threshold, config).to_string(), bind_config(&revision, config).to_string())
        };
        assert_eq!(shown(&config), ("'5':STRING".into(), "7:BIGINT".into()));
        assert_eq!(shown(&ConfigSnapshot::default()), ("null:STRING".into(), "null:BIGINT".into()));
    }
}
