//! Tables and views.

use streamkeeper_coordination::Error;
use streamkeeper_coordination::catalog::{CatalogObject, CatalogStore, ObjectKind};
use streamkeeper_zookeeper::block_on;

use crate::{cluster, server};

fn table(statement: &str) -> CatalogObject {
    CatalogObject { kind: ObjectKind::Table, statement: statement.into(), details: serde_json::Value::Null }
}

#[test]
fn objects_are_made_replaced_and_dropped_at_their_version() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let (catalog, other) =
            (CatalogStore::new(cluster(address).await), CatalogStore::new(cluster(address).await));
        let mut seen = other.watch().await.unwrap();
        let made = table("CREATE TABLE t (a INT) WITH ('connector' = 'datagen')");
        catalog.create("default_database", "t", &made).await.unwrap();
        let exists = catalog.create("default_database", "t", &made).await.unwrap_err();
        assert!(matches!(exists, Error::ObjectExists { .. }), "{exists}");
        let view = CatalogObject { kind: ObjectKind::View, ..table("CREATE VIEW v AS SELECT a FROM t") };
        catalog.create("default_database", "v", &view).await.unwrap();
        let now = seen.wait_for(|catalog| catalog.objects().count() == 2).await.unwrap();
        assert_eq!(now.get("default_database", "v").unwrap().value, view);
        let changed = table("CREATE TABLE t (a INT, b INT) WITH ('connector' = 'datagen')");
        assert_eq!(other.replace("default_database", "t", &changed, 0).await.unwrap(), 1);
        let late = catalog.replace("default_database", "t", &made, 0).await.unwrap_err();
        assert!(matches!(late, Error::Changed { .. }), "{late}");
        let late = catalog.drop_object("default_database", "t", 0).await.unwrap_err();
        assert!(matches!(late, Error::Changed { .. }), "{late}");
        catalog.drop_object("default_database", "t", 1).await.unwrap();
        catalog.drop_object("default_database", "t", 1).await.unwrap();
        seen.wait_for(|catalog| catalog.objects().count() == 1).await.unwrap();
        assert_eq!(catalog.get("default_database", "t").await.unwrap(), None);
        assert!(catalog.create("..", "t", &made).await.is_err());
        let large = table(&"x".repeat(300_000));
        let refused = catalog.create("default_database", "large", &large).await.unwrap_err();
        assert!(matches!(refused, Error::InvalidDocument { .. }), "{refused}");
    });
}

#[test]
fn a_foreign_edit_leaves_the_last_good_statement() {
    let keeper = server(None, None);
    let cluster = block_on(cluster(keeper.client_address().unwrap()));
    let catalog = CatalogStore::new(cluster.clone());
    block_on(async {
        let made = table("CREATE TABLE t (a INT)");
        catalog.create("db", "t", &made).await.unwrap();
        let mut seen = catalog.watch().await.unwrap();
        let path = cluster.layout().catalog_object("db", "t");
        cluster.zookeeper().set(&path, "CREATE TABLE t (a INT)", None).await.unwrap();
        let now = seen.wait_for(|catalog| catalog.problems().count() == 1).await.unwrap();
        assert_eq!(now.get("db", "t").unwrap().value, made);
    });
}
