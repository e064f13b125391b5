//! From text to the tokens that `sqlparser` is given: comments go, Flink's own forms are rewritten, and what Flink has no
//! token for is refused.
//!
//! Rewritten: hints after a table (`t /*+ OPTIONS(…) */ AS x` becomes `t AS x WITH (OPTIONS(…))`), the types of casts (one
//! word each, see [`super::data_type`]), `U&'…'`, `N'…'` and `_UTF16'…'` (plain strings), `TRIM(LEADING FROM …)` (what it trims is said), `WITHIN` of MATCH_RECOGNIZE (a
//! last symbol of the pattern). Every new token keeps the span of what it replaces.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::dialect::{FlinkDialect, is_json_function};
use super::types::parse_type;
use crate::error::{ErrorKind, SqlError};

/// What marks the WITHIN clause among the symbols of a pattern.
pub(crate) const WITHIN: &str = "WITHIN ";

/// The tokens of the text without white space and comments; hints stay, as comments.
pub(crate) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = Tokenizer::new(&FlinkDialect, text).tokenize_with_location().map_err(|e| {
        let at = e.location;
        SqlError::new(ErrorKind::Parse, unfinished(&e.message)).at(Span::new(at, at))
    })?;
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => out.push(token),
            Token::Whitespace(_) | Token::EOF => {}
            // Flink has no shift operators: this closes two nested types.
            Token::ShiftRight => {
                let mut middle = token.span.start;
                middle.column += 1;
                out.push(TokenWithSpan::new(Token::Gt, Span::new(token.span.start, middle)));
                out.push(TokenWithSpan::new(Token::Gt, Span::new(middle, token.span.end)));
            }
            _ => out.push(token),
        }
    }
    Ok(out)
}

fn unfinished(message: &str) -> String {
    match message {
        m if m.starts_with("Unterminated string literal") => {
            "this string has no closing quote (')".to_string()
        }
        m if m.contains("EOF while in a multi-line comment") => "this comment has no closing */".to_string(),
        m if m.starts_with("Expected close delimiter '`'") => {
            "this name has no closing backquote (`)".to_string()
        }
        m => m.to_string(),
    }
}

/// Rewrites the tokens of one statement.
pub(crate) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let tokens = strings(tokens)?;
    let tokens = types(tokens)?;
    let tokens = patterns(tokens);
    hints(tokens)
}

pub(crate) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

fn word_at(tokens: &[TokenWithSpan], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|t| is_word(t, word))
}

fn raw_word(value: String, span: Span) -> TokenWithSpan {
    TokenWithSpan::new(Token::Word(Word { value, quote_style: None, keyword: Keyword::NoKeyword }), span)
}

/// Makes plain strings of Flink's string forms, and refuses foreign tokens.
fn strings(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(TokenWithSpan { token, span }) = tokens.next() {
        let token = match token {
            Token::NationalStringLiteral(text) => Token::SingleQuotedString(text),
            Token::UnicodeStringLiteral(mut text) => {
                if tokens.peek().is_some_and(|t| is_word(t, "UESCAPE")) {
                    tokens.next();
                    let escape = tokens.next();
                    text = unescape(&text, escape.as_ref()).ok_or_else(|| {
                        SqlError::parse("UESCAPE takes one character, as in UESCAPE '!'", span)
                    })?;
                }
                Token::SingleQuotedString(text)
            }
            Token::Word(Word { value, quote_style: None, .. })
                if value.starts_with('_')
                    && tokens.peek().is_some_and(|t| matches!(t.token, Token::SingleQuotedString(_))) =>
            {
                let charset = value.to_ascii_uppercase();
                if !matches!(charset.as_str(), "_UTF8" | "_UTF16" | "_UTF16LE" | "_UTF32") {
                    return Err(SqlError::parse(format!("unknown character set {value}"), span));
                }
                continue;
            }
            token => token,
        };
        refuse_foreign(&token, span)?;
        let token = TokenWithSpan::new(token, span);
        if is_word(&token, "FROM") && ends_with_trim_side(&out) {
            out.push(TokenWithSpan::new(Token::SingleQuotedString(" ".into()), span));
        }
        out.push(token);
    }
    Ok(out)
}

/// `TRIM(LEADING`, `TRIM(TRAILING`, `TRIM(BOTH`.
fn ends_with_trim_side(tokens: &[TokenWithSpan]) -> bool {
    let [.., trim, open, side] = tokens else { return false };
    is_word(trim, "TRIM")
        && open.token == Token::LParen
        && ["LEADING", "TRAILING", "BOTH"].iter().any(|word| is_word(side, word))
}

/// Replaces `\xxxx` and `\+xxxxxx`, with the given character for the backslash.
fn unescape(text: &str, escape: Option<&TokenWithSpan>) -> Option<String> {
    let Token::SingleQuotedString(escape) = &escape?.token else { return None };
    let mut escapes = escape.chars();
    let (escape, None) = (escapes.next()?, escapes.next()) else { return None };
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != escape {
            out.push(c);
        } else if chars.next_if_eq(&escape).is_some() {
            out.push(escape);
        } else {
            let digits = if chars.next_if_eq(&'+').is_some() { 6 } else { 4 };
            let code: String = chars.by_ref().take(digits).collect();
            out.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
        }
    }
    Some(out)
}

/// Tokens that `sqlparser` knows from other databases.
fn refuse_foreign(token: &Token, span: Span) -> Result<(), SqlError> {
    let hint = match token {
        Token::DoubleQuotedString(_) => "text stands in 'single quotes' and names in `backquotes`",
        Token::DoubleColon => "use CAST(… AS …)",
        Token::DoubleEq => "use =",
        Token::Spaceship => "use IS NOT DISTINCT FROM",
        Token::DuckIntDiv
        | Token::Assignment
        | Token::ShiftLeft
        | Token::Overlap
        | Token::Ampersand
        | Token::Sharp
        | Token::DoubleSharp
        | Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMark
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::AtSign
        | Token::AtAt
        | Token::Arrow
        | Token::LongArrow
        | Token::HashArrow
        | Token::HashLongArrow
        | Token::AtArrow
        | Token::ArrowAt
        | Token::VerticalBarRightAngleBracket
        | Token::CaretAt
        | Token::Backslash
        | Token::Char(_)
        | Token::CustomBinaryOperator(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_) => "remove it",
        _ => return Ok(()),
    };
    Err(SqlError::parse(format!("Flink SQL has no {token}; {hint}"), span))
}

/// Makes one word of each type behind `CAST(… AS` and `RETURNING`.
fn types(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // For every open bracket, the keyword that a type follows.
    let mut open: Vec<Option<&str>> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        out.push(token.clone());
        match &token.token {
            Token::LParen => {
                let function = out.len().checked_sub(2).and_then(|i| out.get(i));
                open.push(function.and_then(type_keyword));
            }
            Token::LBracket => open.push(None),
            Token::RParen | Token::RBracket => {
                open.pop();
            }
            Token::Word(_) => {
                if let Some(Some(keyword)) = open.last()
                    && is_word(token, keyword)
                {
                    let (data_type, end) = parse_type(&tokens, at)?;
                    let span = tokens[at].span.union(&tokens[end - 1].span);
                    out.push(raw_word(data_type.to_string(), span));
                    at = end;
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

fn type_keyword(function: &TokenWithSpan) -> Option<&'static str> {
    let Token::Word(Word { value, quote_style: None, .. }) = &function.token else { return None };
    if value.eq_ignore_ascii_case("CAST") || value.eq_ignore_ascii_case("TRY_CAST") {
        Some("AS")
    } else {
        is_json_function(value).then_some("RETURNING")
    }
}

/// Moves `WITHIN INTERVAL …` behind `PATTERN (…)` into the pattern.
fn patterns(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|t| is_word(t, "WITHIN")) {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let is_clause = is_word(token, "WITHIN") && word_at(&tokens, at + 1, "INTERVAL");
        if is_clause && matches!(out.last(), Some(t) if t.token == Token::RParen) {
            let end = (at..tokens.len()).find(|i| word_at(&tokens, *i, "DEFINE")).unwrap_or(tokens.len());
            let text: Vec<String> = tokens[at + 1..end].iter().map(|t| t.token.to_string()).collect();
            let word = raw_word(format!("{WITHIN}{}", text.join(" ")), token.span);
            let close = out.len() - 1;
            out.insert(close, word);
            at = end;
            continue;
        }
        out.push(token.clone());
        at += 1;
    }
    out
}

/// Turns `/*+ … */` behind a table into `WITH (…)` behind its alias. Hints behind SELECT stay comments.
fn hints(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    if !tokens.iter().any(|t| matches!(t.token, Token::Whitespace(_))) {
        return Ok(tokens);
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Whitespace(Whitespace::MultiLineComment(text)) = &token.token else {
            out.push(token.clone());
            continue;
        };
        if out.last().is_some_and(|t| is_word(t, "SELECT")) {
            out.push(token.clone());
            continue;
        }
        let end = end_of_alias(&tokens, at);
        out.extend_from_slice(&tokens[at..end]);
        at = end;
        let inner = tokenize(&text[1..]).map_err(|mut e| {
            e.location = None;
            e.at(token.span)
        })?;
        let with = Word { value: "WITH".to_string(), quote_style: None, keyword: Keyword::WITH };
        out.push(TokenWithSpan::new(Token::Word(with), token.span));
        out.push(TokenWithSpan::new(Token::LParen, token.span));
        out.extend(inner.into_iter().map(|t| TokenWithSpan::new(t.token, token.span)));
        out.push(TokenWithSpan::new(Token::RParen, token.span));
    }
    Ok(out)
}

/// The position behind `[FOR SYSTEM_TIME AS OF …] [[AS] alias [(columns)]]` at `at`.
fn end_of_alias(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut end = at;
    if word_at(tokens, end, "FOR") && word_at(tokens, end + 1, "SYSTEM_TIME") {
        end += 4;
        // The time is a column or a call.
        while matches!(tokens.get(end + 1).map(|t| &t.token), Some(Token::Period)) {
            end += 2;
        }
        end = skip_parens(tokens, end + 1);
    }
    let has_as = word_at(tokens, end, "AS");
    let name = if has_as { end + 1 } else { end };
    let is_alias = match tokens.get(name).map(|t| &t.token) {
        Some(Token::Word(word)) => has_as || word.quote_style.is_some() || !ends_table(word),
        _ => false,
    };
    // `INSERT INTO t /*+ … */ (columns)`: without an alias the list is none of ours.
    if is_alias { skip_parens(tokens, name + 1) } else { end.min(tokens.len()) }
}

fn skip_parens(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut end = at.min(tokens.len());
    let mut depth = 0usize;
    while let Some(token) = tokens.get(end) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            _ if depth == 0 => break,
            _ => {}
        }
        end += 1;
        if depth == 0 {
            break;
        }
    }
    end
}

/// A keyword that may follow a table, and so is no alias of it.
fn ends_table(word: &Word) -> bool {
    sqlparser::keywords::RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
        || matches!(word.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::PARTITION)
}
