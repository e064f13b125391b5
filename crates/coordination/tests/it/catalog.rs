//! Tables and views.

use streamkeeper_coordination::Error;
use streamkeeper_coordination::catalog::{CatalogObject, CatalogStore, Change, DatabaseContent, ObjectKind};
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

fn object(name: &str, content: Option<&CatalogObject>, version: Option<i32>) -> Change {
    Change::Object { database: "db".into(), object: name.into(), content: content.cloned(), version }
}

#[test]
fn changes_are_made_together_or_not_at_all() {
    let keeper = server(None, None);
    let address = keeper.client_address().unwrap();
    block_on(async {
        let catalog = CatalogStore::new(cluster(address).await);
        let mut seen = catalog.watch().await.unwrap();
        let database = |content: Option<DatabaseContent>, version| Change::Database {
            database: "db".into(),
            content,
            version,
        };
        let commented = DatabaseContent { comment: Some("mine".into()), ..DatabaseContent::default() };
        let (one, two) = (table("CREATE TABLE a (a INT)"), table("CREATE TABLE b (b INT)"));
        let made = [
            database(Some(commented.clone()), None),
            object("a", Some(&one), None),
            object("b", Some(&two), None),
        ];
        catalog.apply(&made).await.unwrap();
        let now = seen.wait_for(|catalog| catalog.shows(&made)).await.unwrap();
        assert_eq!(now.databases().next().unwrap().1.value, commented);
        assert_eq!(now.as_ref(), &streamkeeper_coordination::catalog::Catalog::default().with(&made));

        let late = [object("c", Some(&one), None), object("a", Some(&two), Some(7))];
        let changed = catalog.apply(&late).await.unwrap_err();
        assert!(matches!(&changed, Error::Changed { path } if path.ends_with("db/a")), "{changed}");
        let taken = catalog.apply(&[object("d", Some(&one), None), object("b", Some(&one), None)]).await;
        assert!(matches!(taken, Err(Error::ObjectExists { object, .. }) if object == "b"));
        assert_eq!(catalog.get("db", "c").await.unwrap(), None);
        assert_eq!(catalog.get("db", "d").await.unwrap(), None);

        let full = catalog.apply(&[object("a", None, Some(0)), database(None, Some(0))]).await.unwrap_err();
        assert!(matches!(full, Error::Changed { .. }), "b is in it: {full}");
        catalog
            .apply(&[object("a", None, Some(0)), object("b", None, Some(0)), database(None, Some(0))])
            .await
            .unwrap();
        let now = seen.wait_for(|catalog| catalog.databases().count() == 0).await.unwrap();
        assert_eq!(now.objects().count(), 0);
    });
}
