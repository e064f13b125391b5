//! Long chains of operators (`a OR b OR c …`) make deep trees without any bracket, and everything that walks a tree uses
//! the stack. This bounds them before there is a tree.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::error::SqlError;

/// The longest chain of operators, including the brackets it stands in.
pub(crate) const MAX_CHAIN: usize = 500;

/// A set operation costs the stack as much as this many operators.
const SET_WEIGHT: usize = 4;

/// Operators seen at one level of brackets, by how weakly they bind: a weaker one begins the stronger ones anew.
#[derive(Default, Clone, Copy)]
struct Level {
    sets: usize,
    ors: usize,
    ands: usize,
    others: usize,
}

impl Level {
    fn depth(self) -> usize {
        self.sets + self.ors + self.ands + self.others
    }
}

/// Refuses a statement whose tree could be deeper than [`MAX_CHAIN`].
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut outer: Vec<Level> = Vec::new();
    let mut outer_depth = 0;
    let mut level = Level::default();
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket => {
                outer_depth += level.depth() + 1;
                outer.push(level);
                level = Level::default();
            }
            Token::RParen | Token::RBracket => {
                if let Some(before) = outer.pop() {
                    level = before;
                    outer_depth -= level.depth() + 1;
                }
                // Postfix chains such as a[1][1] or f(x)(y).
                level.others += 1;
            }
            Token::Comma | Token::SemiColon => level = Level { sets: level.sets, ..Level::default() },
            Token::Word(Word { value, quote_style: None, .. }) => word(&mut level, value),
            Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => level.others += 1,
        }
        if outer_depth + level.depth() > MAX_CHAIN {
            let message = format!(
                "the statement is nested too deeply: more than {MAX_CHAIN} brackets and operators in one expression; split \
                 it with views or WITH, or use IN (…)"
            );
            return Err(SqlError::parse(message, token.span));
        }
    }
    Ok(())
}

fn word(level: &mut Level, value: &str) {
    let is = |words: &[&str]| words.iter().any(|w| value.eq_ignore_ascii_case(w));
    if is(&["UNION", "EXCEPT", "INTERSECT", "MINUS"]) {
        *level = Level { sets: level.sets + SET_WEIGHT, ..Level::default() };
    } else if is(&[
        "SELECT", "FROM", "WHERE", "HAVING", "ON", "WHEN", "THEN", "ELSE", "GROUP", "ORDER", "JOIN",
    ]) {
        *level = Level { sets: level.sets, ..Level::default() };
    } else if is(&["OR"]) {
        *level = Level { sets: level.sets, ors: level.ors + 1, ..Level::default() };
    } else if is(&["AND"]) {
        level.ands += 1;
        level.others = 0;
    } else if is(&["NOT", "IS", "IN", "LIKE", "BETWEEN", "CASE", "ARRAY", "MULTISET"]) {
        level.others += 1;
    }
}
