//! Compiled regular expressions, each compiled once a thread.
//!
//! Invariant: a pattern means what it means to `java.util.regex`: `\d`, `\w` and `\s` are of ASCII only.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use crate::expr::EvalError;

/// How many compiled patterns a thread keeps; when patterns come from data, all are dropped then.
const KEPT: usize = 256;
/// How many bytes a compiled pattern may take.
const SIZE_LIMIT: usize = 8 << 20;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Option<Regex>>> = RefCell::new(HashMap::new());
}

/// The patterns of one call on one batch.
#[derive(Default)]
pub(crate) struct Patterns {
    last: String,
    compiled: Option<Option<Regex>>,
}

impl Patterns {
    /// The compiled pattern, `None` when it is malformed.
    ///
    /// # Errors
    /// When it uses look-around or a back reference, which only `java.util.regex` has.
    pub(crate) fn get(&mut self, pattern: &str) -> Result<Option<&Regex>, EvalError> {
        if self.compiled.is_none() || self.last != pattern {
            pattern.clone_into(&mut self.last);
            self.compiled = Some(cached(pattern)?);
        }
        Ok(self.compiled.as_ref().and_then(Option::as_ref))
    }
}

fn cached(pattern: &str) -> Result<Option<Regex>, EvalError> {
    COMPILED.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(pattern) {
            return Ok(regex.clone());
        }
        let compiled = RegexBuilder::new(&as_in_java(pattern)).crlf(true).size_limit(SIZE_LIMIT).build();
        let regex = match compiled {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                if text.contains("look-around") || text.contains("backreference") {
                    return Err(EvalError(format!(
                        "the pattern '{pattern}' uses look-around or a back reference, which is not supported here"
                    )));
                }
                None
            }
        };
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

fn as_in_java(pattern: &str) -> String {
    let mut java = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            java.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => java.push_str("[0-9]"),
            Some('D') => java.push_str("[^0-9]"),
            Some('w') => java.push_str("[a-zA-Z0-9_]"),
            Some('W') => java.push_str("[^a-zA-Z0-9_]"),
            Some('s') => java.push_str(r"[ \t\n\x0B\f\r]"),
            Some('S') => java.push_str(r"[^ \t\n\x0B\f\r]"),
            Some('Z') => java.push_str(r"\z"),
            Some('Q') => {
                let quoted: String = chars.by_ref().collect();
                let (text, rest) = quoted.split_once(r"\E").unwrap_or((&quoted, ""));
                java.push_str(&regex::escape(text));
                java.push_str(&as_in_java(rest));
                return java;
            }
            Some(c) if !c.is_ascii() => java.push(c),
            Some(other) => java.extend(['\\', other]),
            None => java.push('\\'),
        }
    }
    java
}

/// The regular expression of a SIMILAR TO pattern: it has to match the whole text.
pub(crate) fn similar(pattern: &str, escape: Option<char>) -> Result<String, EvalError> {
    const CLASSES: [(&str, &str); 8] = [
        ("[:ALPHA:]", r"\p{Alphabetic}"),
        ("[:DIGIT:]", "0-9"),
        ("[:UPPER:]", "A-Z"),
        ("[:LOWER:]", "a-z"),
        ("[:ALNUM:]", "a-zA-Z0-9"),
        ("[:SPACE:]", " "),
        ("[:WHITESPACE:]", r"\s"),
        ("[:alpha:]", "a-zA-Z"),
    ];
    let mut out = String::from("^(?:");
    let mut in_class = false;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if in_class && let Some((name, class)) = CLASSES.iter().find(|(name, _)| rest.starts_with(name)) {
            out.push_str(class);
            rest = &rest[name.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if Some(c) == escape {
            let Some(next) = rest.chars().next() else {
                return Err(EvalError(format!("the pattern '{pattern}' ends with its escape character")));
            };
            out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            rest = &rest[next.len_utf8()..];
            continue;
        }
        match c {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        match c {
            '%' if !in_class => out.push_str("(?:.|\n)*"),
            '_' if !in_class => out.push('.'),
            '\\' => out.push_str(r"\\"),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}
