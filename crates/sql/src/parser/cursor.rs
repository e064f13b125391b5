//! `sqlparser`'s parser with the small steps that Flink's statements are made of.

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::ast::{Options, PartitionValue, TypeName};
use super::dialect::FlinkDialect;
use super::foreign;
use super::types::parse_type;
use crate::error::SqlError;

/// Nesting (brackets, subqueries, prefix operators) that `sqlparser` follows. Each level costs several stack frames; this
/// many fit a thread of 2 MiB in a debug build.
pub(crate) const MAX_NESTING: usize = 60;

pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// A position in the tokens of one statement.
pub(crate) struct Cursor {
    pub(crate) parser: Parser<'static>,
    tokens: Vec<TokenWithSpan>,
}

impl Cursor {
    pub(crate) fn new(tokens: Vec<TokenWithSpan>) -> Self {
        let parser = Parser::new(&FlinkDialect)
            .with_recursion_limit(MAX_NESTING)
            .with_tokens_with_locations(tokens.clone());
        Self { parser, tokens }
    }

    pub(crate) fn span(&self) -> Span {
        let span = self.parser.peek_token_ref().span;
        if span == Span::empty() { self.end_span() } else { span }
    }

    /// The place behind the last token.
    fn end_span(&self) -> Span {
        self.tokens.last().map_or(Span::empty(), |t| Span::new(t.span.end, t.span.end))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// True when the next words are these, whatever their case.
    pub(crate) fn peek(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.peek_at(i, word))
    }

    pub(crate) fn peek_at(&self, ahead: usize, word: &str) -> bool {
        matches!(&self.parser.peek_nth_token_ref(ahead).token,
            Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
    }

    /// Takes the words if they are next.
    pub(crate) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.peek(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.take(&[word]) {
                return Err(self.expected(word));
            }
        }
        Ok(())
    }

    pub(crate) fn token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(crate) fn peek_token(&self, token: &Token) -> bool {
        self.parser.peek_token_ref().token == *token
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.token(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    pub(crate) fn expected(&self, what: &str) -> SqlError {
        let found = match &self.parser.peek_token_ref().token {
            Token::EOF => "the end of the statement".to_string(),
            token => token.to_string(),
        };
        SqlError::parse(format!("expected {what}, found {found}"), self.span())
    }

    pub(crate) fn name(&mut self) -> Result<ObjectName> {
        let span = self.span();
        let name = self.parser.parse_object_name(false)?;
        if name.0.len() > 3 {
            let message = format!("the name {name} has more than three parts: catalog.database.object");
            return Err(SqlError::parse(message, span));
        }
        Ok(name)
    }

    pub(crate) fn ident(&mut self) -> Result<Ident> {
        match &self.parser.peek_token_ref().token {
            Token::Word(_) => Ok(self.parser.parse_identifier()?),
            _ => Err(self.expected("a name")),
        }
    }

    pub(crate) fn idents(&mut self) -> Result<Vec<Ident>> {
        self.parens(Self::ident)
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(text) => {
                self.parser.advance_token();
                Ok(text)
            }
            _ => Err(self.expected("a 'string'")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        if let Token::Number(digits, _) = &self.parser.peek_token_ref().token
            && let Ok(number) = digits.parse()
        {
            self.parser.advance_token();
            return Ok(number);
        }
        Err(self.expected("a whole number"))
    }

    pub(crate) fn expr(&mut self) -> Result<Expr> {
        let expr = self.parser.parse_expr()?;
        foreign::check(&expr)?;
        Ok(expr)
    }

    pub(crate) fn query(&mut self) -> Result<Box<Query>> {
        let query = self.parser.parse_query()?;
        foreign::check(&*query)?;
        Ok(query)
    }

    pub(crate) fn data_type(&mut self) -> Result<TypeName> {
        let start = self.parser.index();
        let (data_type, end) = parse_type(&self.tokens, start)?;
        while self.parser.index() < end {
            self.parser.advance_token();
        }
        let span = self.tokens[start].span.union(&self.tokens[end - 1].span);
        Ok(TypeName { data_type, span })
    }

    /// `(item, …)`.
    pub(crate) fn parens<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let items = self.list(item)?;
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// `item, …`.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(crate) fn if_not_exists(&mut self) -> bool {
        self.take(&["IF", "NOT", "EXISTS"])
    }

    pub(crate) fn if_exists(&mut self) -> bool {
        self.take(&["IF", "EXISTS"])
    }

    pub(crate) fn comment(&mut self) -> Result<Option<String>> {
        if self.take(&["COMMENT"]) { Ok(Some(self.string()?)) } else { Ok(None) }
    }

    /// `WITH ('key' = 'value', …)`, if it is there.
    pub(crate) fn with_options(&mut self) -> Result<Options> {
        if self.take(&["WITH"]) { self.options() } else { Ok(Vec::new()) }
    }

    /// `('key' = 'value', …)`. Of a key that is there twice the last value counts, as in Flink.
    pub(crate) fn options(&mut self) -> Result<Options> {
        self.expect_token(&Token::LParen)?;
        let mut options: Options = Vec::new();
        if self.token(&Token::RParen) {
            return Ok(options);
        }
        for (key, value) in self.list(Self::key_value)? {
            options.retain(|(k, _)| *k != key);
            options.push((key, value));
        }
        self.expect_token(&Token::RParen)?;
        Ok(options)
    }

    /// `'key' = 'value'`.
    pub(crate) fn key_value(&mut self) -> Result<(String, String)> {
        if matches!(self.parser.peek_token_ref().token, Token::Word(_)) {
            return Err(self.expected("a key in quotes, as in 'key' = 'value'"));
        }
        let key = self.string()?;
        self.expect_token(&Token::Eq)?;
        Ok((key, self.string()?))
    }

    /// `('key', …)`.
    pub(crate) fn keys(&mut self) -> Result<Vec<String>> {
        self.parens(Self::string)
    }

    /// `(column = literal, …)`.
    pub(crate) fn partition(&mut self) -> Result<Vec<PartitionValue>> {
        self.parens(|c| {
            let column = c.ident()?;
            let value = if c.token(&Token::Eq) { Some(c.expr()?) } else { None };
            Ok(PartitionValue { column, value })
        })
    }
}
