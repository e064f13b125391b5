//! What can go wrong between text and plan: one error type that knows where in the text it happened, and draws it.
//!
//! Invariant: lines and columns count from 1, columns in characters; a location always lies in the text as the user
//! wrote it, never in a rewritten one.

use std::fmt::Write as _;

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Span;

/// The part of the work that refused the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The text is no Flink SQL.
    Parse,
    /// The statement is well-formed but means nothing: unknown column, wrong type, duplicate name.
    Validation,
    /// Flink takes it; Streamkeeper does not yet.
    Unsupported,
    /// A database, table or view exists already or does not exist.
    Catalog,
    /// A configuration key or option is unknown or its value is wrong.
    Configuration,
}

/// A place in the text of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// From the first character to behind the last one, in lines and columns.
    pub span: Span,
}

impl Location {
    /// The location of an AST node's span; none for an empty span (a node that was made, not parsed).
    pub fn of(span: Span) -> Option<Self> {
        let start = span.start;
        (start.line > 0).then_some(Self { line: start.line, column: start.column, span })
    }
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// Which part refused it.
    pub kind: ErrorKind,
    /// A sentence: what is wrong and what to do.
    pub message: String,
    /// Where, if the construct has a place in the text. Boxed: errors are rare and results are many.
    pub location: Option<Box<Location>>,
}

impl SqlError {
    /// An error without a place.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), location: None }
    }

    /// The text is not Flink SQL.
    pub fn parse(message: impl Into<String>, span: Span) -> Self {
        Self::new(ErrorKind::Parse, message).at(span)
    }

    /// The statement does not make sense.
    pub fn validation(message: impl Into<String>, span: Span) -> Self {
        Self::new(ErrorKind::Validation, message).at(span)
    }

    /// Flink can, Streamkeeper cannot; `construct` names it as Flink's documentation does.
    pub fn unsupported(construct: impl std::fmt::Display, span: Span) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{construct} is not supported yet")).at(span)
    }

    /// Something in the catalog is missing or in the way.
    pub fn catalog(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Catalog, message)
    }

    /// The same error at a place; the first place given wins.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        if self.location.is_none() {
            self.location = Location::of(span).map(Box::new);
        }
        self
    }

    /// `file:line:column: message`, the line of the text, and carets under the construct.
    pub fn render(&self, text: &str, file: Option<&str>) -> String {
        let mut out = String::new();
        if let Some(file) = file {
            let _ = write!(out, "{file}:");
        }
        let Some(location) = &self.location else {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&self.message);
            return out;
        };
        let _ = write!(out, "{}:{}: {}", location.line, location.column, self.message);
        let line = text.split('\n').nth(location.line.saturating_sub(1) as usize);
        let Some(line) = line.map(|l| l.trim_end_matches('\r')) else { return out };
        let start = (location.column.saturating_sub(1) as usize).min(line.chars().count());
        let span = location.span;
        let end = if span.end.line > span.start.line {
            line.trim_end().chars().count()
        } else {
            span.end.column.saturating_sub(1) as usize
        };
        let number = location.line.to_string();
        let gutter = " ".repeat(number.len());
        let before: String = line.chars().take(start).collect();
        let marked: String = line.chars().skip(start).take(end.saturating_sub(start)).collect();
        let pad = " ".repeat(width(&before));
        let carets = "^".repeat(width(&marked).max(1));
        let shown = line.replace('\t', TAB);
        let _ = write!(out, "\n {gutter} |\n {number} | {shown}\n {gutter} | {pad}{carets}");
        out
    }
}

/// What a tab is drawn as.
const TAB: &str = "    ";

/// Columns of a terminal that the text takes.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c as u32 {
        0x09 => TAB.len(),
        // Combining marks, zero-width characters and variation selectors.
        0x300..=0x36F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        // East Asian wide and fullwidth characters, and emoji.
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

impl From<ParserError> for SqlError {
    /// Takes the position out of the parser's message; its end is found later, from the tokens.
    fn from(error: ParserError) -> Self {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return Self::new(
                    ErrorKind::Parse,
                    "the statement is nested too deeply; split it with views or WITH",
                );
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        let (message, position) = split_position(&message);
        let error = Self::new(ErrorKind::Parse, reword(message));
        match position {
            Some((line, column)) => {
                let start = sqlparser::tokenizer::Location::new(line, column);
                error.at(Span::new(start, start))
            }
            None => error,
        }
    }
}

fn split_position(message: &str) -> (&str, Option<(u64, u64)>) {
    let marker = " at Line: ";
    let Some(at) = message.rfind(marker) else { return (message, None) };
    let mut numbers = message[at + marker.len()..].split(", Column: ").map(|n| n.trim().parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(line), Some(column)) => (&message[..at], Some((line, column))),
        _ => (message, None),
    }
}

/// `Expected: x, found: y` as a sentence.
fn reword(message: &str) -> String {
    let text = message.trim().trim_start_matches("sql parser error: ");
    let text = match text.strip_prefix("Expected") {
        Some(rest) => {
            format!("expected{}", rest.trim_start_matches(':').replacen(", found: ", ", found ", 1))
        }
        None => text.to_string(),
    };
    text.replace("found EOF", "found the end of the statement")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::tokenizer::Location as At;

    #[test]
    fn caret_stands_under_the_construct() {
        let text = "SELECT 1;\n\tSELECT '日本', nope FROM t\n";
        let span = Span::new(At::new(2, 15), At::new(2, 19));
        let error = SqlError::validation("column `nope` does not exist", span);
        let expected = "x.sql:2:15: column `nope` does not exist\n   |\n 2 |     SELECT '日本', nope FROM t\n   |                    ^^^^";
        assert_eq!(error.render(text, Some("x.sql")), expected);
    }

    #[test]
    fn a_location_outside_of_the_text_is_no_panic() {
        let error = SqlError::parse("odd", Span::new(At::new(9, 9), At::new(9, 9)));
        assert_eq!(error.render("a", None), "9:9: odd");
        let error = SqlError::parse("odd", Span::new(At::new(1, 9), At::new(1, 9)));
        assert!(error.render("a", None).ends_with('^'));
    }
}
