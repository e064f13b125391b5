//! Following documents: newer revisions, spoilt ones, and a server that restarts.

use std::collections::BTreeSet;

use serde_json::json;
use streamkeeper_coordination::config::follow::Verdict;
use streamkeeper_coordination::config::watch::Watcher;
use streamkeeper_zookeeper::block_on;

use crate::{edit, scope, server, store};

fn revisions(watcher: &Watcher) -> Vec<(String, u64)> {
    watcher.in_force().map(|(scope, document)| (scope.to_string(), document.revision)).collect()
}

#[test]
fn changes_come_and_spoilt_documents_change_nothing() {
    let keeper = server(None, None);
    let store = store(keeper.client_address().unwrap());
    let (rules, other) = (scope("shared/rules"), scope("shared/other"));
    block_on(async {
        let scopes = BTreeSet::from([rules.clone(), scope("job/etl")]);
        let mut watcher = Watcher::start(store.clone(), scopes.clone()).await.unwrap();
        assert_eq!(revisions(&watcher), []);
        store.write(&other, edit(json!({})), &BTreeSet::new()).await.unwrap();
        store.write(&rules, edit(json!({"threshold": 5})), &BTreeSet::new()).await.unwrap();
        assert_eq!(watcher.changed().await.unwrap(), [(rules.clone(), Verdict::Changed)]);
        assert_eq!(revisions(&watcher), [("shared/rules".into(), 1)]);
        let path = store.layout().config(&rules);
        store.zookeeper().set(&path, "nonsense", None).await.unwrap();
        let verdicts = watcher.changed().await.unwrap();
        assert!(matches!(&verdicts[..], [(_, Verdict::Ignored(_))]), "{verdicts:?}");
        assert_eq!(watcher.problems().count(), 1);
        // Whoever comes now gets the last good revision from the history.
        let late = Watcher::start(store.clone(), scopes).await.unwrap();
        assert_eq!((revisions(&late), late.problems().count()), (revisions(&watcher), 1));
        store.write(&rules, edit(json!({"threshold": 6})), &BTreeSet::new()).await.unwrap();
        assert_eq!(watcher.changed().await.unwrap(), [(rules, Verdict::Changed)]);
        assert_eq!((revisions(&watcher), watcher.problems().count()), (vec![("shared/rules".into(), 2)], 0));
        store.zookeeper().close().await;
        assert!(watcher.changed().await.is_err(), "a closed handle ends the watcher");
    });
}

/// Two documents written one after the other are never seen the other way round.
#[test]
fn what_is_shown_was_there_at_one_moment() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    let writer = std::thread::spawn(move || {
        let store = store(address);
        for n in 1..=60 {
            // In the order of names the watcher reads `a` first.
            for name in ["shared/b", "shared/a"] {
                block_on(store.write(&scope(name), edit(json!({"n": n})), &BTreeSet::new())).unwrap();
            }
        }
    });
    let store = store(address);
    block_on(async {
        let scopes = BTreeSet::from([scope("shared/a"), scope("shared/b")]);
        let mut watcher = Watcher::start(store, scopes.clone()).await.unwrap();
        loop {
            let seen = revisions(&watcher);
            let of = |name: &str| {
                seen.iter().find(|(scope, _)| scope == name).map_or(0, |(_, revision)| *revision)
            };
            let (a, b) = (of("shared/a"), of("shared/b"));
            assert!(b == a || b == a + 1, "a at {a}, b at {b}");
            if a == 60 {
                break;
            }
            watcher.changed().await.unwrap();
        }
    });
    writer.join().unwrap();
}

#[test]
fn a_change_during_a_restart_of_the_server_is_seen_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = server(None, Some(directory.path()));
    let at = keeper.client_address().unwrap();
    let rules = scope("shared/rules");
    let follower = store(at);
    block_on(follower.write(&rules, edit(json!({"n": 1})), &BTreeSet::new())).unwrap();
    let mut watcher = block_on(Watcher::start(follower, BTreeSet::from([rules.clone()]))).unwrap();
    keeper.stop().unwrap();
    let _keeper = server(Some(at), Some(directory.path()));
    let writer = store(at);
    block_on(async {
        writer.write(&rules, edit(json!({"n": 2})), &BTreeSet::new()).await.unwrap();
        while revisions(&watcher) != [("shared/rules".to_owned(), 2)] {
            watcher.changed().await.unwrap();
        }
    });
}
