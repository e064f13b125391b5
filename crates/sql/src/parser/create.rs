//! `CREATE …`.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Result};
use crate::error::SqlError;

/// What stands between the parentheses of a table.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnDef>,
    watermark: Option<Watermark>,
    primary_key: Option<PrimaryKey>,
}

pub(crate) fn create(c: &mut Cursor) -> Result<Statement> {
    let or_replace = c.take(&["OR", "REPLACE"]);
    let or_alter = c.take(&["OR", "ALTER"]);
    if c.take(&["MATERIALIZED", "TABLE"]) {
        return materialized_table(c, or_alter);
    }
    if or_replace && !c.peek(&["TABLE"]) {
        return Err(c.expected("TABLE"));
    }
    if or_alter {
        return Err(c.expected("MATERIALIZED TABLE"));
    }
    let temporary = c.take(&["TEMPORARY"]);
    let system = temporary && c.take(&["SYSTEM"]);
    if c.take(&["FUNCTION"]) {
        let if_condition = c.if_not_exists();
        return Ok(Statement::CreateFunction(Box::new(function(c, temporary, system, if_condition)?)));
    }
    if system {
        return Err(c.expected("FUNCTION"));
    }
    if c.take(&["TABLE"]) {
        return Ok(Statement::CreateTable(Box::new(table(c, or_replace, temporary)?)));
    }
    if c.take(&["VIEW"]) {
        return view(c, temporary);
    }
    if c.take(&["MODEL"]) {
        return model(c, temporary);
    }
    if !temporary && c.take(&["CATALOG"]) {
        let if_not_exists = c.if_not_exists();
        let name = c.ident()?;
        let comment = c.comment()?;
        let options = c.with_options()?;
        return Ok(Statement::CreateCatalog { if_not_exists, name, comment, options });
    }
    if !temporary && c.take(&["DATABASE"]) {
        let if_not_exists = c.if_not_exists();
        let name = c.name()?;
        let comment = c.comment()?;
        let options = c.with_options()?;
        return Ok(Statement::CreateDatabase { if_not_exists, name, comment, options });
    }
    Err(c.expected("TABLE, VIEW, DATABASE, CATALOG, FUNCTION or MODEL"))
}

fn table(c: &mut Cursor, or_replace: bool, temporary: bool) -> Result<CreateTable> {
    let if_not_exists = c.if_not_exists();
    let name = Name(c.name()?);
    let mut table = CreateTable { or_replace, temporary, if_not_exists, name, ..CreateTable::default() };
    if c.peek_token(&Token::LParen) {
        let elements = elements(c)?;
        table.columns = elements.columns;
        table.watermark = elements.watermark;
        table.primary_key = elements.primary_key;
    }
    table.comment = c.comment()?;
    table.distributed_by = distribution(c)?;
    if c.take(&["PARTITIONED", "BY"]) {
        table.partitioned_by = c.idents()?;
    }
    table.options = c.with_options()?;
    if c.take(&["LIKE"]) {
        table.like = Some(like(c)?);
    } else if c.take(&["AS"]) {
        table.as_query = Some(c.query()?);
    }
    if or_replace && table.as_query.is_none() {
        return Err(c.expected("AS and a query, which CREATE OR REPLACE TABLE needs"));
    }
    Ok(table)
}

fn elements(c: &mut Cursor) -> Result<Elements> {
    let mut elements = Elements::default();
    c.expect_token(&Token::LParen)?;
    loop {
        let span = c.span();
        let (is_duplicate, what) = if c.peek(&["WATERMARK", "FOR"]) {
            (elements.watermark.replace(watermark(c)?).is_some(), "WATERMARK")
        } else if is_constraint(c) {
            (elements.primary_key.replace(primary_key(c)?).is_some(), "PRIMARY KEY")
        } else {
            let (column, key) = column(c)?;
            elements.columns.push(column);
            match key {
                Some(key) => (elements.primary_key.replace(key).is_some(), "PRIMARY KEY"),
                None => (false, ""),
            }
        };
        if is_duplicate {
            return Err(SqlError::validation(format!("a table has one {what}; this is the second"), span));
        }
        if !c.token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(elements)
}

pub(crate) fn is_constraint(c: &Cursor) -> bool {
    c.peek(&["PRIMARY", "KEY"])
        || c.peek(&["CONSTRAINT"])
        || (c.peek(&["UNIQUE"]) && c.parser.peek_nth_token_ref(1).token == Token::LParen)
}

pub(crate) fn watermark(c: &mut Cursor) -> Result<Watermark> {
    c.expect(&["WATERMARK", "FOR"])?;
    let mut column = vec![c.ident()?];
    while c.token(&Token::Period) {
        column.push(c.ident()?);
    }
    c.expect(&["AS"])?;
    Ok(Watermark { column, expr: c.expr()? })
}

pub(crate) fn primary_key(c: &mut Cursor) -> Result<PrimaryKey> {
    let name = if c.take(&["CONSTRAINT"]) { Some(c.ident()?) } else { None };
    if c.peek(&["UNIQUE"]) {
        return Err(SqlError::validation(
            "Flink has no UNIQUE constraint; use PRIMARY KEY … NOT ENFORCED",
            c.span(),
        ));
    }
    c.expect(&["PRIMARY", "KEY"])?;
    let columns = c.idents()?;
    Ok(PrimaryKey { name, columns, enforced: enforced(c) })
}

/// False for `NOT ENFORCED`. Left out means enforced, which the catalog refuses as Flink does.
fn enforced(c: &mut Cursor) -> bool {
    if c.take(&["NOT", "ENFORCED"]) {
        return false;
    }
    c.take(&["ENFORCED"]);
    true
}

/// A column, and the primary key if the column declares one.
pub(crate) fn column(c: &mut Cursor) -> Result<(ColumnDef, Option<PrimaryKey>)> {
    let name = c.ident()?;
    if c.take(&["AS"]) {
        let kind = ColumnKind::Computed(c.expr()?);
        let comment = c.comment()?;
        return Ok((ColumnDef { name, kind, comment }, None));
    }
    let data_type = c.data_type()?;
    if c.take(&["METADATA"]) {
        let key = if c.take(&["FROM"]) { Some(c.string()?) } else { None };
        let is_virtual = c.take(&["VIRTUAL"]);
        let comment = c.comment()?;
        let kind = ColumnKind::Metadata { data_type, key, is_virtual };
        return Ok((ColumnDef { name, kind, comment }, None));
    }
    let constraint = if c.take(&["CONSTRAINT"]) { Some(c.ident()?) } else { None };
    let mut key = None;
    if c.take(&["PRIMARY", "KEY"]) {
        let enforced = enforced(c);
        key = Some(PrimaryKey { name: constraint, columns: vec![name.clone()], enforced });
    } else if constraint.is_some() {
        return Err(c.expected("PRIMARY KEY"));
    } else if c.peek(&["UNIQUE"]) {
        return Err(SqlError::validation(
            "Flink has no UNIQUE constraint; use PRIMARY KEY … NOT ENFORCED",
            c.span(),
        ));
    } else if c.peek(&["DEFAULT"]) {
        return Err(SqlError::validation("Flink has no DEFAULT for columns", c.span()));
    }
    let comment = c.comment()?;
    Ok((ColumnDef { name, kind: ColumnKind::Physical(data_type), comment }, key))
}

pub(crate) fn distribution(c: &mut Cursor) -> Result<Option<Distribution>> {
    if !c.take(&["DISTRIBUTED"]) && !c.take(&["DISTRIBUTION"]) {
        return Ok(None);
    }
    let mut distribution = Distribution { algorithm: None, columns: Vec::new(), buckets: None };
    if c.take(&["BY"]) {
        for algorithm in ["HASH", "RANGE"] {
            if c.take(&[algorithm]) {
                distribution.algorithm = Some(algorithm.to_string());
            }
        }
        distribution.columns = c.idents()?;
    }
    if c.take(&["INTO"]) {
        distribution.buckets = Some(c.number()?);
        c.expect(&["BUCKETS"])?;
    } else if distribution.columns.is_empty() {
        return Err(c.expected("BY or INTO"));
    }
    Ok(Some(distribution))
}

fn like(c: &mut Cursor) -> Result<TableLike> {
    let table = c.name()?;
    let mut options = Vec::new();
    if c.token(&Token::LParen) {
        while !c.token(&Token::RParen) {
            let span = c.span();
            let strategy = like_strategy(c)?;
            let feature = like_feature(c)?;
            if strategy == LikeStrategy::Overwriting && !can_overwrite(feature) {
                let message = "OVERWRITING is only possible for GENERATED, METADATA, OPTIONS, PARTITIONS and WATERMARKS";
                return Err(SqlError::validation(message, span));
            }
            options.push((strategy, feature));
            c.token(&Token::Comma);
        }
    }
    Ok(TableLike { table, options })
}

fn like_strategy(c: &mut Cursor) -> Result<LikeStrategy> {
    let strategies = [
        ("INCLUDING", LikeStrategy::Including),
        ("EXCLUDING", LikeStrategy::Excluding),
        ("OVERWRITING", LikeStrategy::Overwriting),
    ];
    for (word, strategy) in strategies {
        if c.take(&[word]) {
            return Ok(strategy);
        }
    }
    Err(c.expected("INCLUDING, EXCLUDING or OVERWRITING"))
}

fn like_feature(c: &mut Cursor) -> Result<LikeFeature> {
    let features = [
        ("ALL", LikeFeature::All),
        ("CONSTRAINTS", LikeFeature::Constraints),
        ("DISTRIBUTION", LikeFeature::Distribution),
        ("GENERATED", LikeFeature::Generated),
        ("METADATA", LikeFeature::Metadata),
        ("OPTIONS", LikeFeature::Options),
        ("PARTITIONS", LikeFeature::Partitions),
        ("WATERMARKS", LikeFeature::Watermarks),
    ];
    for (word, feature) in features {
        if c.take(&[word]) {
            return Ok(feature);
        }
    }
    Err(c.expected("ALL, CONSTRAINTS, DISTRIBUTION, GENERATED, METADATA, OPTIONS, PARTITIONS or WATERMARKS"))
}

fn can_overwrite(feature: LikeFeature) -> bool {
    use LikeFeature::*;
    matches!(feature, Generated | Metadata | Options | Partitions | Watermarks)
}

fn view(c: &mut Cursor, temporary: bool) -> Result<Statement> {
    let if_not_exists = c.if_not_exists();
    let name = c.name()?;
    let columns = if c.peek_token(&Token::LParen) { c.idents()? } else { Vec::new() };
    let comment = c.comment()?;
    c.expect(&["AS"])?;
    let query = c.query()?;
    Ok(Statement::CreateView(Box::new(CreateView {
        temporary,
        if_not_exists,
        name,
        columns,
        comment,
        query,
    })))
}

fn materialized_table(c: &mut Cursor, or_alter: bool) -> Result<Statement> {
    let name = Name(c.name()?);
    let mut table = CreateTable { if_not_exists: false, name, ..CreateTable::default() };
    if c.peek_token(&Token::LParen) {
        let elements = elements(c)?;
        table.columns = elements.columns;
        table.watermark = elements.watermark;
        table.primary_key = elements.primary_key;
    }
    table.comment = c.comment()?;
    table.distributed_by = distribution(c)?;
    if c.take(&["PARTITIONED", "BY"]) {
        table.partitioned_by = c.idents()?;
    }
    table.options = c.with_options()?;
    let freshness = if c.take(&["FRESHNESS"]) {
        c.expect_token(&Token::Eq)?;
        Some(c.expr()?)
    } else {
        None
    };
    let mut refresh_mode = None;
    if c.take(&["REFRESH_MODE"]) {
        c.expect_token(&Token::Eq)?;
        for mode in ["CONTINUOUS", "FULL"] {
            if c.take(&[mode]) {
                refresh_mode = Some(mode.to_string());
            }
        }
        if refresh_mode.is_none() {
            return Err(c.expected("CONTINUOUS or FULL"));
        }
    }
    c.expect(&["AS"])?;
    table.as_query = Some(c.query()?);
    let table = CreateMaterializedTable { or_alter, table, freshness, refresh_mode };
    Ok(Statement::CreateMaterializedTable(Box::new(table)))
}

pub(crate) fn function(
    c: &mut Cursor,
    temporary: bool,
    system: bool,
    if_condition: bool,
) -> Result<CreateFunction> {
    let name = c.name()?;
    c.expect(&["AS"])?;
    let class_name = c.string()?;
    let language = if c.take(&["LANGUAGE"]) { Some(c.ident()?.value.to_ascii_uppercase()) } else { None };
    let mut jars = Vec::new();
    if c.take(&["USING"]) {
        jars = c.list(|c| {
            let _ = c.take(&["JAR"]) || c.take(&["ARTIFACT"]);
            c.string()
        })?;
    }
    let options = c.with_options()?;
    Ok(CreateFunction { temporary, system, if_condition, name, class_name, language, jars, options })
}

fn model(c: &mut Cursor, temporary: bool) -> Result<Statement> {
    let if_not_exists = c.if_not_exists();
    let name = c.name()?;
    let input = if c.take(&["INPUT"]) { c.parens(|c| Ok(column(c)?.0))? } else { Vec::new() };
    let output = if c.take(&["OUTPUT"]) { c.parens(|c| Ok(column(c)?.0))? } else { Vec::new() };
    let comment = c.comment()?;
    let options = c.with_options()?;
    let model = CreateModel { temporary, if_not_exists, name, input, output, comment, options };
    Ok(Statement::CreateModel(Box::new(model)))
}
