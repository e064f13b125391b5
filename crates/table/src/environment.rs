//! The environment: streams as views, queries as streams, and a script's other statements.

use std::cell::RefCell;
use std::ops::Deref;

use streamkeeper_connectors::record::{Changelog, StreamRow, TableRow};
use streamkeeper_connectors::schema::Field;
use streamkeeper_datastream::chain::Pipeline;
use streamkeeper_datastream::{Data, DataStream, StreamExecutionEnvironment};
use streamkeeper_sql::error::{ErrorKind, SqlError};
use streamkeeper_sql::parser::{Statement, parse_script};
use streamkeeper_sql::session::{BoundQuery, Session, StatementResult};

use crate::Error;
use crate::bridge::{add_query, register};

/// A [`StreamExecutionEnvironment`] that knows SQL as well: streams and queries are parts of one job, which `execute` runs.
///
/// ```
/// # extern crate streamkeeper_connectors as streamkeeper;
/// use chrono::{DateTime, NaiveDateTime, Utc};
/// use serde::{Deserialize, Serialize};
/// use streamkeeper_datastream::StreamExecutionEnvironment;
/// use streamkeeper_derive::Record;
/// use streamkeeper_table::StreamTableEnvironment;
///
/// #[derive(Debug, Clone, Serialize, Deserialize, Record)]
/// struct Click {
///     page: String,
///     #[record(rowtime)]
///     at: DateTime<Utc>,
/// }
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
/// struct Count {
///     page: String,
///     window_end: NaiveDateTime,
///     n: i64,
/// }
///
/// let env = StreamExecutionEnvironment::new();
/// let env = StreamTableEnvironment::create(&env);
/// let click = |page: &str, ms| Click { page: page.into(), at: DateTime::from_timestamp_millis(ms).unwrap() };
/// let clicks = env.from_collection([click("/", 1), click("/a", 400), click("/", 900), click("/", 1_200)]);
/// env.create_temporary_view("clicks", clicks)?;
///
/// let counts = env.sql::<Count>(
///     "SELECT page, window_end, COUNT(*) AS n
///      FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '1' SECOND))
///      GROUP BY page, window_start, window_end",
/// )?;
/// let most = counts.filter(|count| count.n > 1).collect();
/// env.execute("clicks")?;
/// let end = DateTime::from_timestamp_millis(1_000).unwrap().naive_utc();
/// assert_eq!(most.take(), [Count { page: "/".into(), window_end: end, n: 2 }]);
/// # Ok::<(), streamkeeper_table::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamTableEnvironment<'a> {
    env: &'a StreamExecutionEnvironment,
    session: RefCell<Session>,
}

/// The methods of the environment that it was created of.
impl Deref for StreamTableEnvironment<'_> {
    type Target = StreamExecutionEnvironment;

    fn deref(&self) -> &StreamExecutionEnvironment {
        self.env
    }
}

impl<'a> StreamTableEnvironment<'a> {
    /// SQL for the jobs of `env`, with an empty catalog and the configuration of `env`.
    pub fn create(env: &'a StreamExecutionEnvironment) -> Self {
        let mut config = streamkeeper_sql::config::new();
        for (key, value) in env.config().entries() {
            // What `env` did not know, SQL may refuse: then it stays as it was, as any unknown key does.
            let _ = config.set(key, value);
        }
        Self { env, session: RefCell::new(Session::new(config)) }
    }

    /// Registers a stream as a temporary view, whose columns are the fields of its records. For a stream of [`Changelog`]s
    /// the view changes as they say: it is a table that is updated, each `+U` after its `-U`.
    ///
    /// A field with `#[record(rowtime)]` is the view's time attribute: the stream's watermarks speak of it.
    ///
    /// ```
    /// # extern crate streamkeeper_connectors as streamkeeper;
    /// # use serde::{Deserialize, Serialize};
    /// # use streamkeeper_connectors::record::{Changelog, Row};
    /// # use streamkeeper_datastream::StreamExecutionEnvironment;
    /// # use streamkeeper_derive::Record;
    /// # use streamkeeper_table::StreamTableEnvironment;
    /// #[derive(Debug, Clone, Serialize, Deserialize, Record)]
    /// struct Account {
    ///     #[record(key)]
    ///     id: i64,
    ///     balance: i64,
    /// }
    ///
    /// let env = StreamExecutionEnvironment::new();
    /// let env = StreamTableEnvironment::create(&env);
    /// let account = |id, balance| Account { id, balance };
    /// let changes = [Changelog::insert(account(1, 10)), Changelog::insert(account(2, 5)), Changelog::delete(account(1, 10))];
    /// env.create_temporary_view("accounts", env.from_collection(changes))?;
    /// let total = env.sql::<Changelog<Row>>("SELECT SUM(balance) AS total FROM accounts")?.collect();
    /// env.execute("total")?;
    /// let total: Vec<String> = total.take().iter().map(ToString::to_string).collect();
    /// assert_eq!(total, ["+I[10]", "-U[10]", "+U[15]", "-U[15]", "+U[5]"]);
    /// # Ok::<(), streamkeeper_table::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or the stream is of another environment.
    pub fn create_temporary_view<T, P>(&self, name: &str, stream: DataStream<T, P>) -> Result<(), Error>
    where
        T: StreamRow + Data,
        P: Pipeline<Out = T>,
    {
        self.register(name, stream, None)
    }

    /// As [`Self::create_temporary_view`], with a further column `rowtime`, TIMESTAMP_LTZ(3), that holds the records' event
    /// times and is the time attribute.
    ///
    /// # Errors
    /// When the name is taken, the stream is of another environment, or a field is the event time or called `rowtime` already.
    pub fn create_temporary_view_with_rowtime<T, P>(
        &self,
        name: &str,
        stream: DataStream<T, P>,
        rowtime: &str,
    ) -> Result<(), Error>
    where
        T: StreamRow + Data,
        P: Pipeline<Out = T>,
    {
        self.register(name, stream, Some(rowtime))
    }

    fn register<T, P>(&self, name: &str, stream: DataStream<T, P>, rowtime: Option<&str>) -> Result<(), Error>
    where
        T: StreamRow + Data,
        P: Pipeline<Out = T>,
    {
        let inputs = self.env.inputs_of(stream)?;
        let mut session = self.session.borrow_mut();
        self.env.with_graph(|graph| register(&mut session, graph, name, inputs, rowtime)).map_err(Error::sql)
    }

    /// Removes a temporary view; its name is free again. False when there is none.
    pub fn drop_temporary_view(&self, name: &str) -> bool {
        self.session.borrow_mut().drop_temporary(name)
    }

    /// The rows of a query: records, whose fields its columns are; [`Row`](streamkeeper_connectors::record::Row)s, which
    /// take what comes; or a [`Changelog`] of either, which an updating query needs.
    ///
    /// # Errors
    /// As [`Self::sql_query`] and [`Table::to_stream`].
    pub fn sql<T: TableRow + Data>(&self, query: &str) -> Result<DataStream<T>, Error> {
        self.sql_query(query)?.to_stream()
    }

    /// What a query says, as a table that can become a stream or a view.
    ///
    /// # Errors
    /// When the text is not one query, or it means nothing or is not supported; with its place in the text.
    pub fn sql_query(&self, text: &str) -> Result<Table<'_>, Error> {
        let parsed = parse_script(text).map_err(|e| Error::sql_in(text, e))?;
        let [statement] = parsed.as_slice() else {
            return Err(Error::sql(not_a_query(&format!("{} statements", parsed.len()))));
        };
        let Statement::Query(query) = &statement.node else {
            return Err(Error::sql(not_a_query("another statement")));
        };
        let query = self.session.borrow().query(query).map_err(|e| Error::sql_in(text, e))?;
        Ok(Table { tables: self, text: text.to_owned(), query })
    }

    /// Executes the statements of a script: DDL changes the catalog, SET the configuration of queries, and what INSERT and
    /// `EXECUTE STATEMENT SET` write becomes part of the job.
    ///
    /// # Errors
    /// When a statement means nothing, is not supported, or is a query: those of [`Self::sql`] are streams.
    pub fn execute_sql(&self, script: &str) -> Result<Vec<StatementResult>, Error> {
        let mut results = Vec::new();
        for statement in parse_script(script).map_err(|e| Error::sql_in(script, e))? {
            results.push(self.statement(&statement.node).map_err(|e| Error::sql_in(script, e))?);
        }
        Ok(results)
    }

    fn statement(&self, statement: &Statement) -> Result<StatementResult, SqlError> {
        let refused = |what: &str| Err(SqlError::new(ErrorKind::Validation, what));
        match statement {
            Statement::Query(_) => refused(
                "The rows of a query go nowhere here; use `sql`, whose stream can be written to a sink",
            ),
            Statement::BeginStatementSet | Statement::EndStatementSet => {
                refused("BEGIN STATEMENT SET is for a console; use EXECUTE STATEMENT SET BEGIN … END")
            }
            _ => {
                let mut session = self.session.borrow_mut();
                self.follow_parallelism(&mut session)?;
                if self.env.with_graph(|graph| session.add_inserts(statement, graph))? {
                    return Ok(StatementResult::Ok("Added to the job".to_owned()));
                }
                session.execute(statement)
            }
        }
    }

    /// What is planned now has the parallelism that operators of `env` have now.
    fn follow_parallelism(&self, session: &mut Session) -> Result<(), SqlError> {
        session.set("parallelism.default", &self.env.config().parallelism().to_string()).map(drop)
    }
}

fn not_a_query(what: &str) -> SqlError {
    SqlError::new(
        ErrorKind::Validation,
        format!("One query is wanted, but this is {what}; other statements are for `execute_sql`"),
    )
}

/// A query, before anything is made of it.
#[derive(Debug)]
pub struct Table<'a> {
    tables: &'a StreamTableEnvironment<'a>,
    text: String,
    query: BoundQuery,
}

impl Table<'_> {
    /// Its columns: names and Flink's types.
    pub fn columns(&self) -> Vec<Field> {
        self.query.columns()
    }

    /// Whether it updates or deletes rows that it gave before: then it is no stream of rows, but one of changes.
    pub fn is_changelog(&self) -> bool {
        self.query.is_changelog()
    }

    /// Its rows. The event time of a record is the time attribute among the columns; without one it has none.
    ///
    /// A record's columns are found by name. Where Flink casts the columns of an INSERT to those of its table, columns are
    /// cast to the record's, INT to a field of `i64`, say.
    ///
    /// # Errors
    /// When its columns are not the record's fields: the message names columns and types. When it updates rows and `T` is no
    /// [`Changelog`]. When there are two time attributes among its columns, or it cannot be executed.
    pub fn to_stream<T: TableRow + Data>(&self) -> Result<DataStream<T>, Error> {
        let env = self.tables.env;
        let mut session = self.tables.session.borrow_mut();
        self.tables.follow_parallelism(&mut session).map_err(Error::sql)?;
        let output = env.with_graph(|graph| add_query::<T>(&session, graph, &self.query));
        let output = output.map_err(|e| Error::sql_in(&self.text, e))?;
        Ok(env.from_port(output.port, output.uid))
    }

    /// Its changes, new rows included. See [`Table::to_stream`].
    ///
    /// # Errors
    /// As [`Table::to_stream`].
    pub fn to_changelog_stream<T: TableRow>(&self) -> Result<DataStream<Changelog<T>>, Error>
    where
        Changelog<T>: Data,
    {
        self.to_stream()
    }

    /// Gives it a name for other queries.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create_temporary_view(&self, name: &str) -> Result<(), Error> {
        self.tables.session.borrow_mut().create_temporary_view(name, &self.query).map_err(Error::sql)
    }
}
