//! The catalog as statements: what a catalog outside of the session keeps, and what a job needs of it.
//!
//! Invariant: a definition that a session gives, another session takes, and gives again as the same text.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::ast::Spanned;

use super::{Result, Session};
use crate::catalog::{CatalogObject, DEFAULT_DATABASE, Database, ObjectPath};
use crate::error::SqlError;
use crate::parser::{Statement, parse_statement};

/// A permanent table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Whether it is a view.
    pub is_view: bool,
    /// The CREATE statement, with the object's full name.
    pub statement: String,
    /// The database in which the unqualified names of a view are looked up; of a table its own.
    pub database: String,
}

impl Session {
    /// The databases, with comment and options.
    pub fn databases(&self) -> BTreeMap<String, Database> {
        self.catalog.bare_databases().map(|(name, database)| (name.to_owned(), database)).collect()
    }

    /// The permanent tables and views, by database and name.
    pub fn definitions(&self) -> BTreeMap<(String, String), Definition> {
        let objects = self.catalog.permanent();
        objects
            .map(|(path, object)| {
                let (is_view, database) = match object {
                    CatalogObject::Table(_) => (false, path.database.clone()),
                    CatalogObject::View(view) => (true, view.database.clone()),
                };
                let statement = object.show_create(&path, false);
                ((path.database, path.object), Definition { is_view, statement, database })
            })
            .collect()
    }

    /// Makes a database, or gives it another comment and options.
    pub fn define_database(&mut self, name: &str, database: Database) {
        self.catalog.put_database(name, database);
    }

    /// Takes permanent tables and views, in any order; gives those that are not valid, with the reason. A view of tables that are not
    /// there is taken all the same, since they may come; `strict` ones are not.
    pub fn define<'a>(
        &mut self,
        definitions: impl IntoIterator<Item = ((String, String), &'a Definition)>,
        strict: impl Fn(&(String, String)) -> bool,
    ) -> BTreeMap<(String, String), SqlError> {
        let mut problems = BTreeMap::new();
        let (mut views, tables): (Vec<_>, Vec<_>) =
            definitions.into_iter().partition(|(_, definition)| definition.is_view);
        for (name, definition) in tables {
            if let Err(error) = self.define_one(&name, definition, true) {
                problems.insert(name, error);
            }
        }
        // Views of views: as long as a round brings any further.
        loop {
            let before = views.len();
            views.retain(|(name, definition)| self.define_one(name, definition, true).is_err());
            if views.is_empty() || views.len() == before {
                break;
            }
        }
        for (name, definition) in views {
            if let Err(error) = self.define_one(&name, definition, strict(&name)) {
                problems.insert(name, error);
            }
        }
        problems
    }

    fn define_one(&mut self, name: &(String, String), definition: &Definition, bound: bool) -> Result<()> {
        let statement = parse_statement(&definition.statement)?.node;
        let (is_view, found, temporary) = match &statement {
            Statement::CreateTable(create) if create.like.is_some() => {
                return Err(SqlError::catalog("a table is kept with all of its columns, without LIKE"));
            }
            Statement::CreateTable(create) => (false, &create.name.0, create.temporary),
            Statement::CreateView(create) => (true, &create.name, create.temporary),
            _ => return Err(SqlError::catalog("the statement is no CREATE TABLE or CREATE VIEW")),
        };
        if is_view != definition.is_view || temporary {
            let kind = if definition.is_view { "CREATE VIEW" } else { "CREATE TABLE" };
            return Err(SqlError::catalog(format!("the statement is no {kind} of a permanent object")));
        }
        let outside = self.catalog.set_current_database(&name.0);
        let path = self.catalog.path(found);
        self.catalog.set_current_database(&definition.database);
        let defined = path.and_then(|path| {
            if (&path.database, &path.object) != (&name.0, &name.1) {
                let message = format!("the statement is of {path}, not of {}.{}", name.0, name.1);
                return Err(SqlError::catalog(message).at(found.span()));
            }
            match &statement {
                Statement::CreateTable(create) => self.create_table(create),
                Statement::CreateView(create) if bound => self.create_view(create),
                Statement::CreateView(create) => self.catalog.create_view(create, None).map(drop),
                _ => Ok(()),
            }
        });
        self.catalog.set_current_database(&outside);
        defined
    }

    /// What makes the tables and views that were looked up since the lookups were cleared, temporary ones included, each after what
    /// it needs; and what leads to the current database.
    pub(super) fn looked_up(&self) -> Vec<String> {
        let lookups = self.lookups.borrow();
        let mut seen = BTreeSet::new();
        // What a view names is looked up after the view, each time: so the last look at it comes after the last one at the view.
        let last = lookups.iter().rev().filter(|path| seen.insert(*path));
        let objects: Vec<_> = last.filter_map(|path| Some((path, self.catalog.object(path)?))).collect();
        let here = self.catalog.current_database();
        let mut databases: BTreeSet<&str> = objects.iter().map(|(path, _)| path.database.as_str()).collect();
        databases.insert(here);
        let mut current = DEFAULT_DATABASE;
        let mut body = Vec::new();
        for (path, object) in objects {
            if let CatalogObject::View(view) = object {
                databases.insert(&view.database);
                enter(&mut current, &view.database, &mut body);
            }
            body.push(object.show_create(path, self.catalog.is_temporary(path)));
        }
        enter(&mut current, here, &mut body);
        databases.remove(DEFAULT_DATABASE);
        let database = |name| format!("CREATE DATABASE {}", ObjectPath::quoted_database(name));
        databases.into_iter().map(database).chain(body).collect()
    }
}

/// Goes to a database if it is not the current one.
fn enter<'a>(current: &mut &'a str, database: &'a str, statements: &mut Vec<String>) {
    if *current != database {
        *current = database;
        statements.push(format!("USE {}", ObjectPath::quoted_database(database)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::parser::parse_script;
    use crate::session::StatementResult;

    fn run(session: &mut Session, script: &str) -> Vec<StatementResult> {
        let statements = parse_script(script).expect("SQL");
        statements.iter().map(|statement| session.execute(&statement.node).expect("valid")).collect()
    }

    const OBJECTS: &str = "
        CREATE DATABASE `o'db` COMMENT 'it''s' WITH ('a' = 'b');
        CREATE TABLE a (
            id BIGINT NOT NULL, name VARCHAR(10) COMMENT 'a ''name''', at TIMESTAMP_LTZ(3), r ROW<x INT, y ARRAY<STRING>>,
            m MAP<STRING, DECIMAL(10, 2)>, twice AS id * 2, p AS PROCTIME(),
            WATERMARK FOR at AS at - INTERVAL '5' SECOND, PRIMARY KEY (id) NOT ENFORCED
        ) COMMENT 'c' WITH ('connector' = 'filesystem', 'path' = 'src', 'format' = 'json');
        CREATE VIEW v (n, x) COMMENT 'w' AS SELECT name, r.x FROM a WHERE id > 1 OR name LIKE 'it''s%';
        USE `o'db`;
        CREATE TABLE b (n STRING, x INT) WITH ('connector' = 'blackhole');
        CREATE VIEW u AS SELECT * FROM default_database.v;
        CREATE VIEW aa AS SELECT n FROM u";

    #[test]
    fn what_a_session_gives_another_takes() {
        let mut first = Session::new(config::new());
        run(&mut first, OBJECTS);
        let (databases, definitions) = (first.databases(), first.definitions());
        assert_eq!(definitions.len(), 5);
        let mut second = Session::new(config::new());
        for (name, database) in &databases {
            second.define_database(name, database.clone());
        }
        let by_name = definitions.iter().map(|(name, definition)| (name.clone(), definition));
        assert!(second.define(by_name, |_| true).is_empty());
        assert_eq!((second.databases(), second.definitions()), (databases, definitions));
        assert_eq!(second.catalog.current_database(), DEFAULT_DATABASE);
    }

    #[test]
    fn a_job_has_the_statements_that_it_needs_and_no_others() {
        let script = "CREATE TABLE not_needed (n STRING) WITH ('connector' = 'blackhole');
            CREATE TEMPORARY VIEW t AS SELECT n FROM aa UNION ALL SELECT n FROM u";
        let insert = "INSERT INTO b (n) SELECT n FROM t";
        let mut session = Session::new(config::new());
        let Some(StatementResult::Job(job)) =
            run(&mut session, &format!("{OBJECTS}; {script}; {insert}")).pop()
        else {
            panic!("a job")
        };
        let mut heads: Vec<&str> = job.definitions.iter().filter_map(|text| text.lines().next()).collect();
        heads.sort_unstable();
        let db = "`default_catalog`.`o'db`";
        let expected = [
            "CREATE DATABASE `o'db`".to_owned(),
            "CREATE TABLE `default_catalog`.`default_database`.`a` (".into(),
            format!("CREATE TABLE {db}.`b` ("),
            format!("CREATE TEMPORARY VIEW {db}.`t` ("),
            "CREATE VIEW `default_catalog`.`default_database`.`v` (".into(),
            format!("CREATE VIEW {db}.`aa` ("),
            format!("CREATE VIEW {db}.`u` ("),
        ];
        heads.retain(|head| !head.starts_with("USE"));
        assert_eq!(heads, expected);
        let text = format!("{}; {insert}", job.definitions.join(";\n"));
        let Some(StatementResult::Job(again)) = run(&mut Session::new(config::new()), &text).pop() else {
            panic!("the same job: {text}")
        };
        assert_eq!(again.definitions, job.definitions);
    }

    #[test]
    fn what_is_not_valid_is_named_and_a_view_may_be_there_before_its_tables() {
        let definition = |is_view, statement: &str| Definition {
            is_view,
            statement: statement.into(),
            database: DEFAULT_DATABASE.into(),
        };
        let name = |name: &str| (DEFAULT_DATABASE.to_owned(), name.to_owned());
        let definitions = BTreeMap::from([
            (name("garbage"), definition(false, "CREATE TABLE garbage (")),
            (name("other"), definition(false, "CREATE TABLE another (a INT) WITH ('connector' = 'print')")),
            (name("kind"), definition(true, "CREATE TABLE kind (a INT) WITH ('connector' = 'print')")),
            (name("drop"), definition(false, "DROP TABLE drop")),
            (name("early"), definition(true, "CREATE VIEW early AS SELECT a FROM missing")),
            (name("checked"), definition(true, "CREATE VIEW checked AS SELECT a FROM missing")),
        ]);
        let mut session = Session::new(config::new());
        let by_name = definitions.iter().map(|(name, definition)| (name.clone(), definition));
        let problems = session.define(by_name, |name| name.1 == "checked");
        let wrong: Vec<&str> = problems.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(wrong, ["checked", "drop", "garbage", "kind", "other"]);
        assert_eq!(session.definitions().len(), 1);
    }
}
