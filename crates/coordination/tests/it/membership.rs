//! TaskManagers come and go.

use streamkeeper_coordination::Cluster;
use streamkeeper_coordination::membership::TaskManagerDocument;
use streamkeeper_zookeeper::block_on;

use crate::{cluster, server};

fn document(id: &str) -> TaskManagerDocument {
    TaskManagerDocument {
        id: id.into(),
        rpc_address: "127.0.0.1:1".into(),
        data_address: "127.0.0.1:2".into(),
        slots: 2,
        ..TaskManagerDocument::default()
    }
}

async fn owner(cluster: &Cluster, id: &str) -> Option<i64> {
    cluster.sync().await.unwrap();
    let found = cluster.zookeeper().exists(&cluster.layout().task_manager(id)).await.unwrap();
    found.map(|stat| stat.ephemeral_owner)
}

#[test]
fn members_are_seen_to_come_and_go() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let mut members = cluster(address).await.watch_task_managers().await.unwrap();
        let (first, second) = (cluster(address).await, cluster(address).await);
        let mut a = first.register_task_manager(&document("tm-a")).unwrap();
        a.registered().await.unwrap();
        let _b = second.register_task_manager(&document("tm-b")).unwrap();
        let both = members.wait_for(|members| members.len() == 2).await.unwrap();
        assert_eq!(both.get("tm-b"), Some(&document("tm-b")));
        a.leave().await.unwrap();
        let one = members.wait_for(|members| members.len() == 1).await.unwrap();
        assert_eq!(one.iter().map(|(id, _)| id).collect::<Vec<_>>(), ["tm-b"]);
        second.zookeeper().close().await;
        members.wait_for(|members| members.is_empty()).await.unwrap();
        assert!(first.register_task_manager(&document("a/b")).is_err());
    });
}

#[test]
fn a_member_does_not_disturb_another_of_the_same_id() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (first, second) = (cluster(address).await, cluster(address).await);
        let mut registration = first.register_task_manager(&document("tm-a")).unwrap();
        registration.registered().await.unwrap();
        let other = TaskManagerDocument { data_address: "127.0.0.1:3".into(), ..document("tm-a") };
        let mut late = second.register_task_manager(&other).unwrap();
        let mut members = second.watch_task_managers().await.unwrap();
        assert_eq!(members.now().get("tm-a"), Some(&document("tm-a")));
        // Only when that is gone.
        registration.leave().await.unwrap();
        late.registered().await.unwrap();
        members.wait_for(|members| members.get("tm-a") == Some(&other)).await.unwrap();
    });
}

#[test]
fn a_member_whose_session_was_lost_is_there_again() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let observer = cluster(address).await;
        let member = cluster(address).await;
        let mut registration = member.register_task_manager(&document("tm-a")).unwrap();
        registration.registered().await.unwrap();
        let before = owner(&observer, "tm-a").await;
        member.zookeeper().expire_session().await.unwrap();
        let after = loop {
            match owner(&observer, "tm-a").await {
                Some(owner) if Some(owner) != before => break owner,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(after, member.zookeeper().status().session_id);
        // Nor does a foreign hand get rid of it.
        observer.zookeeper().delete(&observer.layout().task_manager("tm-a"), None).await.unwrap();
        while owner(&observer, "tm-a").await.is_none() {
            tokio::task::yield_now().await;
        }
    });
}
