//! Jobs that are partly SQL and partly Rust.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use streamkeeper_connectors::record::{Changelog, Record as _, Row, RowKind};
use streamkeeper_datastream::state::ValueState;
use streamkeeper_datastream::{
    Collector, KeyedContext, KeyedProcessFunction, OpenContext, Result, StreamExecutionEnvironment,
};
use streamkeeper_derive::Record;
use streamkeeper_sql::session::StatementResult;
use streamkeeper_table::{Error, StreamTableEnvironment};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
struct Click {
    visitor: String,
    #[record(rowtime)]
    at: DateTime<Utc>,
    #[record(rename = "secondsSpent")]
    seconds: i32,
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap()
}

/// Ten users click once a second, 1000 times in all.
fn clicks() -> impl Iterator<Item = Click> {
    (0..1000).map(|n| Click { visitor: format!("u{}", n % 10), at: at(i64::from(n) * 100), seconds: n })
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
struct Visits {
    visitor: String,
    window_end: NaiveDateTime,
    n: i64,
    spent: i32,
}

/// How much more than in the visitor's window before.
#[derive(Clone)]
struct Growth;

impl KeyedProcessFunction<String, Visits> for Growth {
    type Out = (String, i32);
    type State = ValueState<i32>;

    fn open(&mut self, context: &mut OpenContext<'_, String>) -> Result<Self::State> {
        context.value_state("before")
    }

    fn process_element(
        &mut self,
        visits: Visits,
        before: &mut Self::State,
        _: &mut KeyedContext<'_, String>,
        out: &mut Collector<(String, i32)>,
    ) -> Result {
        if let Some(before) = before.value() {
            out.collect((visits.visitor, visits.spent - before));
        }
        before.update(visits.spent);
        Ok(())
    }
}

#[test]
fn typed_source_then_sql_windows_then_a_typed_process() {
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let env = StreamTableEnvironment::create(&env);
        let busy = env.from_collection(clicks()).filter(|click| click.seconds >= 0);
        env.create_temporary_view("clicks", busy).unwrap();
        let windows = env
            .sql::<Visits>(
                "SELECT visitor, window_end, COUNT(*) AS n, SUM(secondsSpent) AS spent \
                 FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND)) \
                 GROUP BY visitor, window_start, window_end",
            )
            .unwrap();
        let growth =
            windows.inspect(|v| assert_eq!(v.n, 10)).key_by(|v| v.visitor.clone()).process(Growth).collect();
        env.execute("growth").unwrap();
        let growth = growth.take();
        assert_eq!(growth.len(), 10 * 9, "parallelism {parallelism}");
        // Each of ten clicks of a window took 100 seconds more than its like in the window before.
        assert!(growth.iter().all(|(_, by)| *by == 1_000), "{growth:?}");
    }
}

#[test]
fn sql_then_rust_then_sql_again() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Record)]
    struct Shout {
        visitor: String,
    }
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    let env = StreamTableEnvironment::create(&env);
    env.create_temporary_view("clicks", env.from_collection(clicks())).unwrap();
    let long = env.sql_query("SELECT visitor, secondsSpent FROM clicks WHERE secondsSpent >= 990").unwrap();
    assert_eq!(
        long.columns().iter().map(|c| format!("{} {}", c.name, c.data_type)).collect::<Vec<_>>(),
        ["visitor STRING NOT NULL", "secondsSpent INT NOT NULL"]
    );
    assert!(!long.is_changelog());
    long.create_temporary_view("long_clicks").unwrap();
    let users = env.sql::<Row>("SELECT visitor FROM long_clicks WHERE secondsSpent < 995").unwrap();
    let shouts = users.try_map(|row| Ok(Shout { visitor: row.get::<String>("visitor")?.to_uppercase() }));
    env.create_temporary_view("shouts", shouts).unwrap();
    let rows = env.sql::<Row>("SELECT visitor || '!' AS s FROM shouts").unwrap().collect();
    env.execute("shouts").unwrap();
    let mut rows: Vec<String> = rows.take().iter().map(|row| row.get("s").unwrap()).collect();
    rows.sort();
    assert_eq!(rows, ["U0!", "U1!", "U2!", "U3!", "U4!"]);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Record)]
struct Count {
    visitor: String,
    n: i64,
}

#[test]
fn changes_go_round() {
    // An updating query becomes a stream of changes, which become a table again, whose query takes back what it has to.
    for parallelism in [1, 3] {
        let env = StreamExecutionEnvironment::new();
        env.set_parallelism(parallelism);
        let env = StreamTableEnvironment::create(&env);
        env.create_temporary_view("clicks", env.from_collection(clicks().take(55))).unwrap();
        let counts = env.sql_query("SELECT visitor, COUNT(*) AS n FROM clicks GROUP BY visitor").unwrap();
        assert!(counts.is_changelog());
        env.create_temporary_view("counts", counts.to_changelog_stream::<Count>().unwrap()).unwrap();
        let by_count = env.sql_query("SELECT n, COUNT(*) AS users FROM counts GROUP BY n").unwrap();
        let changes = by_count.to_changelog_stream::<Row>().unwrap().collect();
        env.execute("changes").unwrap();
        let mut table = BTreeMap::new();
        for change in changes.take() {
            let (n, users): (i64, i64) = (change.value.get("n").unwrap(), change.value.get("users").unwrap());
            match change.kind {
                RowKind::Insert | RowKind::UpdateAfter => drop(table.insert(n, users)),
                RowKind::UpdateBefore => assert_eq!(table.get(&n), Some(&users)),
                RowKind::Delete => assert_eq!(table.remove(&n), Some(users)),
            }
        }
        assert_eq!(table, BTreeMap::from([(5, 5), (6, 5)]), "parallelism {parallelism}");
    }
}

#[test]
fn a_script_writes_what_the_job_has() {
    let directory = tempfile::tempdir().unwrap();
    let env = StreamExecutionEnvironment::new();
    let env = StreamTableEnvironment::create(&env);
    env.create_temporary_view("clicks", env.from_collection(clicks().take(3))).unwrap();
    let script = format!(
        "SET 'table.local-time-zone' = 'Europe/Zurich';\nCREATE TABLE sink (user_name STRING, t STRING) WITH ('connector' = \
         'filesystem', 'path' = '{}', 'format' = 'csv');\nINSERT INTO sink SELECT visitor, CAST(at AS STRING) FROM clicks;",
        directory.path().display()
    );
    let results = env.execute_sql(&script).unwrap();
    assert!(matches!(&results[2], StatementResult::Ok(text) if text == "Added to the job"));
    env.execute("script").unwrap();
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            lines.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    assert_eq!(
        lines,
        [
            "u0,\"1970-01-01 01:00:00.000\"",
            "u1,\"1970-01-01 01:00:00.100\"",
            "u2,\"1970-01-01 01:00:00.200\""
        ]
    );
}

fn refused<T>(result: std::result::Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn errors_show_the_place_in_the_text() {
    let env = StreamExecutionEnvironment::new();
    let env = StreamTableEnvironment::create(&env);
    env.create_temporary_view("clicks", env.from_collection(clicks())).unwrap();
    let message = refused(env.sql::<Row>("SELECT visitr FROM clicks"));
    assert!(message.contains("1:8") && message.contains("did you mean 'visitor'"), "{message}");
    let message = refused(env.sql::<Count>("SELECT visitor, at AS n FROM clicks"));
    assert!(
        message.contains(
            "Column 'n' is TIMESTAMP_LTZ(3) NOT NULL, which a field of BIGINT NOT NULL does not take."
        ),
        "{message}"
    );
    let message = refused(env.sql::<Count>("SELECT visitor, COUNT(*) AS n FROM clicks GROUP BY visitor"));
    assert!(message.contains("A stream of rows doesn't support consuming update changes"), "{message}");
    let message = refused(env.sql::<Row>("SELECT 1; SELECT 2"));
    assert!(message.contains("One query is wanted, but this is 2 statements"), "{message}");
    let message =
        refused(env.sql::<Row>(
            "SELECT visitor FROM clicks WHERE secondsSpent > CAST(CONFIG('rules', 'most') AS INT)",
        ));
    assert!(
        message.contains("CONFIG (of document 'rules') in the SQL of a program is not supported"),
        "{message}"
    );
    let message = refused(env.execute_sql("SELECT 1"));
    assert!(message.contains("use `sql`"), "{message}");
    let message = refused(env.execute_sql("BEGIN STATEMENT SET"));
    assert!(message.contains("EXECUTE STATEMENT SET BEGIN"), "{message}");
    let message = refused(env.execute_sql("INSERT INTO clicks SELECT * FROM clicks"));
    assert!(message.contains("is a registered stream"), "{message}");
}

#[test]
fn streams_of_another_environment_or_job_are_refused() {
    let (env, other) = (StreamExecutionEnvironment::new(), StreamExecutionEnvironment::new());
    let env = StreamTableEnvironment::create(&env);
    let message = refused(env.create_temporary_view("clicks", other.from_collection(clicks())));
    assert_eq!(message, "the stream was made in another environment");
    env.create_temporary_view("clicks", env.from_collection(clicks())).unwrap();
    env.execute("first").unwrap();
    let message = refused(env.sql::<Row>("SELECT visitor FROM clicks"));
    assert!(message.contains("belongs to another job, which was started already"), "{message}");
    assert!(env.drop_temporary_view("clicks"));
    assert!(!env.drop_temporary_view("clicks"));
    env.create_temporary_view("clicks", env.from_collection(clicks())).unwrap();
    let rows = env.sql::<Row>("SELECT visitor FROM clicks").unwrap().collect();
    env.execute("second").unwrap();
    assert_eq!(rows.len(), 1000);
}

#[test]
fn a_value_that_its_column_does_not_hold_fails_the_job_by_name() {
    #[derive(Debug, Clone, Serialize, Deserialize, Record)]
    struct Late {
        when: NaiveDateTime,
    }
    let env = StreamExecutionEnvironment::new();
    let env = StreamTableEnvironment::create(&env);
    let late = Late { when: at(1 << 45).naive_utc() };
    env.create_temporary_view("late", env.from_collection([late])).unwrap();
    env.sql::<Row>("SELECT `when` FROM late").unwrap().discard();
    let message = env.execute("late").unwrap_err().to_string();
    assert!(message.contains("late[ToTable]"), "{message}");
    assert!(message.contains("a record does not fit its table: column `when`: 3084-12-12"), "{message}");
    assert!(message.contains("is beyond what TIMESTAMP(9) NOT NULL holds"), "{message}");
}

#[test]
fn the_key_and_the_time_attribute_are_described() {
    #[derive(Debug, Clone, Serialize, Deserialize, Record)]
    struct Account {
        #[record(key)]
        id: i64,
        #[record(rowtime)]
        at: NaiveDateTime,
    }
    assert_eq!(Account::KEY, [0]);
    let env = StreamExecutionEnvironment::new();
    let env = StreamTableEnvironment::create(&env);
    let none: [Changelog<Account>; 0] = [];
    env.create_temporary_view("accounts", env.from_collection(none)).unwrap();
    let [StatementResult::Table { rows, .. }] = &env.execute_sql("DESCRIBE accounts").unwrap()[..] else {
        panic!("a table")
    };
    let rows: Vec<String> = rows.iter().map(|row| row.join("|")).collect();
    assert_eq!(
        rows,
        [
            "id|BIGINT|FALSE|PRI(id)|<NULL>|<NULL>",
            "at|TIMESTAMP(3) *ROWTIME*|FALSE|<NULL>|<NULL>|SOURCE_WATERMARK()"
        ]
    );
}

#[test]
fn state_of_sql_survives_a_failure_of_rust_code() {
    static FAILED: AtomicBool = AtomicBool::new(false);
    let env = StreamExecutionEnvironment::new();
    env.set_parallelism(2);
    env.set("restart-strategy.type", "fixed-delay").unwrap();
    env.set("restart-strategy.fixed-delay.attempts", "3").unwrap();
    env.set("restart-strategy.fixed-delay.delay", "1 ms").unwrap();
    env.enable_checkpointing(Duration::from_millis(5)).unwrap();
    let env = StreamTableEnvironment::create(&env);
    let rows = 20_000;
    let slow = env.from_collection(0..rows).map(|n: i64| {
        if n % 1_000 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        Count { visitor: format!("u{}", n % 10), n }
    });
    env.create_temporary_view("visits", slow).unwrap();
    let sums =
        env.sql::<Changelog<Count>>("SELECT visitor, SUM(n) AS n FROM visits GROUP BY visitor").unwrap();
    let fragile = sums.map(|change| {
        // The first attempt fails when most is done.
        assert!(change.value.n < 15_000_000 || FAILED.swap(true, Ordering::SeqCst), "a failure on purpose");
        change
    });
    let changes = fragile.collect();
    env.execute("fragile").unwrap();
    assert!(FAILED.load(Ordering::SeqCst));
    let mut last = BTreeMap::new();
    for change in changes.take().into_iter().filter(|change| change.kind.is_add()) {
        last.insert(change.value.visitor, change.value.n);
    }
    let expected: BTreeMap<String, i64> =
        (0..10).map(|user| (format!("u{user}"), (0..rows).filter(|n| n % 10 == user).sum())).collect();
    assert_eq!(last, expected);
}
