//! SHOW, DESCRIBE and SET without a key.

use sqlparser::ast::{ObjectName, Spanned};
use sqlparser::tokenizer::Span;

use super::StatementResult;
use crate::catalog::{Catalog, CatalogObject, DEFAULT_CATALOG};
use crate::config::Config;
use crate::error::SqlError;
use crate::parser::{Show, ShowKind, ShowLike};

type Result<T> = std::result::Result<T, SqlError>;

/// All keys that are set.
pub(super) fn configuration(config: &Config) -> StatementResult {
    let rows = config.entries().iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect();
    table(&["key", "value"], rows)
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> StatementResult {
    StatementResult::Table { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows }
}

pub(super) fn show(show: &Show, catalog: &Catalog) -> Result<StatementResult> {
    let list = |title: &str, names: Vec<String>| {
        let names =
            names.into_iter().filter(|name| show.like.as_ref().is_none_or(|like| matches(like, name)));
        Ok(table(&[title], names.map(|name| vec![name]).collect()))
    };
    let database = || match &show.name {
        Some(name) => catalog.existing_database(name),
        None => Ok(catalog.current_database().to_owned()),
    };
    match show.kind {
        ShowKind::Catalogs => list("catalog name", vec![DEFAULT_CATALOG.to_owned()]),
        ShowKind::CurrentCatalog => list("current catalog name", vec![DEFAULT_CATALOG.to_owned()]),
        ShowKind::Databases => {
            list("database name", catalog.databases().into_iter().map(str::to_owned).collect())
        }
        ShowKind::CurrentDatabase => {
            list("current database name", vec![catalog.current_database().to_owned()])
        }
        ShowKind::Tables => {
            list("table name", catalog.names(&database()?).into_iter().map(|(name, _)| name).collect())
        }
        ShowKind::Views => {
            let views = catalog.names(&database()?).into_iter().filter(|(_, is_view)| *is_view);
            list("view name", views.map(|(name, _)| name).collect())
        }
        ShowKind::Jobs => Ok(table(&["job id", "job name", "status", "start time"], Vec::new())),
        ShowKind::Functions => {
            let names = crate::expr::function_names().into_iter().map(str::to_lowercase);
            list("function name", names.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
        }
        ShowKind::UserFunctions => list("function name", Vec::new()),
        ShowKind::Modules => list("module name", vec!["core".to_owned()]),
        ShowKind::Jars => list("jars", Vec::new()),
        ShowKind::CreateTable | ShowKind::CreateView => {
            let Some(name) = &show.name else { return Err(unsupported(show)) };
            let (path, object) = catalog.resolve(name)?;
            let temporary = catalog.is_temporary(&path);
            match (object, show.kind) {
                (CatalogObject::Table(table), ShowKind::CreateTable) => {
                    Ok(StatementResult::Text(table.show_create(&path, temporary)))
                }
                (CatalogObject::View(view), ShowKind::CreateView) => {
                    Ok(StatementResult::Text(view.show_create(&path, temporary)))
                }
                (object, _) => Err(SqlError::validation(
                    format!(
                        "'{path}' is a {}; use SHOW CREATE {}",
                        object.kind(),
                        object.kind().to_uppercase()
                    ),
                    name.span(),
                )),
            }
        }
        ShowKind::Columns => {
            let Some(name) = &show.name else { return Err(unsupported(show)) };
            let StatementResult::Table { columns, mut rows } = describe(catalog, name)? else {
                return Err(unsupported(show));
            };
            rows.retain(|row| {
                show.like.as_ref().is_none_or(|like| row.first().is_some_and(|n| matches(like, n)))
            });
            Ok(StatementResult::Table { columns, rows })
        }
        _ => Err(unsupported(show)),
    }
}

fn unsupported(show: &Show) -> SqlError {
    let span = show.name.as_ref().map_or(Span::empty(), Spanned::span);
    SqlError::unsupported(format!("SHOW {:?}", show.kind), span)
}

/// `DESCRIBE name`.
pub(super) fn describe(catalog: &Catalog, name: &ObjectName) -> Result<StatementResult> {
    let rows = match catalog.resolve(name)?.1 {
        CatalogObject::Table(table) => table
            .describe()
            .into_iter()
            .map(|row| {
                let text = |value: Option<String>| value.unwrap_or_else(|| "<NULL>".to_owned());
                let nullable = if row.nullable { "TRUE" } else { "FALSE" };
                vec![
                    row.name,
                    row.data_type,
                    nullable.to_owned(),
                    text(row.key),
                    text(row.extras),
                    text(row.watermark),
                ]
            })
            .collect(),
        CatalogObject::View(view) => view
            .schema
            .iter()
            .flatten()
            .map(|field| {
                let nullable = if field.data_type.nullable { "TRUE" } else { "FALSE" };
                let mut row = vec![field.name.clone(), field.data_type.kind.to_string(), nullable.to_owned()];
                row.extend(std::iter::repeat_n("<NULL>".to_owned(), 3));
                row
            })
            .collect(),
    };
    Ok(table(&["name", "type", "null", "key", "extras", "watermark"], rows))
}

/// LIKE with `%` and `_`.
fn matches(like: &ShowLike, name: &str) -> bool {
    let fold = |text: &str| if like.ignore_case { text.to_lowercase() } else { text.to_owned() };
    let (pattern, name): (Vec<char>, Vec<char>) =
        (fold(&like.pattern).chars().collect(), fold(name).chars().collect());
    // Where the last `%` was, to come back to.
    let (mut p, mut n, mut star) = (0, 0, None);
    let matched = loop {
        if p < pattern.len() && pattern[p] == '%' {
            star = Some((p, n));
            p += 1;
        } else if n < name.len() && p < pattern.len() && (pattern[p] == '_' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if n == name.len() && p == pattern.len() {
            break true;
        } else if let Some((at, from)) = star.filter(|(_, from)| *from < name.len()) {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            break false;
        }
    };
    matched != like.negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        let like =
            |pattern: &str| ShowLike { negated: false, ignore_case: false, pattern: pattern.to_owned() };
        assert!(matches(&like("a%"), "abc") && matches(&like("%b_"), "abc") && matches(&like("%"), ""));
        assert!(!matches(&like("a_"), "abc") && !matches(&like("A%"), "abc"));
        assert!(matches(&ShowLike { ignore_case: true, ..like("A%") }, "abc"));
        assert!(!matches(&ShowLike { negated: true, ..like("a%") }, "abc"));
    }
}
