//! A program of the typed API is configured by documents in ZooKeeper, and follows them while it runs.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use streamkeeper::prelude::*;
use streamkeeper_coordination::config::Scope;
use streamkeeper_coordination::config::edit::{Edit, SchemaEdit};
use streamkeeper_coordination::config::store::ConfigStore;
use streamkeeper_coordination::layout::Layout;
use streamkeeper_keeper::server::{Keeper, ServerOptions};
use streamkeeper_zookeeper::{Options, ZooKeeper, block_on};

const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(serde::Deserialize)]
struct Rules {
    threshold: u64,
}

/// Tells each revision that comes into force, and its threshold.
#[derive(Clone)]
struct Tell {
    last: Option<u64>,
    told: mpsc::Sender<Option<(u64, u64)>>,
}

impl ProcessFunction<u64> for Tell {
    type Out = u64;

    fn open(&mut self, _: &streamkeeper::prelude::process::TaskInfo) -> Result {
        Ok(self.told.send(None)?)
    }

    fn process_element(
        &mut self,
        _: u64,
        context: &mut ProcessContext<'_>,
        _: &mut Collector<u64>,
    ) -> Result {
        let Some(rules) = context.config::<Rules>("rules")? else { return Ok(()) };
        if self.last.replace(rules.revision()) != Some(rules.revision()) {
            self.told.send(Some((rules.revision(), rules.threshold)))?;
        }
        Ok(())
    }
}

fn write(store: &ConfigStore, threshold: u64) -> u64 {
    let edit = Edit {
        author: "test".into(),
        time: String::new(),
        comment: String::new(),
        data: json!({"threshold": threshold}),
        schema: SchemaEdit::Keep,
        expected: None,
    };
    let plan = block_on(store.write(&Scope::Shared("rules".into()), edit, &BTreeSet::new()));
    plan.expect("written").document.revision
}

#[test]
fn a_program_follows_its_documents_from_before_they_exist() {
    let keeper = Keeper::start(ServerOptions::default()).expect("a keeper in memory");
    let quorum = keeper.client_address().expect("it listens").to_string();
    let zookeeper = block_on(ZooKeeper::connect(Options::new(&quorum))).expect("the keeper runs");
    let store = ConfigStore::new(zookeeper, Layout::default());

    let (told, revisions) = mpsc::channel();
    let env = StreamExecutionEnvironment::new();
    env.set("high-availability.zookeeper.quorum", &quorum).expect("valid");
    env.config_documents(["rules"]).set_config_source(ZooKeeperConfig);
    env.from_sequence(0, u64::MAX).process(Tell { last: None, told }).discard();
    let job = env.execute_async("thresholds").expect("starts");
    assert_eq!(revisions.recv_timeout(TIMEOUT), Ok(None), "it is opened, and there is no document");
    for threshold in [7, 9] {
        let revision = write(&store, threshold);
        assert_eq!(revisions.recv_timeout(TIMEOUT), Ok(Some((revision, threshold))));
    }
    job.cancel();
    assert_eq!(job.wait().expect("cancelled"), JobStatus::Canceled);
}

#[test]
fn without_zookeeper_the_job_does_not_start_and_says_what_to_set() {
    let env = StreamExecutionEnvironment::new();
    env.config_documents(["rules"]).set_config_source(ZooKeeperConfig);
    env.from_sequence(0, 1).discard();
    let error = env.execute("thresholds").expect_err("no quorum").to_string();
    assert!(error.contains("set high-availability.zookeeper.quorum"), "{error}");
}
