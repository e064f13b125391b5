//! Names in scope: the columns of the relations in FROM, under the relations' aliases.
//!
//! Invariant: names are case-sensitive, as in Flink.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::Span;

use crate::error::SqlError;
use crate::expr::ScalarExpr;
use crate::plan::{Schema, column};

/// A relation in FROM.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Its alias, or the path of its table.
    pub(crate) name: Vec<String>,
    /// Its first column in the scope.
    pub(crate) start: usize,
    /// Number of columns.
    pub(crate) len: usize,
}

/// The columns that an expression may name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) schema: Schema,
    pub(crate) relations: Vec<Relation>,
}

impl Scope {
    /// The columns of one relation.
    pub(crate) fn of(schema: Schema, name: Vec<String>) -> Self {
        let len = schema.len();
        Self { schema, relations: vec![Relation { name, start: 0, len }] }
    }

    /// The columns of `self`, then those of `other`.
    pub(crate) fn join(&self, other: &Scope) -> Self {
        let shift = self.schema.len();
        let mut joined = self.clone();
        joined.schema.extend(other.schema.iter().cloned());
        joined
            .relations
            .extend(other.relations.iter().map(|r| Relation { start: r.start + shift, ..r.clone() }));
        joined
    }

    /// The columns of the relation called `name`, for `name.*`.
    pub(crate) fn relation(&self, name: &[String], span: Span) -> Result<&Relation, SqlError> {
        let mut found = self.relations.iter().filter(|r| r.name.ends_with(name));
        match (found.next(), found.next()) {
            (Some(relation), None) => Ok(relation),
            (Some(_), Some(_)) => {
                Err(SqlError::validation(format!("Table '{}' is ambiguous", name.join(".")), span))
            }
            (None, _) => Err(SqlError::validation(format!("Table '{}' not found", name.join(".")), span)),
        }
    }

    /// The column that `parts` name, and how many of the parts its name takes; the others are fields of a row.
    pub(crate) fn resolve(&self, parts: &[Ident]) -> Result<(ScalarExpr, usize), SqlError> {
        let names: Vec<String> = parts.iter().map(|p| p.value.clone()).collect();
        let span = Span::union_iter(parts.iter().map(|p| p.span));
        // `a.b`: column b of relation a wins over field b of column a, as in the SQL standard.
        for qualifier in (0..parts.len().min(4)).rev() {
            let candidates: Vec<&Relation> = self
                .relations
                .iter()
                .filter(|r| qualifier == 0 || r.name.ends_with(&names[..qualifier]))
                .collect();
            let mut found = candidates.iter().flat_map(|r| {
                (r.start..r.start + r.len).filter(|i| self.schema[*i].name == names[qualifier])
            });
            if let Some(index) = found.next() {
                if found.next().is_some() {
                    return Err(SqlError::validation(
                        format!("Column '{}' is ambiguous; qualify it with a table's name", names[qualifier]),
                        span,
                    ));
                }
                return Ok((column(&self.schema, index), qualifier + 1));
            }
            if qualifier > 0 && !candidates.is_empty() && parts.len() == qualifier + 1 {
                return Err(self.unknown(&names[qualifier], &candidates, Some(&names[..qualifier]), span));
            }
        }
        if parts.len() > 1 && !self.relations.iter().any(|r| r.name.ends_with(&names[..1])) {
            let table = names[..parts.len() - 1].join(".");
            return Err(SqlError::validation(format!("Table '{table}' not found"), span));
        }
        let all: Vec<&Relation> = self.relations.iter().collect();
        Err(self.unknown(&names[0], &all, None, span))
    }

    fn unknown(&self, name: &str, relations: &[&Relation], table: Option<&[String]>, span: Span) -> SqlError {
        let names =
            relations.iter().flat_map(|r| r.start..r.start + r.len).map(|i| self.schema[i].name.as_str());
        let place = table.map_or("any table".to_owned(), |t| format!("table '{}'", t.join(".")));
        let hint = suggestion(name, names).map_or(String::new(), |s| format!("; did you mean '{s}'?"));
        SqlError::validation(format!("Column '{name}' not found in {place}{hint}"), span)
    }
}

/// The candidate that is most like `name`, if one is like it at all.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .filter(|c| !c.starts_with('$'))
        .map(|c| (edit_distance(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(suggestion("orgin", ["dest", "origin"].into_iter()), Some("origin"));
        assert_eq!(suggestion("ORIGIN", ["origin"].into_iter()), Some("origin"));
        assert_eq!(suggestion("x", ["origin"].into_iter()), None);
    }
}
