//! JSON Schema, as much of it as configuration needs, and one keyword of ours.
//!
//! `type` (one or several), `properties`, `required`, `additionalProperties`, `items`, `enum`, `minimum`, `maximum`,
//! `pattern`, with the meaning that JSON Schema 2020-12 gives them, and `secret: true`: the value is a reference or
//! ciphertext ([`super::secret`]), never plain. `title`, `description`, `default` and `$schema` are allowed and say nothing.
//! Invariant: any other keyword is refused, so nothing that a schema asks for is skipped in silence; and no message shows a
//! value that could be a secret.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::secret;

/// Complaints beyond these are not listed.
const MAX_COMPLAINTS: usize = 20;

/// Schemas nest no deeper.
const MAX_DEPTH: usize = 32;

/// Memory of one compiled pattern, bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// A schema, checked and ready.
#[derive(Debug, Default)]
pub struct Schema {
    /// Empty: any.
    types: Vec<&'static str>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    additional: Additional,
    items: Option<Box<Schema>>,
    one_of: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    pattern: Option<Regex>,
    secret: bool,
}

#[derive(Debug, Default)]
enum Additional {
    #[default]
    Allowed,
    Refused,
    Like(Box<Schema>),
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// Names the keyword that is wrong or unknown, and where it is.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        Self::parse_at(schema, "", 0)
    }

    fn parse_at(schema: &Value, at: &str, depth: usize) -> Result<Self, String> {
        let place = if at.is_empty() { "the top" } else { at };
        if depth > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
        }
        let Value::Object(keywords) = schema else {
            return Err(format!("at {place} there is no JSON object"));
        };
        let mut parsed = Self::default();
        for (keyword, value) in keywords {
            let fail = |expected: &str| format!("`{keyword}` at {place} must be {expected}");
            match keyword.as_str() {
                "title" | "description" | "default" | "$schema" => {}
                "type" => {
                    parsed.types = types(value)
                        .ok_or_else(|| fail(&format!("one or several of {}", TYPES.join(", "))))?
                }
                "properties" => {
                    let Value::Object(properties) = value else { return Err(fail("an object of schemas")) };
                    for (name, property) in properties {
                        let at = format!("{at}/properties/{}", escape(name));
                        parsed.properties.insert(name.clone(), Self::parse_at(property, &at, depth + 1)?);
                    }
                }
                "required" => parsed.required = strings(value).ok_or_else(|| fail("an array of names"))?,
                "additionalProperties" => {
                    parsed.additional = match value {
                        Value::Bool(true) => Additional::Allowed,
                        Value::Bool(false) => Additional::Refused,
                        other => {
                            let at = format!("{at}/additionalProperties");
                            Additional::Like(Box::new(Self::parse_at(other, &at, depth + 1)?))
                        }
                    };
                }
                "items" => {
                    parsed.items = Some(Box::new(Self::parse_at(value, &format!("{at}/items"), depth + 1)?));
                }
                "enum" => parsed.one_of = Some(value.as_array().ok_or_else(|| fail("an array"))?.clone()),
                "minimum" => parsed.minimum = Some(value.as_f64().ok_or_else(|| fail("a number"))?),
                "maximum" => parsed.maximum = Some(value.as_f64().ok_or_else(|| fail("a number"))?),
                "pattern" => {
                    let pattern = value.as_str().ok_or_else(|| fail("a regular expression"))?;
                    let regex = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
                    parsed.pattern = Some(regex.map_err(|e| fail(&format!("a regular expression: {e}")))?);
                }
                "secret" => parsed.secret = value.as_bool().ok_or_else(|| fail("true or false"))?,
                _ => {
                    return Err(format!(
                        "`{keyword}` at {place} is not among the keywords that are understood: type, properties, \
                         required, additionalProperties, items, enum, minimum, maximum, pattern, secret"
                    ));
                }
            }
        }
        Ok(parsed)
    }

    /// What is wrong with `data`: nothing, or a sentence for each place, as `/path: what`.
    pub fn validate(&self, data: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        self.check(data, &mut String::new(), &mut complaints);
        if complaints.len() > MAX_COMPLAINTS {
            complaints.truncate(MAX_COMPLAINTS);
            complaints.push("… and more".into());
        }
        complaints
    }

    fn check(&self, value: &Value, at: &mut String, complaints: &mut Vec<String>) {
        if complaints.len() > MAX_COMPLAINTS {
            return;
        }
        let place = if at.is_empty() { "/" } else { at.as_str() };
        if secret::is_secret(value) {
            return;
        }
        if self.secret {
            complaints.push(format!(
                "{place}: this is a secret: write {{\"$secret\": {{\"env\": \"NAME\"}}}} or {{\"$secret\": {{\"file\": \"/path\"}}}}, or seal it"
            ));
            return;
        }
        if !self.types.is_empty() && !self.types.iter().any(|t| has_type(value, t)) {
            complaints.push(format!(
                "{place}: it is {}, and must be {}",
                type_of(value),
                self.types.join(" or ")
            ));
            return;
        }
        if let Some(allowed) = &self.one_of
            && !allowed.contains(value)
        {
            complaints.push(format!(
                "{place}: {} is not among {}",
                short(value),
                short(&Value::Array(allowed.clone()))
            ));
        }
        match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                if let Some(minimum) = self.minimum.filter(|minimum| number < *minimum) {
                    complaints.push(format!("{place}: {} is less than the minimum {minimum}", short(value)));
                }
                if let Some(maximum) = self.maximum.filter(|maximum| number > *maximum) {
                    complaints.push(format!("{place}: {} is more than the maximum {maximum}", short(value)));
                }
            }
            Value::String(text) => {
                if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
                    complaints.push(format!("{place}: {} does not match `{pattern}`", short(value)));
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (i, item) in items.iter().enumerate() {
                        below(at, &i.to_string(), |at| schema.check(item, at, complaints));
                    }
                }
            }
            Value::Object(object) => self.check_object(object, at, complaints),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn check_object(&self, object: &Map<String, Value>, at: &mut String, complaints: &mut Vec<String>) {
        let place = if at.is_empty() { "/" } else { at.as_str() };
        for name in self.required.iter().filter(|name| !object.contains_key(*name)) {
            complaints.push(format!("{place}: `{name}` is missing"));
        }
        for (name, value) in object {
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => below(at, name, |at| schema.check(value, at, complaints)),
                (None, Additional::Allowed) => {}
                (None, Additional::Like(schema)) => below(at, name, |at| schema.check(value, at, complaints)),
                (None, Additional::Refused) => {
                    let known: Vec<&str> = self.properties.keys().map(String::as_str).collect();
                    complaints.push(format!(
                        "{at}/{}: there is no such property; there are: {}",
                        escape(name),
                        known.join(", ")
                    ));
                }
            }
        }
    }
}

/// Runs `step` with `at` longer by `name`.
fn below(at: &mut String, name: &str, step: impl FnOnce(&mut String)) {
    let length = at.len();
    at.push('/');
    at.push_str(&escape(name));
    step(at);
    at.truncate(length);
}

/// A reference token of a JSON pointer (RFC 6901).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn types(value: &Value) -> Option<Vec<&'static str>> {
    let known = |name: &str| TYPES.into_iter().find(|t| *t == name);
    match value {
        Value::String(name) => Some(vec![known(name)?]),
        Value::Array(names) if !names.is_empty() => names.iter().map(|n| known(n.as_str()?)).collect(),
        _ => None,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `integer` is any number without a fraction, 1.0 too (JSON Schema 2020-12, 6.1.1).
fn has_type(value: &Value, name: &str) -> bool {
    type_of(value) == name || (name == "integer" && value.as_f64().is_some_and(|n| n.fract() == 0.0))
}

/// A value for a message; what could hold secrets is not shown.
fn short(value: &Value) -> String {
    if value.is_object() {
        return "this object".into();
    }
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(schema: Value, data: Value) -> Vec<String> {
        Schema::parse(&schema).expect("a valid schema").validate(&data)
    }

    #[test]
    fn each_keyword_is_checked_where_it_stands() {
        let schema = json!({
            "type": "object", "required": ["threshold"], "additionalProperties": false,
            "properties": {
                "threshold": {"type": "number", "minimum": 0, "maximum": 100},
                "mode": {"enum": ["fast", "safe"]},
                "name": {"type": ["string", "null"], "pattern": "^[a-z]+$"},
                "ports": {"type": "array", "items": {"type": "integer"}},
                "labels": {"additionalProperties": {"type": "string"}},
            }
        });
        let good =
            json!({"threshold": 1.5, "mode": "fast", "name": null, "ports": [1, 2.0], "labels": {"a": "b"}});
        assert_eq!(complaints(schema.clone(), good), Vec::<String>::new());
        let bad = json!({"mode": "slow", "name": "A1", "ports": [1, 2.5, "x"], "labels": {"a/b": 1}, "x": 0});
        assert_eq!(
            complaints(schema.clone(), bad),
            [
                "/: `threshold` is missing",
                r#"/mode: "slow" is not among ["fast","safe"]"#,
                r#"/name: "A1" does not match `^[a-z]+$`"#,
                "/ports/1: it is number, and must be integer",
                "/ports/2: it is string, and must be integer",
                "/labels/a~1b: it is number, and must be string",
                "/x: there is no such property; there are: labels, mode, name, ports, threshold",
            ]
        );
        assert_eq!(
            complaints(schema.clone(), json!({"threshold": -1})),
            ["/threshold: -1 is less than the minimum 0"]
        );
        assert_eq!(
            complaints(schema, json!({"threshold": 101})),
            ["/threshold: 101 is more than the maximum 100"]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (schema, reason) in [
            (json!({"properties": {"a": {"minLength": 1}}}), "`minLength` at /properties/a is not among"),
            (json!({"type": "objekt"}), "`type` at the top must be one or several of object"),
            (json!({"pattern": "("}), "must be a regular expression"),
            (json!({"pattern": "(a{1000}){1000}"}), "must be a regular expression"),
            (json!({"items": true}), "at /items there is no JSON object"),
            (json!([]), "at the top there is no JSON object"),
        ] {
            let error = Schema::parse(&schema).expect_err("invalid");
            assert!(error.contains(reason), "{error}");
        }
        let deep = (0..40).fold(json!({}), |inner, _| json!({"items": inner}));
        assert!(Schema::parse(&deep).expect_err("too deep").contains("deeper than 32"));
    }

    #[test]
    fn a_plain_secret_is_refused_and_not_shown() {
        let schema = json!({"properties": {"password": {"type": "string", "secret": true}}});
        let told = complaints(schema.clone(), json!({"password": "hunter2"}));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("/password: this is a secret") && !told[0].contains("hunter2"),
            "{told:?}"
        );
        assert!(complaints(schema, json!({"password": {"$secret": {"env": "PASSWORD"}}})).is_empty());
    }

    #[test]
    fn complaints_are_bounded() {
        let data = Value::Array((0..1000).map(|_| json!("x")).collect());
        let told = complaints(json!({"items": {"type": "integer"}}), data);
        assert_eq!((told.len(), told[20].as_str()), (21, "… and more"));
    }
}
