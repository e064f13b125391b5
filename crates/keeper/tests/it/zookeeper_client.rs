//! A tour by the client that Streamkeeper's own control plane uses: `zookeeper-client`.

use std::time::Duration;

use streamkeeper_keeper::server::{Keeper, ServerOptions};
use zookeeper_client as zk;

const PERSISTENT: &zk::CreateOptions<'static> = &zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
const EPHEMERAL: &zk::CreateOptions<'static> = &zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
const SEQUENTIAL: &zk::CreateOptions<'static> =
    &zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());

#[test]
fn the_clients_tour() {
    let keeper = Keeper::start(ServerOptions::default()).unwrap();
    let cluster = keeper.client_address().unwrap().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tour = async {
        znodes(&cluster).await;
        multis(&cluster).await;
        watches(&cluster).await;
        permissions(&cluster).await;
        sessions(&cluster).await;
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), tour).await.unwrap() });
    keeper.stop().unwrap();
}

async fn znodes(cluster: &str) {
    let client = zk::Client::connect(cluster).await.unwrap();
    let (created, _) = client.create("/z", b"one", PERSISTENT).await.unwrap();
    assert_eq!((created.version, created.data_length), (0, 3));
    assert_eq!(client.create("/z", b"", PERSISTENT).await.unwrap_err(), zk::Error::NodeExists);
    let stat = client.set_data("/z", b"second", Some(0)).await.unwrap();
    assert_eq!(client.set_data("/z", b"", Some(0)).await.unwrap_err(), zk::Error::BadVersion);
    assert_eq!(client.get_data("/z").await.unwrap(), (b"second".to_vec(), stat));
    for number in 0..3 {
        let (_, sequence) = client.create("/z/s-", b"", SEQUENTIAL).await.unwrap();
        assert_eq!(sequence.into_i64(), number);
    }
    let mut children = client.list_children("/z").await.unwrap();
    children.sort_unstable();
    assert_eq!(children, ["s-0000000000", "s-0000000001", "s-0000000002"]);
    assert_eq!(client.count_descendants_number("/z").await.unwrap(), 3);
    assert_eq!(client.list_ephemerals("/z").await.unwrap().len(), 3);
    assert_eq!(client.delete("/z", None).await.unwrap_err(), zk::Error::NotEmpty);
    client.create("/c", b"", &zk::CreateMode::Container.with_acls(zk::Acls::anyone_all())).await.unwrap();
    let lives = PERSISTENT.clone().with_ttl(Duration::from_secs(60));
    client.create("/t", b"", &lives).await.unwrap();
    client.sync("/").await.unwrap();
    assert_eq!(client.check_stat("/nope").await.unwrap(), None);
}

async fn multis(cluster: &str) {
    let client = zk::Client::connect(cluster).await.unwrap();
    let mut writer = client.new_multi_writer();
    writer.add_create("/m", b"1", PERSISTENT).unwrap();
    writer.add_set_data("/m", b"2", Some(0)).unwrap();
    writer.add_check_version("/m", 1).unwrap();
    assert_eq!(writer.commit().await.unwrap().len(), 3);
    writer.add_create("/m/x", b"", PERSISTENT).unwrap();
    writer.add_delete("/nope", None).unwrap();
    assert!(writer.commit().await.is_err());
    assert_eq!(client.check_stat("/m/x").await.unwrap(), None);
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/m").unwrap();
    reader.add_get_children("/m").unwrap();
    assert_eq!(reader.commit().await.unwrap().len(), 2);
}

async fn watches(cluster: &str) {
    let client = zk::Client::connect(cluster).await.unwrap();
    let other = zk::Client::connect(cluster).await.unwrap();
    let (_, created) = client.check_and_watch_stat("/w").await.unwrap();
    let mut below = client.watch("/w", zk::AddWatchMode::PersistentRecursive).await.unwrap();
    other.create("/w", b"", PERSISTENT).await.unwrap();
    assert_eq!(created.changed().await.event_type, zk::EventType::NodeCreated);
    let (_, _, changed) = client.get_and_watch_data("/w").await.unwrap();
    other.create("/w/a", b"", PERSISTENT).await.unwrap();
    other.set_data("/w", b"x", None).await.unwrap();
    assert_eq!(changed.changed().await.event_type, zk::EventType::NodeDataChanged);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = below.changed().await;
        seen.push((event.event_type, event.path));
    }
    let expected = [
        (zk::EventType::NodeCreated, "/w".to_owned()),
        (zk::EventType::NodeCreated, "/w/a".to_owned()),
        (zk::EventType::NodeDataChanged, "/w".to_owned()),
    ];
    assert_eq!(seen, expected);
    drop(below);
}

async fn permissions(cluster: &str) {
    let client = zk::Client::connect(cluster).await.unwrap();
    let stranger = zk::Client::connect(cluster).await.unwrap();
    client.auth("digest", b"ann:secret").await.unwrap();
    client.create("/p", b"", &zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all())).await.unwrap();
    assert_eq!(stranger.get_data("/p").await.unwrap_err(), zk::Error::NoAuth);
    assert_eq!(client.get_acl("/p").await.unwrap().0.len(), 1);
    assert_eq!(client.list_auth_users().await.unwrap().len(), 2);
}

async fn sessions(cluster: &str) {
    let client = zk::Client::connect(cluster).await.unwrap();
    client.create("/e", b"", EPHEMERAL).await.unwrap();
    let detached = zk::Client::connector().with_detached().connect(cluster).await.unwrap();
    detached.create("/d", b"", EPHEMERAL).await.unwrap();
    let session = detached.into_session();
    let again = zk::Client::connector().with_session(session).connect(cluster).await.unwrap();
    let stat = again.check_stat("/d").await.unwrap().unwrap();
    assert_eq!(stat.ephemeral_owner, again.session_id().0);
    let (_, _, gone) = again.get_and_watch_data("/e").await.unwrap();
    drop(client);
    assert_eq!(gone.changed().await.event_type, zk::EventType::NodeDeleted, "a closed session's znodes go");
}
