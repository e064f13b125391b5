//! Writing, reading, history.

use std::collections::BTreeSet;

use serde_json::json;
use streamkeeper_coordination::Error;
use streamkeeper_coordination::config::edit::{Edit, MAX_REVISIONS, rollback};
use streamkeeper_zookeeper::{CreateMode, block_on};

use crate::{edit, scope, server, store};

#[test]
fn revisions_are_written_read_and_rolled_back_to() {
    let keeper = server(None, None);
    let store = store(keeper.client_address().unwrap());
    let rules = scope("shared/rules");
    block_on(async {
        assert_eq!(store.find(&rules).await.unwrap().followed().in_force(), None);
        for threshold in 1..=3 {
            let written =
                store.write(&rules, edit(json!({"threshold": threshold})), &BTreeSet::new()).await.unwrap();
            assert_eq!(written.document.revision, threshold);
        }
        let old = store.revision(&rules, 1).await.unwrap();
        let back = rollback(&old, "ada".into(), "2026-11-24T19:43:44Z".into(), String::new());
        store.write(&rules, back, &BTreeSet::new()).await.unwrap();
        let history = store.history(&rules, 10).await.unwrap();
        let seen: Vec<_> =
            history.iter().map(|d| (d.revision, d.data["threshold"].as_u64().unwrap())).collect();
        assert_eq!(seen, [(4, 1), (3, 3), (2, 2), (1, 1)]);
        store.write(&scope("cluster"), edit(json!({})), &BTreeSet::new()).await.unwrap();
        store.write(&scope("job/etl"), edit(json!({})), &BTreeSet::new()).await.unwrap();
        assert_eq!(store.list().await.unwrap(), [scope("cluster"), scope("job/etl"), rules.clone()]);
        let missing = store.revision(&rules, 9).await.unwrap_err().to_string();
        assert!(missing.contains("no revision 9; the history has revisions 1 to 4"), "{missing}");
    });
}

/// Two writers at once: each revision is one of theirs, and none is lost.
#[test]
fn writers_do_not_overwrite_each_other() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            std::thread::spawn(move || {
                let store = store(address);
                for n in 0..20 {
                    let data = json!({"writer": writer, "n": n});
                    block_on(store.write(&scope("shared/rules"), edit(data), &BTreeSet::new())).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let history = block_on(store(address).history(&scope("shared/rules"), 1000)).unwrap();
    let revisions: Vec<u64> = history.iter().rev().map(|d| d.revision).collect();
    assert_eq!(revisions, (1..=40).collect::<Vec<u64>>());
    for writer in 0..2 {
        let of_writer = history.iter().rev().filter(|d| d.data["writer"] == writer);
        let order: Vec<u64> = of_writer.map(|d| d.data["n"].as_u64().unwrap()).collect();
        assert_eq!(order, (0..20).collect::<Vec<u64>>());
    }
}

#[test]
fn an_expected_revision_is_checked_and_the_history_is_bounded() {
    let keeper = server(None, None);
    let store = store(keeper.client_address().unwrap());
    let rules = scope("shared/rules");
    block_on(async {
        for n in 0..MAX_REVISIONS + 5 {
            store.write(&rules, edit(json!({"n": n})), &BTreeSet::from([2])).await.unwrap();
        }
        let revisions = store.revisions(&rules).await.unwrap();
        assert_eq!((revisions.len(), revisions[0], revisions[1]), (MAX_REVISIONS + 1, 2, 6));
        let stale = Edit { expected: Some(104), ..edit(json!({})) };
        let refused = store.write(&rules, stale, &BTreeSet::new()).await;
        assert!(matches!(refused, Err(Error::Conflict { expected: 104, found: 105, .. })));
    });
}

/// A plain shell writes nonsense: the last good revision stays, and the next write repairs the znode.
#[test]
fn a_spoilt_document_is_ignored_and_repaired() {
    let keeper = server(None, None);
    let store = store(keeper.client_address().unwrap());
    let rules = scope("shared/rules");
    block_on(async {
        store.write(&rules, edit(json!({"threshold": 5})), &BTreeSet::new()).await.unwrap();
        let path = store.layout().config(&rules);
        store.zookeeper().set(&path, "threshold=6", None).await.unwrap();
        let followed = store.find(&rules).await.unwrap().followed();
        assert_eq!(followed.in_force().unwrap().data, json!({"threshold": 5}));
        assert!(followed.problem().unwrap().contains("revision 1 stays in force"));
        store.write(&rules, edit(json!({"threshold": 7})), &BTreeSet::new()).await.unwrap();
        let followed = store.find(&rules).await.unwrap().followed();
        assert_eq!((followed.in_force().unwrap().revision, followed.problem()), (2, None));
        // Nor does nonsense in the history do harm.
        let spoilt = store.layout().config_revision(&rules, 3);
        store.zookeeper().create(&spoilt, "nonsense", CreateMode::Persistent).await.unwrap();
        let written = store.write(&rules, edit(json!({"threshold": 8})), &BTreeSet::new()).await.unwrap();
        assert_eq!(written.document.revision, 4);
    });
}
