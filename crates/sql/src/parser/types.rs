//! Data types: tokens of Flink's type grammar to [`DataType`].
//!
//! Invariant: a type that parses prints as a text that parses to the same type. Depth is bounded, so that a hostile type
//! cannot overflow the stack of whoever walks it.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};
use streamkeeper_connectors::schema::{DataType, Field, MAX_LENGTH, TypeKind};

use crate::error::SqlError;

/// Types nested deeper than this are refused.
const MAX_DEPTH: usize = 32;

/// Parses the type at `tokens[pos]`; returns it and the position behind it. Tokens hold no white space and no `>>`.
pub(crate) fn parse_type(tokens: &[TokenWithSpan], pos: usize) -> Result<(DataType, usize), SqlError> {
    let mut parser = TypeParser { tokens, pos };
    let data_type = parser.data_type(0)?;
    Ok((data_type, parser.pos))
}

struct TypeParser<'a> {
    tokens: &'a [TokenWithSpan],
    pos: usize,
}

impl TypeParser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.pos).map_or(&Token::EOF, |t| &t.token)
    }

    /// The span of the next token; at the end that of the last one.
    fn span(&self) -> Span {
        let token = self.tokens.get(self.pos).or(self.tokens.last());
        token.map_or(Span::empty(), |t| t.span)
    }

    fn peek_word(&self, ahead: usize) -> Option<String> {
        match self.tokens.get(self.pos + ahead).map(|t| &t.token) {
            Some(Token::Word(Word { value, quote_style: None, .. })) => Some(value.to_ascii_uppercase()),
            _ => None,
        }
    }

    fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, w)| self.peek_word(i).as_deref() == Some(w));
        if found {
            self.pos += words.len();
        }
        found
    }

    fn token(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.pos += 1;
        }
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.token(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    fn expected(&self, what: &str) -> SqlError {
        let found = match self.peek() {
            Token::EOF => "the end of the statement".to_string(),
            token => token.to_string(),
        };
        SqlError::parse(format!("expected {what}, found {found}"), self.span())
    }

    /// A type with its nullability and its postfix `ARRAY` and `MULTISET`.
    fn data_type(&mut self, depth: usize) -> Result<DataType, SqlError> {
        let span = self.span();
        let mut depth = depth;
        let mut data_type = self.base(depth)?;
        loop {
            if depth >= MAX_DEPTH {
                let message = format!("the data type is nested more than {MAX_DEPTH} levels deep");
                return Err(SqlError::parse(message, span));
            }
            data_type.nullable = self.nullable();
            depth += 1;
            if self.words(&["ARRAY"]) {
                data_type = TypeKind::Array(Box::new(data_type)).into();
            } else if self.words(&["MULTISET"]) {
                data_type = TypeKind::Multiset(Box::new(data_type)).into();
            } else {
                return Ok(data_type);
            }
        }
    }

    fn nullable(&mut self) -> bool {
        if self.words(&["NOT", "NULL"]) {
            return false;
        }
        self.words(&["NULL"]);
        true
    }

    fn base(&mut self, depth: usize) -> Result<DataType, SqlError> {
        if depth >= MAX_DEPTH {
            let message = format!("the data type is nested more than {MAX_DEPTH} levels deep");
            return Err(SqlError::parse(message, self.span()));
        }
        let span = self.span();
        let Some(name) = self.peek_word(0) else { return Err(self.expected("a data type")) };
        self.pos += 1;
        let kind = match name.as_str() {
            "STRING" => TypeKind::Varchar(MAX_LENGTH),
            "CHAR" | "CHARACTER" => {
                let varying = self.words(&["VARYING"]);
                self.text_type(varying)?
            }
            "VARCHAR" => self.text_type(true)?,
            "BYTES" => TypeKind::Varbinary(MAX_LENGTH),
            "BINARY" => {
                let varying = self.words(&["VARYING"]);
                self.bytes_type(varying)?
            }
            "VARBINARY" => self.bytes_type(true)?,
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" | "INTEGER" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => {
                self.words(&["PRECISION"]);
                TypeKind::Double
            }
            "DECIMAL" | "DEC" | "NUMERIC" => self.decimal()?,
            "DATE" => TypeKind::Date,
            "TIME" => {
                let precision = self.precision("TIME", 0)?;
                self.time_zone("TIME")?;
                TypeKind::Time(precision)
            }
            "TIMESTAMP" => {
                let precision = self.precision("TIMESTAMP", 6)?;
                if self.time_zone("TIMESTAMP")? {
                    TypeKind::TimestampLtz(precision)
                } else {
                    TypeKind::Timestamp(precision)
                }
            }
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(self.precision("TIMESTAMP_LTZ", 6)?),
            "INTERVAL" => self.interval()?,
            "ARRAY" => TypeKind::Array(Box::new(self.element(depth)?)),
            "MULTISET" => TypeKind::Multiset(Box::new(self.element(depth)?)),
            "MAP" => {
                self.expect(&Token::Lt)?;
                let key = self.data_type(depth + 1)?;
                self.expect(&Token::Comma)?;
                let value = self.data_type(depth + 1)?;
                self.expect(&Token::Gt)?;
                TypeKind::Map(Box::new(key), Box::new(value))
            }
            "ROW" => self.row(depth)?,
            "NULL" => TypeKind::Null,
            "RAW" | "STRUCTURED" | "VARIANT" | "SYMBOL" | "BITMAP" => {
                return Err(SqlError::unsupported(format!("the data type {name}"), span));
            }
            _ => return Err(SqlError::parse(unknown_type(&name), span)),
        };
        Ok(kind.into())
    }

    fn element(&mut self, depth: usize) -> Result<DataType, SqlError> {
        self.expect(&Token::Lt)?;
        let element = self.data_type(depth + 1)?;
        self.expect(&Token::Gt)?;
        Ok(element)
    }

    fn text_type(&mut self, varying: bool) -> Result<TypeKind, SqlError> {
        let length = self.length()?;
        Ok(if varying {
            TypeKind::Varchar(length.unwrap_or(MAX_LENGTH))
        } else {
            TypeKind::Char(length.unwrap_or(1))
        })
    }

    fn bytes_type(&mut self, varying: bool) -> Result<TypeKind, SqlError> {
        let length = self.length()?;
        Ok(if varying {
            TypeKind::Varbinary(length.unwrap_or(MAX_LENGTH))
        } else {
            TypeKind::Binary(length.unwrap_or(1))
        })
    }

    fn length(&mut self) -> Result<Option<u32>, SqlError> {
        if !self.token(&Token::LParen) {
            return Ok(None);
        }
        let span = self.span();
        let length = self.number()?;
        if !(1..=i64::from(MAX_LENGTH)).contains(&length) {
            let message = format!("the length {length} is not between 1 and {MAX_LENGTH}");
            return Err(SqlError::parse(message, span));
        }
        self.expect(&Token::RParen)?;
        Ok(Some(length as u32))
    }

    fn decimal(&mut self) -> Result<TypeKind, SqlError> {
        let (mut precision, mut scale) = (10, 0);
        if self.token(&Token::LParen) {
            let span = self.span();
            precision = self.number()?;
            if !(1..=38).contains(&precision) {
                let message = format!("the precision {precision} of DECIMAL is not between 1 and 38");
                return Err(SqlError::parse(message, span));
            }
            if self.token(&Token::Comma) {
                let span = self.span();
                scale = self.number()?;
                if scale > precision {
                    let message = format!(
                        "the scale {scale} of DECIMAL is greater than its precision {precision}; it is the number of \
                         digits after the point"
                    );
                    return Err(SqlError::parse(message, span));
                }
            }
            self.expect(&Token::RParen)?;
        }
        Ok(TypeKind::Decimal { precision: precision as u8, scale: scale as u8 })
    }

    fn precision(&mut self, name: &str, default: u8) -> Result<u8, SqlError> {
        if !self.token(&Token::LParen) {
            return Ok(default);
        }
        let span = self.span();
        let precision = self.number()?;
        if precision > 9 {
            let message = format!("the precision {precision} of {name} is not between 0 and 9");
            return Err(SqlError::parse(message, span));
        }
        self.expect(&Token::RParen)?;
        Ok(precision as u8)
    }

    /// True for `WITH LOCAL TIME ZONE`.
    fn time_zone(&mut self, name: &str) -> Result<bool, SqlError> {
        let span = self.span();
        if self.words(&["WITHOUT", "TIME", "ZONE"]) {
            return Ok(false);
        }
        if name == "TIMESTAMP" && self.words(&["WITH", "LOCAL", "TIME", "ZONE"]) {
            return Ok(true);
        }
        if self.words(&["WITH", "TIME", "ZONE"]) || self.words(&["WITH", "LOCAL", "TIME", "ZONE"]) {
            let message = format!("Flink has no {name} WITH TIME ZONE; use TIMESTAMP_LTZ for an instant");
            return Err(SqlError::parse(message, span));
        }
        Ok(false)
    }

    fn interval(&mut self) -> Result<TypeKind, SqlError> {
        let first = self.interval_unit()?;
        let last = if self.words(&["TO"]) { self.interval_unit()? } else { first };
        match (first < 2, last < 2) {
            (true, true) if first <= last => Ok(TypeKind::IntervalYearMonth),
            (false, false) if first <= last => Ok(TypeKind::IntervalDayTime),
            _ => Err(self.expected("INTERVAL YEAR TO MONTH or INTERVAL DAY TO SECOND")),
        }
    }

    /// The rank of the unit, largest first.
    fn interval_unit(&mut self) -> Result<usize, SqlError> {
        let units = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];
        let word = self.peek_word(0);
        let Some(unit) = units.iter().position(|u| word.as_deref() == Some(u)) else {
            return Err(self.expected("a unit of time such as DAY or SECOND"));
        };
        self.pos += 1;
        if self.token(&Token::LParen) {
            self.number()?;
            if self.token(&Token::Comma) {
                self.number()?;
            }
            self.expect(&Token::RParen)?;
        }
        Ok(unit)
    }

    fn row(&mut self, depth: usize) -> Result<TypeKind, SqlError> {
        let end = if self.token(&Token::Lt) {
            Token::Gt
        } else if self.token(&Token::LParen) {
            Token::RParen
        } else {
            return Err(self.expected("`<` and the fields of the ROW"));
        };
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let span = self.span();
            let Token::Word(word) = self.peek() else { return Err(self.expected("the name of a field")) };
            let name = word.value.clone();
            self.pos += 1;
            if fields.iter().any(|f| f.name == name) {
                return Err(SqlError::parse(format!("the ROW has two fields `{name}`"), span));
            }
            let data_type = self.data_type(depth + 1)?;
            if matches!(self.peek(), Token::SingleQuotedString(_)) {
                self.pos += 1;
            }
            fields.push(Field { name, data_type });
            if !self.token(&Token::Comma) {
                break;
            }
        }
        self.expect(&end)?;
        Ok(TypeKind::Row(fields))
    }

    fn number(&mut self) -> Result<i64, SqlError> {
        if let Token::Number(digits, _) = self.peek()
            && let Ok(number) = digits.parse()
        {
            self.pos += 1;
            return Ok(number);
        }
        Err(self.expected("a whole number"))
    }
}

fn unknown_type(name: &str) -> String {
    let hint = match name {
        "TEXT" | "NVARCHAR" | "CLOB" | "VARCHAR2" => "use STRING",
        "BLOB" | "BYTEA" => "use BYTES",
        "BOOL" => "use BOOLEAN",
        "LONG" | "INT8" | "INT64" => "use BIGINT",
        "INT4" | "INT32" => "use INT",
        "REAL" | "FLOAT4" | "FLOAT32" => "use FLOAT",
        "FLOAT8" | "FLOAT64" => "use DOUBLE",
        "DATETIME" => "use TIMESTAMP(3)",
        "TIMESTAMPTZ" => "use TIMESTAMP_LTZ(3)",
        "STRUCT" => "use ROW",
        _ => "user-defined types are not supported yet",
    };
    format!("unknown data type {name}; {hint}")
}
