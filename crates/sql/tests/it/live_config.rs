//! CONFIG: which documents a job reads, where it is refused, and what a row sees when the configuration changes.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use streamkeeper_connectors::schema::{DataType, Field, TypeKind, to_arrow_schema};
use streamkeeper_dataflow::live_config::{ConfigDocument, ConfigSnapshot};
use streamkeeper_dataflow::operator::Operator;
use streamkeeper_sql::config;
use streamkeeper_sql::error::SqlError;
use streamkeeper_sql::expr::{EvalContext, ScalarExpr, call, cast, literal_string};
use streamkeeper_sql::operators::calc::Calc;
use streamkeeper_sql::operators::spec::{CalcSpec, LiveCalc};
use streamkeeper_sql::parser::parse_script;
use streamkeeper_sql::session::{Session, StatementResult};

const DDL: &str = "
CREATE TABLE bid (auction BIGINT, price BIGINT, channel STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE auction (id BIGINT, seller BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
CREATE TABLE files (auction BIGINT, num BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
CREATE TABLE changes (auction BIGINT, num BIGINT) WITH ('connector' = 'print');
";

fn run(text: &str) -> Result<StatementResult, SqlError> {
    let mut session = Session::new(config::new());
    for statement in parse_script(DDL).expect("valid DDL") {
        session.execute(&statement.node).expect("valid DDL");
    }
    let mut last = StatementResult::Ok(String::new());
    for statement in parse_script(text)? {
        last = session.execute(&statement.node)?;
    }
    Ok(last)
}

/// The documents that the job of `query` reads.
fn documents(query: &str) -> Result<Vec<String>, String> {
    let sink = if query.contains("COUNT") { "changes" } else { "files" };
    let text = format!("SET 'high-availability.zookeeper.quorum' = 'zk:2181'; INSERT INTO {sink} {query}");
    match run(&text) {
        Ok(StatementResult::Job(job)) => Ok(job.config_documents.into_iter().collect()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.render(&text, None)),
    }
}

#[test]
fn a_job_knows_the_documents_that_it_reads() {
    let query = "SELECT auction, CAST(CONFIG('limits', 'deep.x') AS BIGINT) FROM bid \
                 WHERE price > CAST(CONFIG('rules', '/threshold') AS BIGINT) AND CONFIG_REVISION('rules') > 0";
    assert_eq!(documents(query), Ok(vec!["limits".to_owned(), "rules".to_owned()]));
    let below =
        "SELECT auction, SUM(price * CAST(CONFIG('job', 'factor') AS BIGINT)) FROM bid GROUP BY auction";
    let refused = documents(below).expect_err("files take no updates");
    assert!(refused.contains("doesn't support consuming update changes"), "{refused}");
    let joined = "SELECT b.auction, b.price FROM bid b JOIN auction a ON a.id = b.auction \
                  WHERE b.price > CAST(CONFIG('rules', 'threshold') AS BIGINT)";
    assert_eq!(documents(joined), Ok(vec!["rules".to_owned()]));
}

#[test]
fn config_is_refused_where_it_has_no_single_value() {
    for (query, reason) in [
        (
            "SELECT auction, CAST(CONFIG('rules', channel) AS BIGINT) FROM bid",
            "takes the name of a key as a literal",
        ),
        ("SELECT auction, CAST(CONFIG('rules') AS BIGINT) FROM bid", "CONFIG"),
        ("SELECT auction, CONFIG_REVISION(1) FROM bid", "CONFIG_REVISION"),
        (
            "SELECT b.auction, b.price FROM bid b JOIN auction a \
             ON a.id = b.auction AND a.seller + b.price > CAST(CONFIG('rules', 'threshold') AS BIGINT)",
            "not in join conditions",
        ),
        (
            "SELECT * FROM (SELECT auction, COUNT(*) AS n FROM bid GROUP BY auction) \
             WHERE n > CAST(CONFIG('rules', 'threshold') AS BIGINT)",
            "CONFIG of rows that are updated",
        ),
        ("SELECT * FROM (VALUES (1, CONFIG_REVISION('rules')))", "CONFIG"),
    ] {
        let error = documents(query).expect_err(query);
        assert!(error.contains(reason), "{query}: {error}");
    }
    let text = "INSERT INTO files SELECT auction, CONFIG_REVISION('rules') FROM bid";
    let error = run(text).expect_err("no ZooKeeper").render(text, None);
    assert!(error.contains("set 'high-availability.zookeeper.quorum'"), "{error}");
}

/// Rows above the threshold, with its revision: as constants from one configuration to the next.
#[test]
fn rows_see_the_configuration_in_force() {
    let bigint = || DataType::from(TypeKind::BigInt);
    let field = |name: &str| Field { name: name.into(), data_type: bigint() };
    let price = ScalarExpr::Column { index: 0, name: "price".into(), data_type: bigint() };
    let threshold =
        call("CONFIG", vec![literal_string("rules"), literal_string("threshold")]).expect("typed");
    let threshold = cast(threshold, bigint(), false).expect("castable");
    let revision = call("CONFIG_REVISION", vec![literal_string("rules")]).expect("typed");
    let live = LiveCalc {
        filter: Some(call(">", vec![price.clone(), threshold]).expect("typed")),
        projection: Some(vec![price, revision]),
        context: EvalContext::default(),
    };
    let mut calc = Calc::new(CalcSpec {
        live: Some(Arc::new(live)),
        filter: None,
        projection: None,
        output: vec![field("price"), field("revision")],
        changelog: false,
    });
    let batch = RecordBatch::try_new(
        to_arrow_schema(&[field("price")]),
        vec![Arc::new(Int64Array::from(vec![3, 7]))],
    )
    .expect("a batch");
    let mut seen = Vec::new();
    for (revision, threshold) in
        [(4, serde_json::json!(5)), (5, serde_json::json!("2")), (6, serde_json::json!(null))]
    {
        let document = ConfigDocument { revision, data: serde_json::json!({"threshold": threshold}) };
        calc.on_config(&Arc::new(ConfigSnapshot::from_iter([("rules".to_owned(), document)])))
            .expect("bound");
        let mut out = Vec::new();
        calc.on_batch(0, batch.clone(), &mut out).expect("computed");
        for batch in &out {
            let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
            seen.extend(column(0).into_iter().zip(column(1)));
        }
    }
    assert_eq!(seen, [(7, 4), (3, 5), (7, 5)]);
}
