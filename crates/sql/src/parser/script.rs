//! A script: its statements, each with its place.
//!
//! `;` ends a statement, but not inside of `STATEMENT SET BEGIN … END`. `BEGIN STATEMENT SET; …; END;` becomes one
//! statement set when its END is there.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::ast::{Spanned, Statement};
use super::cursor::{Cursor, Result};
use super::tokens::{is_word, rewrite, tokenize};
use super::{depth, statement};
use crate::error::SqlError;

/// Splits a script at `;` and parses each statement; empty statements are left out.
///
/// # Errors
/// The first error in the text, with its place.
pub fn parse_script(text: &str) -> Result<Vec<Spanned<Statement>>> {
    let tokens = tokenize(text)?;
    let places = Places::new(text);
    let mut statements = Vec::new();
    for range in split(&tokens) {
        let tokens = &tokens[range];
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
        let start = first.span.start;
        let node = parse_tokens(tokens)?;
        let span = places.offset(start)..places.offset(last.span.end);
        statements.push(Spanned { node, span, line: start.line, column: start.column });
    }
    Ok(statements)
}

fn parse_tokens(original: &[TokenWithSpan]) -> Result<Statement> {
    let mut tokens = original.to_vec();
    let is_block = is_begin(&tokens) && tokens.len() > 3;
    if is_block {
        // BEGIN STATEMENT SET ;
        tokens.drain(..4);
    }
    depth::check(&tokens)?;
    let tokens = rewrite(tokens)?;
    let mut cursor = Cursor::new(tokens.clone());
    let result = if is_block { statement::inserts(&mut cursor) } else { statement::parse(&mut cursor) };
    result.map_err(|error| place(inner_error(error, &tokens), original))
}

/// `sqlparser` tries a bracket behind FROM or IN as a subquery and, when that fails, as a join or a list, whose error it
/// reports. What is wrong in the subquery is what people need to know.
fn inner_error(error: SqlError, tokens: &[TokenWithSpan]) -> SqlError {
    let hidden = [
        "expected joined table",
        "expected an expression, found SELECT",
        "expected an expression, found WITH",
    ];
    if !hidden.iter().any(|start| error.message.starts_with(start)) {
        return error;
    }
    let start = error.location.as_ref().map(|l| l.span.start);
    let at = tokens.iter().position(|t| Some(t.span.start) == start).unwrap_or(tokens.len());
    let begins = |i: &usize| {
        let next = tokens.get(i + 1);
        tokens[*i].token == Token::LParen && next.is_some_and(|t| is_word(t, "SELECT") || is_word(t, "WITH"))
    };
    let Some(open) = (0..at).rev().find(begins) else { return error };
    let inner = &tokens[open + 1..];
    let mut cursor = Cursor::new(inner.to_vec());
    match cursor.query() {
        Err(error) => inner_error(error, inner),
        Ok(_) if cursor.peek_token(&Token::RParen) => error,
        Ok(_) => cursor.expected("`)`"),
    }
}

/// Gives an error of `sqlparser` its place: it knows where a token begins, and sometimes only the one behind it.
fn place(mut error: SqlError, tokens: &[TokenWithSpan]) -> SqlError {
    let end = tokens.last().map_or(Span::empty(), |t| Span::new(t.span.end, t.span.end));
    let Some(location) = &mut error.location else { return error.at(end) };
    if location.span.start != location.span.end {
        return error;
    }
    let Some(at) = tokens.iter().position(|t| t.span.start == location.span.start) else { return error };
    let found = error.message.rsplit_once(", found ").map(|(_, found)| found);
    let is_found = |token: &TokenWithSpan| Some(token.token.to_string().as_str()) == found;
    let token = if at > 0 && !is_found(&tokens[at]) && is_found(&tokens[at - 1]) { at - 1 } else { at };
    if let Some(found) = crate::error::Location::of(tokens[token].span) {
        **location = found;
    }
    error
}

fn is_begin(tokens: &[TokenWithSpan]) -> bool {
    let words = ["BEGIN", "STATEMENT", "SET"];
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| is_word(token, word))
}

/// The ranges of tokens that are one statement each, without the closing `;`.
fn split(tokens: &[TokenWithSpan]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < tokens.len() {
        let end = statement_end(tokens, start);
        if end > start {
            ranges.push(start..end);
        }
        start = end + 1;
    }
    ranges
}

fn statement_end(tokens: &[TokenWithSpan], start: usize) -> usize {
    let semicolon = |from: usize| {
        (from..tokens.len()).find(|i| tokens[*i].token == Token::SemiColon).unwrap_or(tokens.len())
    };
    let first = semicolon(start);
    if is_begin(&tokens[start..first]) {
        return end_of_set(tokens, first).unwrap_or(first);
    }
    let set = |i: usize| {
        is_word(&tokens[i], "BEGIN")
            && i >= start + 2
            && is_word(&tokens[i - 1], "SET")
            && is_word(&tokens[i - 2], "STATEMENT")
    };
    match (start..first).find(|i| set(*i)) {
        Some(begin) => end_of_set(tokens, begin).unwrap_or(tokens.len()),
        None => first,
    }
}

/// The position behind the END that begins a statement after `from`.
fn end_of_set(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let is_end = |i: &usize| {
        let begins = tokens[i - 1].token == Token::SemiColon || is_word(&tokens[i - 1], "BEGIN");
        let closes = tokens.get(i + 1).is_none_or(|t| t.token == Token::SemiColon);
        begins && closes && is_word(&tokens[*i], "END")
    };
    (from + 1..tokens.len()).find(is_end).map(|i| i + 1)
}

/// Byte offsets of lines and columns.
struct Places<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, lines }
    }

    fn offset(&self, at: Location) -> usize {
        let Some(line) = self.lines.get(at.line.saturating_sub(1) as usize) else { return self.text.len() };
        let rest = &self.text[*line..];
        let column = rest.char_indices().nth(at.column.saturating_sub(1) as usize);
        column.map_or(self.text.len(), |(i, _)| line + i)
    }
}
