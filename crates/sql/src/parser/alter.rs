//! `ALTER …` and `DROP …`.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::create::{column, distribution, function, is_constraint, primary_key, watermark};
use super::cursor::{Cursor, Result};

pub(crate) fn drop(c: &mut Cursor) -> Result<Statement> {
    let temporary = c.take(&["TEMPORARY"]);
    let system = temporary && c.take(&["SYSTEM"]);
    let kind = drop_kind(c)?;
    let if_exists = c.if_exists();
    let name = c.name()?;
    let cascade = kind == DropKind::Database && c.take(&["CASCADE"]);
    if kind == DropKind::Database && !cascade {
        c.take(&["RESTRICT"]);
    }
    Ok(Statement::Drop(Drop { kind, temporary, system, if_exists, name, cascade }))
}

fn drop_kind(c: &mut Cursor) -> Result<DropKind> {
    let kinds = [
        ("CATALOG", DropKind::Catalog),
        ("DATABASE", DropKind::Database),
        ("TABLE", DropKind::Table),
        ("VIEW", DropKind::View),
        ("FUNCTION", DropKind::Function),
        ("MODEL", DropKind::Model),
    ];
    for (word, kind) in kinds {
        if c.take(&[word]) {
            return Ok(kind);
        }
    }
    if c.take(&["MATERIALIZED", "TABLE"]) {
        return Ok(DropKind::MaterializedTable);
    }
    Err(c.expected("TABLE, VIEW, DATABASE, CATALOG, FUNCTION or MODEL"))
}

pub(crate) fn alter(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["TABLE"]) {
        let if_exists = c.if_exists();
        let name = c.name()?;
        let operation = Box::new(alter_table(c)?);
        return Ok(Statement::AlterTable { if_exists, name, operation });
    }
    if c.take(&["VIEW"]) {
        let name = c.name()?;
        let operation = if c.take(&["RENAME", "TO"]) {
            AlterView::RenameTo(c.name()?)
        } else {
            c.expect(&["AS"])?;
            AlterView::As(c.query()?)
        };
        return Ok(Statement::AlterView { name, operation });
    }
    if c.take(&["DATABASE"]) {
        let name = c.name()?;
        c.expect(&["SET"])?;
        return Ok(Statement::AlterDatabase { name, options: c.options()? });
    }
    if c.take(&["CATALOG"]) {
        let name = c.ident()?;
        let operation = if c.take(&["SET"]) {
            AlterCatalog::Set(c.options()?)
        } else if c.take(&["RESET"]) {
            AlterCatalog::Reset(c.keys()?)
        } else if c.take(&["COMMENT"]) {
            AlterCatalog::Comment(c.string()?)
        } else {
            return Err(c.expected("SET, RESET or COMMENT"));
        };
        return Ok(Statement::AlterCatalog { name, operation });
    }
    if c.take(&["MATERIALIZED", "TABLE"]) {
        let name = c.name()?;
        return Ok(Statement::AlterMaterializedTable { name, operation: alter_materialized(c)? });
    }
    let temporary = c.take(&["TEMPORARY"]);
    let system = temporary && c.take(&["SYSTEM"]);
    if c.take(&["FUNCTION"]) {
        let if_exists = c.if_exists();
        return Ok(Statement::AlterFunction(Box::new(function(c, temporary, system, if_exists)?)));
    }
    Err(c.expected("TABLE, VIEW, DATABASE, CATALOG or FUNCTION"))
}

fn alter_materialized(c: &mut Cursor) -> Result<AlterMaterializedTable> {
    if c.take(&["SUSPEND"]) {
        Ok(AlterMaterializedTable::Suspend)
    } else if c.take(&["RESUME"]) {
        Ok(AlterMaterializedTable::Resume(c.with_options()?))
    } else if c.take(&["REFRESH"]) {
        let partition = if c.take(&["PARTITION"]) { c.partition()? } else { Vec::new() };
        Ok(AlterMaterializedTable::Refresh(partition))
    } else if c.take(&["AS"]) {
        Ok(AlterMaterializedTable::As(c.query()?))
    } else {
        Err(c.expected("SUSPEND, RESUME, REFRESH or AS"))
    }
}

fn alter_table(c: &mut Cursor) -> Result<AlterTable> {
    if c.take(&["RENAME", "TO"]) {
        return Ok(AlterTable::RenameTo(c.name()?));
    }
    if c.take(&["RENAME"]) {
        let from = c.ident()?;
        c.expect(&["TO"])?;
        return Ok(AlterTable::RenameColumn { from, to: c.ident()? });
    }
    if c.take(&["SET"]) {
        return Ok(AlterTable::Set(c.options()?));
    }
    if c.take(&["RESET"]) {
        return Ok(AlterTable::Reset(c.keys()?));
    }
    if c.take(&["MODIFY"]) {
        return Ok(AlterTable::Modify(elements(c)?));
    }
    if c.take(&["ADD"]) {
        let if_not_exists = c.if_not_exists();
        if c.take(&["PARTITION"]) {
            let partition = c.partition()?;
            let options = c.with_options()?;
            return Ok(AlterTable::AddPartition { if_not_exists, partition, options });
        }
        return Ok(AlterTable::Add(elements(c)?));
    }
    c.expect(&["DROP"])?;
    let if_exists = c.if_exists();
    if c.take(&["PARTITION"]) {
        return Ok(AlterTable::DropPartition { if_exists, partition: c.partition()? });
    }
    if c.take(&["PRIMARY", "KEY"]) {
        return Ok(AlterTable::DropPrimaryKey);
    }
    if c.take(&["CONSTRAINT"]) {
        return Ok(AlterTable::DropConstraint(c.ident()?));
    }
    if c.take(&["WATERMARK"]) {
        return Ok(AlterTable::DropWatermark);
    }
    if c.take(&["DISTRIBUTION"]) {
        return Ok(AlterTable::DropDistribution);
    }
    let columns = if c.peek_token(&Token::LParen) { c.idents()? } else { vec![c.ident()?] };
    Ok(AlterTable::DropColumns(columns))
}

/// One element, or several in parentheses.
fn elements(c: &mut Cursor) -> Result<TableElements> {
    let mut elements = TableElements::default();
    if !c.token(&Token::LParen) {
        element(c, &mut elements)?;
        return Ok(elements);
    }
    loop {
        element(c, &mut elements)?;
        if !c.token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(elements)
}

fn element(c: &mut Cursor, elements: &mut TableElements) -> Result<()> {
    if c.peek(&["WATERMARK", "FOR"]) {
        elements.watermark = Some(watermark(c)?);
    } else if is_constraint(c) {
        elements.primary_key = Some(primary_key(c)?);
    } else if c.peek(&["DISTRIBUTION"]) {
        elements.distribution = distribution(c)?;
    } else {
        let (column, key) = column(c)?;
        if key.is_some() {
            elements.primary_key = key;
        }
        let position = if c.take(&["FIRST"]) {
            Some(ColumnPosition::First)
        } else if c.take(&["AFTER"]) {
            Some(ColumnPosition::After(c.ident()?))
        } else {
            None
        };
        elements.columns.push((column, position));
    }
    Ok(())
}
