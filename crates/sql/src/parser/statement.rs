//! The statement at the cursor, by its first words.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Result};
use super::{alter, create};

/// Parses one whole statement.
pub(crate) fn parse(c: &mut Cursor) -> Result<Statement> {
    let statement = statement(c)?;
    if c.is_end() { Ok(statement) } else { Err(c.expected("the end of the statement")) }
}

fn statement(c: &mut Cursor) -> Result<Statement> {
    if is_query(c) {
        return Ok(Statement::Query(c.query()?));
    }
    if c.peek(&["INSERT"]) {
        return Ok(Statement::Insert(Box::new(insert(c)?)));
    }
    if c.take(&["CREATE"]) {
        return create::create(c);
    }
    if c.take(&["DROP"]) {
        return alter::drop(c);
    }
    if c.take(&["ALTER"]) {
        return alter::alter(c);
    }
    if c.take(&["SET"]) {
        return Ok(Statement::Set(if c.is_end() { None } else { Some(c.key_value()?) }));
    }
    if c.take(&["RESET"]) {
        return Ok(Statement::Reset(if c.is_end() { None } else { Some(c.string()?) }));
    }
    if c.take(&["EXPLAIN"]) {
        return explain(c);
    }
    if c.take(&["EXECUTE", "PLAN"]) {
        return Ok(Statement::ExecutePlan(c.string()?));
    }
    if c.take(&["EXECUTE"]) {
        return execute(c);
    }
    if c.take(&["BEGIN", "STATEMENT", "SET"]) {
        return Ok(Statement::BeginStatementSet);
    }
    if c.take(&["END"]) {
        return Ok(Statement::EndStatementSet);
    }
    if c.take(&["SHOW"]) {
        return show(c);
    }
    if c.take(&["DESCRIBE"]) || c.take(&["DESC"]) {
        return describe(c);
    }
    if c.take(&["USE"]) {
        return use_statement(c);
    }
    other(c)
}

fn is_query(c: &Cursor) -> bool {
    c.peek(&["SELECT"]) || c.peek(&["WITH"]) || c.peek(&["VALUES"]) || c.peek_token(&Token::LParen)
}

fn other(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["ADD", "JAR"]) {
        return Ok(Statement::AddJar(c.string()?));
    }
    if c.take(&["REMOVE", "JAR"]) {
        return Ok(Statement::RemoveJar(c.string()?));
    }
    if c.take(&["LOAD", "MODULE"]) {
        let name = c.ident()?;
        return Ok(Statement::LoadModule { name, options: c.with_options()? });
    }
    if c.take(&["UNLOAD", "MODULE"]) {
        return Ok(Statement::UnloadModule(c.ident()?));
    }
    if c.take(&["ANALYZE", "TABLE"]) {
        return analyze(c);
    }
    if c.take(&["TRUNCATE", "TABLE"]) {
        return Ok(Statement::Truncate(c.name()?));
    }
    if c.take(&["DELETE", "FROM"]) {
        let table = c.name()?;
        return Ok(Statement::Delete { table, selection: selection(c)? });
    }
    if c.take(&["UPDATE"]) {
        let table = c.name()?;
        c.expect(&["SET"])?;
        let assignments = c.list(|c| {
            let column = c.ident()?;
            c.expect_token(&Token::Eq)?;
            Ok((column, c.expr()?))
        })?;
        return Ok(Statement::Update { table, assignments, selection: selection(c)? });
    }
    if c.take(&["CALL"]) {
        return Ok(Statement::Call(c.expr()?));
    }
    if c.take(&["COMPILE"]) {
        let execute = c.take(&["AND", "EXECUTE"]);
        c.expect(&["PLAN"])?;
        let path = c.string()?;
        let if_not_exists = c.if_not_exists();
        c.expect(&["FOR"])?;
        let statement = Box::new(insert_or_set(c)?);
        return Ok(Statement::CompilePlan { execute, path, if_not_exists, statement });
    }
    if c.take(&["STOP", "JOB"]) {
        let id = c.string()?;
        let (mut savepoint, mut drain) = (false, false);
        while c.take(&["WITH"]) {
            if c.take(&["DRAIN"]) {
                drain = true;
            } else {
                c.expect(&["SAVEPOINT"])?;
                savepoint = true;
            }
        }
        return Ok(Statement::StopJob { id, savepoint, drain });
    }
    Err(c.expected("a statement (SELECT, INSERT, CREATE, …)"))
}

fn selection(c: &mut Cursor) -> Result<Option<sqlparser::ast::Expr>> {
    if c.take(&["WHERE"]) { Ok(Some(c.expr()?)) } else { Ok(None) }
}

fn insert(c: &mut Cursor) -> Result<Insert> {
    c.expect(&["INSERT"])?;
    let overwrite = c.take(&["OVERWRITE"]);
    if !overwrite && !c.take(&["INTO"]) {
        return Err(c.expected("INTO or OVERWRITE"));
    }
    let table = c.name()?;
    let mut hints = Vec::new();
    // Hints behind the table arrive as WITH (…); WITH and a name begins the query.
    if c.peek(&["WITH"]) && c.parser.peek_nth_token_ref(1).token == Token::LParen {
        c.take(&["WITH"]);
        hints = c.parens(Cursor::expr)?;
    }
    let partition = if c.take(&["PARTITION"]) { c.partition()? } else { Vec::new() };
    let columns = if c.peek_token(&Token::LParen) && !begins_query(c) { c.idents()? } else { Vec::new() };
    let source = c.query()?;
    Ok(Insert { overwrite, table, hints, partition, columns, source })
}

/// `(` of a query rather than of a list of columns.
fn begins_query(c: &Cursor) -> bool {
    let mut ahead = 0;
    while c.parser.peek_nth_token_ref(ahead).token == Token::LParen {
        ahead += 1;
    }
    ["SELECT", "WITH", "VALUES"].iter().any(|word| c.peek_at(ahead, word))
}

/// Behind `EXECUTE`: a set, an insert or a query.
fn execute(c: &mut Cursor) -> Result<Statement> {
    if c.peek(&["STATEMENT", "SET"]) {
        return statement_set(c);
    }
    let inner =
        if is_query(c) { Statement::Query(c.query()?) } else { Statement::Insert(Box::new(insert(c)?)) };
    Ok(Statement::Execute(Box::new(inner)))
}

fn insert_or_set(c: &mut Cursor) -> Result<Statement> {
    if c.peek(&["STATEMENT", "SET"]) { statement_set(c) } else { Ok(Statement::Insert(Box::new(insert(c)?))) }
}

/// `STATEMENT SET BEGIN insert; …; END`.
fn statement_set(c: &mut Cursor) -> Result<Statement> {
    c.expect(&["STATEMENT", "SET", "BEGIN"])?;
    inserts(c)
}

/// `insert; …; END`.
pub(crate) fn inserts(c: &mut Cursor) -> Result<Statement> {
    let mut inserts = Vec::new();
    loop {
        if c.take(&["END"]) {
            break;
        }
        if !c.peek(&["INSERT"]) {
            return Err(c.expected("INSERT or END in the statement set"));
        }
        inserts.push(insert(c)?);
        c.expect_token(&Token::SemiColon)?;
    }
    if inserts.is_empty() {
        return Err(c.expected("at least one INSERT in the statement set"));
    }
    Ok(Statement::StatementSet(inserts))
}

fn explain(c: &mut Cursor) -> Result<Statement> {
    let mut details = Vec::new();
    if !c.take(&["PLAN", "FOR"]) {
        while let Some(detail) = explain_detail(c) {
            details.push(detail);
            if !c.token(&Token::Comma) {
                break;
            }
        }
    }
    let inner = if c.peek(&["STATEMENT", "SET"]) { statement_set(c)? } else { statement(c)? };
    Ok(Statement::Explain { details, statement: Box::new(inner) })
}

fn explain_detail(c: &mut Cursor) -> Option<ExplainDetail> {
    let details = [
        ("ESTIMATED_COST", ExplainDetail::EstimatedCost),
        ("CHANGELOG_MODE", ExplainDetail::ChangelogMode),
        ("JSON_EXECUTION_PLAN", ExplainDetail::JsonExecutionPlan),
        ("PLAN_ADVICE", ExplainDetail::PlanAdvice),
    ];
    details.into_iter().find(|(word, _)| c.take(&[word])).map(|(_, detail)| detail)
}

fn describe(c: &mut Cursor) -> Result<Statement> {
    let objects = [
        ("CATALOG", DescribeObject::Catalog),
        ("DATABASE", DescribeObject::Database),
        ("JOB", DescribeObject::Job),
        ("FUNCTION", DescribeObject::Function),
        ("MODEL", DescribeObject::Model),
    ];
    let object =
        objects.into_iter().find(|(word, _)| c.take(&[word])).map_or(DescribeObject::Table, |(_, o)| o);
    let extended = c.take(&["EXTENDED"]);
    let name = if object == DescribeObject::Job {
        sqlparser::ast::ObjectName::from(vec![sqlparser::ast::Ident::with_quote('\'', c.string()?)])
    } else {
        c.name()?
    };
    Ok(Statement::Describe { object, extended, name })
}

fn use_statement(c: &mut Cursor) -> Result<Statement> {
    if c.take(&["CATALOG"]) {
        return Ok(Statement::UseCatalog(c.ident()?));
    }
    if c.take(&["MODULES"]) {
        return Ok(Statement::UseModules(c.list(Cursor::ident)?));
    }
    Ok(Statement::Use(c.name()?))
}

fn analyze(c: &mut Cursor) -> Result<Statement> {
    let table = c.name()?;
    let partition = if c.take(&["PARTITION"]) { c.partition()? } else { Vec::new() };
    c.expect(&["COMPUTE", "STATISTICS"])?;
    let columns = if c.take(&["FOR", "ALL", "COLUMNS"]) {
        AnalyzeColumns::All
    } else if c.take(&["FOR", "COLUMNS"]) {
        AnalyzeColumns::Some(c.list(Cursor::ident)?)
    } else {
        AnalyzeColumns::None
    };
    Ok(Statement::Analyze { table, partition, columns })
}

fn show(c: &mut Cursor) -> Result<Statement> {
    let Some((_, kind)) = SHOW.iter().find(|(words, _)| c.take(words)) else {
        return Err(
            c.expected("TABLES, VIEWS, DATABASES, CATALOGS, COLUMNS, CREATE TABLE, FUNCTIONS, JOBS, …")
        );
    };
    let mut show = Show { kind: *kind, name: None, like: None, partition: Vec::new() };
    use ShowKind::*;
    match kind {
        CreateTable | CreateView | CreateCatalog | CreateMaterializedTable | CreateModel | Partitions => {
            show.name = Some(c.name()?);
        }
        Columns if !c.peek(&["FROM"]) && !c.peek(&["IN"]) => return Err(c.expected("FROM and a table")),
        CurrentCatalog | CurrentDatabase | Jars | Jobs | Modules | FullModules => {}
        _ => {
            if c.take(&["FROM"]) || c.take(&["IN"]) {
                show.name = Some(c.name()?);
            }
        }
    }
    if *kind == Partitions && c.take(&["PARTITION"]) {
        show.partition = c.partition()?;
    }
    let negated = c.take(&["NOT"]);
    let ignore_case = c.take(&["ILIKE"]);
    if ignore_case || c.take(&["LIKE"]) {
        show.like = Some(ShowLike { negated, ignore_case, pattern: c.string()? });
    } else if negated {
        return Err(c.expected("LIKE"));
    }
    Ok(Statement::Show(show))
}

/// The words behind SHOW, longest first where one begins another.
pub(crate) const SHOW: &[(&[&str], ShowKind)] = &[
    (&["CATALOGS"], ShowKind::Catalogs),
    (&["CURRENT", "CATALOG"], ShowKind::CurrentCatalog),
    (&["DATABASES"], ShowKind::Databases),
    (&["CURRENT", "DATABASE"], ShowKind::CurrentDatabase),
    (&["TABLES"], ShowKind::Tables),
    (&["MATERIALIZED", "TABLES"], ShowKind::MaterializedTables),
    (&["VIEWS"], ShowKind::Views),
    (&["FUNCTIONS"], ShowKind::Functions),
    (&["USER", "FUNCTIONS"], ShowKind::UserFunctions),
    (&["PROCEDURES"], ShowKind::Procedures),
    (&["MODELS"], ShowKind::Models),
    (&["MODULES"], ShowKind::Modules),
    (&["FULL", "MODULES"], ShowKind::FullModules),
    (&["JARS"], ShowKind::Jars),
    (&["JOBS"], ShowKind::Jobs),
    (&["COLUMNS"], ShowKind::Columns),
    (&["PARTITIONS"], ShowKind::Partitions),
    (&["CREATE", "TABLE"], ShowKind::CreateTable),
    (&["CREATE", "VIEW"], ShowKind::CreateView),
    (&["CREATE", "CATALOG"], ShowKind::CreateCatalog),
    (&["CREATE", "MATERIALIZED", "TABLE"], ShowKind::CreateMaterializedTable),
    (&["CREATE", "MODEL"], ShowKind::CreateModel),
];
