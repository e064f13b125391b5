//! What `sqlparser` must know of Flink's lexical rules and expressions.
//!
//! Constructs that its AST has no node for are written in nodes it has, chosen so that their text is Flink's text again
//! (see [`super::views`], which reads them back).

use std::any::TypeId;

use sqlparser::ast::{
    Array, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName,
};
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

/// Flink SQL.
#[derive(Debug)]
pub(crate) struct FlinkDialect;

impl Dialect for FlinkDialect {
    /// UNNEST is only parsed as such for a few dialects, of which this is the least opinionated.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('`')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn require_interval_qualifier(&self) -> bool {
        true
    }

    fn supports_dollar_placeholder(&self) -> bool {
        false
    }

    /// In Flink BETWEEN, IN and LIKE bind more strongly than comparisons: `a = b IN (c)` is `a = (b IN (c))`.
    fn prec_value(&self, prec: Precedence) -> u8 {
        match prec {
            Precedence::Between | Precedence::Like => 25,
            other => GenericDialect.prec_value(other),
        }
    }

    /// `x [NOT] BETWEEN SYMMETRIC a AND b`; ASYMMETRIC is what BETWEEN means anyway.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let word = |at: usize, expected: &str| {
            matches!(&parser.peek_nth_token_ref(at).token, Token::Word(Word { value, quote_style: None, .. })
                if value.eq_ignore_ascii_case(expected))
        };
        let not = usize::from(word(0, "NOT"));
        let symmetric = word(not + 1, "SYMMETRIC");
        if !word(not, "BETWEEN") || !(symmetric || word(not + 1, "ASYMMETRIC")) {
            return None;
        }
        for _ in 0..not + 2 {
            parser.next_token();
        }
        Some(parse_bounds(parser, self.prec_value(Precedence::Between)).map(|(low, high)| {
            let expr = Box::new(expr.clone());
            let negated = not == 1;
            if !symmetric {
                return Expr::Between { expr, negated, low: Box::new(low), high: Box::new(high) };
            }
            let (low, high) = (Box::new(low), Box::new(high));
            let bounds = Expr::BinaryOp { left: low, op: BinaryOperator::And, right: high };
            clause(*expr, if negated { NOT_BETWEEN_SYMMETRIC } else { BETWEEN_SYMMETRIC }, bounds)
        }))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Token::Word(Word { value, quote_style: None, keyword }) = &parser.peek_token_ref().token else {
            return None;
        };
        let next = &parser.peek_nth_token_ref(1).token;
        match keyword {
            Keyword::TABLE => {
                matches!(next, Token::Word(_) | Token::LParen).then(|| parse_table_argument(parser))
            }
            Keyword::MAP if *next == Token::LBracket => Some(parse_map(parser)),
            _ if value.eq_ignore_ascii_case("MODEL") && matches!(next, Token::Word(_)) => {
                is_argument_start(parser).then(|| parse_model_argument(parser))
            }
            _ if *next == Token::LParen && is_json_function(value) => Some(parse_json_function(parser)),
            _ if ENDS_EXPRESSION.contains(keyword) => {
                Some(parser.expected("an expression", parser.peek_token()))
            }
            _ => None,
        }
    }
}

/// Reserved words that would otherwise pass as a column or function where an expression is missing.
const ENDS_EXPRESSION: &[Keyword] = &[
    Keyword::SELECT,
    Keyword::FROM,
    Keyword::WHERE,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::ORDER,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::ON,
    Keyword::AS,
    Keyword::AND,
    Keyword::OR,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::BETWEEN,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::END,
    Keyword::INTO,
];

/// The operators between a value and its bounds, which are joined by AND.
pub(crate) const BETWEEN_SYMMETRIC: &str = "BETWEEN SYMMETRIC";
pub(crate) const NOT_BETWEEN_SYMMETRIC: &str = "NOT BETWEEN SYMMETRIC";

/// `a AND b`, the bounds of a BETWEEN.
fn parse_bounds(parser: &mut Parser, precedence: u8) -> Result<(Expr, Expr), ParserError> {
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    Ok((low, parser.parse_subexpr(precedence)?))
}

/// True when the next token begins a function's argument.
fn is_argument_start(parser: &Parser) -> bool {
    matches!(parser.get_current_token().token, Token::LParen | Token::Comma | Token::RArrow)
}

/// `TABLE t [PARTITION BY …] [ORDER BY …]` as an argument of a table function.
fn parse_table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let prefix = keyword_ident(parser);
    let mut value = if parser.peek_token_ref().token == Token::LParen {
        parser.parse_prefix()?
    } else {
        name_expr(parser.parse_object_name(false)?)?
    };
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        value = clause(value, "PARTITION BY", parser.parse_expr()?);
    }
    if parser.parse_keywords(&[Keyword::ORDER, Keyword::BY]) {
        let mut key = parser.parse_expr()?;
        if parser.parse_keyword(Keyword::DESC) {
            key = clause(key, "DESC", Expr::Identifier(Ident::new("")));
        } else {
            let _ = parser.parse_keyword(Keyword::ASC);
        }
        value = clause(value, "ORDER BY", key);
    }
    Ok(Expr::Prefixed { prefix, value: Box::new(value) })
}

/// `MODEL m` as an argument of a table function.
fn parse_model_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let prefix = keyword_ident(parser);
    let value = name_expr(parser.parse_object_name(false)?)?;
    Ok(Expr::Prefixed { prefix, value: Box::new(value) })
}

/// `MAP[key, value, …]`.
fn parse_map(parser: &mut Parser) -> Result<Expr, ParserError> {
    let prefix = keyword_ident(parser);
    parser.expect_token(&Token::LBracket)?;
    let elem = if parser.peek_token_ref().token == Token::RBracket {
        Vec::new()
    } else {
        parser.parse_comma_separated(Parser::parse_expr)?
    };
    parser.expect_token(&Token::RBracket)?;
    Ok(Expr::Prefixed { prefix, value: Box::new(Expr::Array(Array { elem, named: false })) })
}

/// Takes the next word, in upper case.
fn keyword_ident(parser: &mut Parser) -> Ident {
    let token = parser.next_token();
    Ident::with_span(token.span, token.token.to_string().to_ascii_uppercase())
}

fn name_expr(name: ObjectName) -> Result<Expr, ParserError> {
    let parts: Option<Vec<Ident>> = name.0.iter().map(|part| part.as_ident().cloned()).collect();
    match parts {
        Some(mut parts) if parts.len() == 1 => Ok(Expr::Identifier(parts.remove(0))),
        Some(parts) => Ok(Expr::CompoundIdentifier(parts)),
        None => Err(ParserError::ParserError(format!("expected a name, found {name}"))),
    }
}

fn clause(left: Expr, words: &str, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Custom(words.to_string()),
        right: Box::new(right),
    }
}

pub(crate) fn is_json_function(name: &str) -> bool {
    [
        "JSON_VALUE",
        "JSON_QUERY",
        "JSON_EXISTS",
        "JSON_OBJECT",
        "JSON_ARRAY",
        "JSON_OBJECTAGG",
        "JSON_ARRAYAGG",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// `JSON_VALUE(x, '$.a' RETURNING INT DEFAULT 1 ON EMPTY)` and its siblings: each argument may carry clauses.
fn parse_json_function(parser: &mut Parser) -> Result<Expr, ParserError> {
    let token = parser.next_token();
    let Token::Word(word) = token.token else { return parser.expected("a JSON function", token) };
    let name = ObjectName::from(vec![word.into_ident(token.span)]);
    parser.expect_token(&Token::LParen)?;
    let mut args = Vec::new();
    if !parser.consume_token(&Token::RParen) {
        args = parser.parse_comma_separated(parse_json_argument)?;
        parser.expect_token(&Token::RParen)?;
    }
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Ok(Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}

fn parse_json_argument(parser: &mut Parser) -> Result<FunctionArg, ParserError> {
    let has_key = parser.parse_keyword(Keyword::KEY);
    let first = parser.parse_expr()?;
    if parser.parse_keyword(Keyword::VALUE) {
        let value = parser.parse_expr()?;
        let arg = FunctionArgExpr::Expr(parse_json_clauses(parser, value)?);
        return Ok(FunctionArg::ExprNamed { name: first, arg, operator: FunctionArgOperator::Value });
    }
    if has_key {
        return parser.expected("VALUE", parser.peek_token());
    }
    Ok(FunctionArg::Unnamed(FunctionArgExpr::Expr(parse_json_clauses(parser, first)?)))
}

fn parse_json_clauses(parser: &mut Parser, mut expr: Expr) -> Result<Expr, ParserError> {
    loop {
        let Token::Word(Word { value, quote_style: None, .. }) = &parser.peek_token_ref().token else {
            return Ok(expr);
        };
        match value.to_ascii_uppercase().as_str() {
            "RETURNING" => {
                parser.advance_token();
                expr = clause(expr, "RETURNING", Expr::Identifier(parser.parse_identifier()?));
            }
            "DEFAULT" => {
                parser.advance_token();
                let default = parser.parse_expr()?;
                parser.expect_keyword_is(Keyword::ON)?;
                let on = keyword_ident(parser);
                expr = clause(expr, "DEFAULT", clause(default, "ON", Expr::Identifier(on)));
            }
            "NULL" | "ERROR" | "EMPTY" | "TRUE" | "FALSE" | "UNKNOWN" | "ABSENT" | "WITH" | "WITHOUT" => {
                expr = parse_words(parser, expr)?;
            }
            _ => return Ok(expr),
        }
    }
}

/// `NULL ON EMPTY`, `WITHOUT ARRAY WRAPPER`: the last word becomes the operand, those before it the operator.
fn parse_words(parser: &mut Parser, expr: Expr) -> Result<Expr, ParserError> {
    let mut words = Vec::new();
    loop {
        let token = parser.peek_token();
        let Token::Word(Word { quote_style: None, .. }) = &token.token else {
            return parser.expected("ON or WRAPPER", token);
        };
        let word = keyword_ident(parser);
        let is_last = word.value == "WRAPPER" || words.last().is_some_and(|w| w == "ON");
        if is_last {
            return Ok(clause(expr, &words.join(" "), Expr::Identifier(word)));
        }
        if words.len() == 4 {
            return parser.expected("ON or WRAPPER", token);
        }
        words.push(word.value);
    }
}
