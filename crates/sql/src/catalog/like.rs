//! `CREATE TABLE … LIKE base (…)`: what is taken from the base table, and what the new table may replace.

use sqlparser::ast::Spanned as _;
use sqlparser::tokenizer::Span;

use super::table::{CatalogTable, Column, ColumnSource, set_options};
use crate::error::SqlError;
use crate::parser::{ColumnKind, CreateTable, LikeFeature, LikeStrategy};

type Result<T> = std::result::Result<T, SqlError>;

/// The strategy for each feature: Flink's default is INCLUDING ALL OVERWRITING OPTIONS.
struct Strategies<'a>(&'a [(LikeStrategy, LikeFeature)]);

impl Strategies<'_> {
    fn of(&self, feature: LikeFeature) -> LikeStrategy {
        let find = |wanted| self.0.iter().rev().find(|(_, f)| *f == wanted).map(|(strategy, _)| *strategy);
        let default = match feature {
            LikeFeature::Options => LikeStrategy::Overwriting,
            _ => LikeStrategy::Including,
        };
        find(feature).or_else(|| find(LikeFeature::All)).unwrap_or(default)
    }
}

/// The table that `create` declares on top of `base`.
pub(super) fn merge(
    base: &CatalogTable,
    create: &CreateTable,
    options: &[(LikeStrategy, LikeFeature)],
) -> Result<CatalogTable> {
    let strategies = Strategies(options);
    let span = create.name.span();
    let mut table = CatalogTable {
        columns: merge_columns(base, create, &strategies)?,
        options: merge_options(base, create, strategies.of(LikeFeature::Options), span)?,
        comment: create.comment.clone(),
        ..CatalogTable::default()
    };
    merge_watermark(&mut table, base, create, strategies.of(LikeFeature::Watermarks))?;
    merge_primary_key(&mut table, base, create, strategies.of(LikeFeature::Constraints), span)?;
    // As in Flink, EXCLUDING only allows the new table to have its own.
    let is_taken = !base.partition_keys.is_empty() && !create.partitioned_by.is_empty();
    if is_taken && strategies.of(LikeFeature::Partitions) == LikeStrategy::Including {
        return Err(taken("partitions", "PARTITIONS", span));
    }
    let own = !create.partitioned_by.is_empty();
    table.partition_keys = if own { create.partitioned_by.clone() } else { base.partition_keys.clone() };
    let is_taken = base.distribution.is_some() && create.distributed_by.is_some();
    if is_taken && strategies.of(LikeFeature::Distribution) == LikeStrategy::Including {
        return Err(taken("a distribution", "DISTRIBUTION", span));
    }
    table.distribution = create.distributed_by.clone().or_else(|| base.distribution.clone());
    Ok(table)
}

fn taken(what: &str, feature: &str, span: Span) -> SqlError {
    let message = format!("the base table already has {what}; you might want EXCLUDING {feature}");
    SqlError::validation(message, span)
}

fn merge_columns(
    base: &CatalogTable,
    create: &CreateTable,
    strategies: &Strategies<'_>,
) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for column in &base.columns {
        let is_excluded = |feature| strategies.of(feature) == LikeStrategy::Excluding;
        let skip = match column.source {
            ColumnSource::Physical => false,
            ColumnSource::Computed(_) => is_excluded(LikeFeature::Generated),
            ColumnSource::Metadata { .. } => is_excluded(LikeFeature::Metadata),
        };
        if !skip {
            columns.push(column.clone());
        }
    }
    for (i, def) in create.columns.iter().enumerate() {
        let name = &def.name.value;
        if create.columns[..i].iter().any(|other| other.name.value == *name) {
            return Err(SqlError::validation(format!("column `{name}` is defined twice"), def.name.span));
        }
        let Some(existing) = columns.iter_mut().find(|c| c.name == *name) else {
            columns.push(Column::new(def));
            continue;
        };
        let (feature, word) = match (&def.kind, &existing.source) {
            (ColumnKind::Computed(_), ColumnSource::Computed(_)) => (LikeFeature::Generated, "GENERATED"),
            (ColumnKind::Metadata { .. }, ColumnSource::Metadata { .. }) => {
                (LikeFeature::Metadata, "METADATA")
            }
            _ => {
                let message = format!("a column `{name}` already exists in the base table");
                return Err(SqlError::validation(message, def.name.span));
            }
        };
        if strategies.of(feature) != LikeStrategy::Overwriting {
            let message = format!(
                "a column `{name}` already exists in the base table; you might want EXCLUDING {word} or OVERWRITING {word}"
            );
            return Err(SqlError::validation(message, def.name.span));
        }
        *existing = Column::new(def);
    }
    Ok(columns)
}

fn merge_options(
    base: &CatalogTable,
    create: &CreateTable,
    strategy: LikeStrategy,
    span: Span,
) -> Result<Vec<(String, String)>> {
    if strategy == LikeStrategy::Excluding {
        return Ok(create.options.clone());
    }
    let mut options = base.options.clone();
    if strategy == LikeStrategy::Including
        && let Some((key, _)) = create.options.iter().find(|(key, _)| base.option(key).is_some())
    {
        let message = format!(
            "the base table already has the option '{key}'; you might want EXCLUDING OPTIONS or OVERWRITING OPTIONS"
        );
        return Err(SqlError::validation(message, span));
    }
    set_options(&mut options, &create.options);
    Ok(options)
}

fn merge_watermark(
    table: &mut CatalogTable,
    base: &CatalogTable,
    create: &CreateTable,
    strategy: LikeStrategy,
) -> Result<()> {
    table.watermark = match (&base.watermark, &create.watermark, strategy) {
        (Some(_), Some(own), LikeStrategy::Including) => {
            let message = "the base table already has a watermark; you might want EXCLUDING WATERMARKS or OVERWRITING \
                           WATERMARKS";
            let span = own.column.first().map_or(Span::empty(), |c| c.span);
            return Err(SqlError::validation(message, span));
        }
        (_, Some(own), _) => Some(own.clone()),
        (_, None, LikeStrategy::Excluding) => None,
        (base, None, _) => base.clone(),
    };
    Ok(())
}

fn merge_primary_key(
    table: &mut CatalogTable,
    base: &CatalogTable,
    create: &CreateTable,
    strategy: LikeStrategy,
    span: Span,
) -> Result<()> {
    if strategy != LikeStrategy::Excluding {
        if base.primary_key.is_some() && create.primary_key.is_some() {
            return Err(taken("a primary key", "CONSTRAINTS", span));
        }
        table.primary_key.clone_from(&base.primary_key);
    }
    create.primary_key.as_ref().map_or(Ok(()), |key| table.set_primary_key(key))
}
