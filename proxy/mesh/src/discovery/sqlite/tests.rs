//! Files as sidecars share them.

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::discovery::{Polled, Resolver as _};

fn hosts(file: &Path) -> SqliteHosts {
    SqliteHosts::open(Config {
        file: file.to_owned(),
        timeout: Duration::from_secs(1),
        busy_timeout: Duration::from_millis(800),
        disable_wal: false,
        table: "hosts".to_owned(),
        metadata_table: "metadata".to_owned(),
        update_interval: Duration::from_secs(5),
        cleanup_interval: Duration::from_secs(3600),
    })
    .unwrap()
}

fn orders() -> AppId {
    AppId::new("default", "orders").unwrap()
}

fn rows(file: &Path) -> Vec<(String, String, String)> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare("SELECT address, app_id, namespace FROM hosts ORDER BY address").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[tokio::test]
async fn sidecars_that_share_a_file_find_each_other_until_they_leave() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    let (one, other) = (hosts(&file), hosts(&file));
    let resolver = Polled::new(other, 8);

    let refused = resolver.resolve(&orders()).await.unwrap_err().to_string();
    assert!(refused.contains("names.db") && refused.contains("app ID orders"), "{refused}");
    let (first, second) =
        (one.announce(&orders(), address(7001)), one.announce(&orders(), "[::1]:7002".parse().unwrap()));
    first.stored().await;
    second.stored().await;
    assert_eq!(rows(&file).len(), 2);
    let mut found = resolver.resolve(&orders()).await.unwrap();
    assert_eq!(found.borrow().len(), 2);

    second.retract();
    found.wait_for(|endpoints| endpoints.len() == 1).await.unwrap();
    assert_eq!(found.borrow().first().map(|endpoint| endpoint.address), Some(address(7001)));
    assert_eq!(rows(&file), [("127.0.0.1:7001".to_owned(), "orders".to_owned(), String::new())]);
}

#[tokio::test]
async fn a_row_that_is_not_renewed_counts_no_more_and_is_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    let hosts = hosts(&file);
    let connection = Connection::open(&file).unwrap();
    let insert = |id: &str, address: &str, age: u32| {
        let query = "INSERT INTO hosts VALUES (?, ?, 'orders', '', unixepoch(CURRENT_TIMESTAMP) - ?)";
        connection.execute(query, rusqlite::params![id, address, age]).unwrap();
    };
    insert("dead", "127.0.0.1:7001", 6);
    insert("live", "127.0.0.1:7002", 1);

    let found = hosts.lookup(&orders()).await.unwrap();
    assert_eq!(found.iter().map(|endpoint| &*endpoint.instance).collect::<Vec<_>>(), ["live"]);
    assert_eq!(hosts.blocking(Table::clean_up).await.unwrap(), 1);
    assert_eq!(rows(&file).len(), 1);
    insert("dead too", "127.0.0.1:7003", 60);
    assert_eq!(hosts.blocking(Table::clean_up).await.unwrap(), 0, "another has cleaned up within the interval");
}

#[tokio::test]
async fn a_row_that_another_deleted_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    let mut hosts = hosts(&file);
    let mut quick = (*hosts.config).clone();
    quick.update_interval = Duration::from_secs(2);
    hosts.config = Arc::new(quick);
    let announced = hosts.announce(&orders(), address(7001));
    announced.stored().await;
    Connection::open(&file).unwrap().execute("DELETE FROM hosts", []).unwrap();
    let again = async {
        while rows(&file).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
}

#[tokio::test]
async fn two_namespaces_are_told_apart_where_a_row_names_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    let hosts = hosts(&file);
    let insert = "INSERT INTO hosts VALUES ('x', '127.0.0.1:1', 'orders', 'shop', unixepoch(CURRENT_TIMESTAMP))";
    Connection::open(&file).unwrap().execute(insert, []).unwrap();
    assert!(hosts.lookup(&orders()).await.unwrap().is_empty());
    assert_eq!(hosts.lookup(&AppId::new("shop", "orders").unwrap()).await.unwrap().len(), 1);
}

#[test]
fn a_file_that_cannot_be_is_refused_by_name() {
    let refused = SqliteHosts::open(Config { file: "/nowhere/names.db".into(), ..(*hosts_config()).clone() });
    let refused = refused.err().unwrap().to_string();
    assert!(refused.starts_with("the file /nowhere/names.db of name resolution cannot be used"), "{refused}");
}

fn hosts_config() -> Arc<Config> {
    let folder = tempfile::tempdir().unwrap();
    Arc::clone(&hosts(&folder.path().join("names.db")).config)
}

#[test]
fn sidecars_that_start_together_make_one_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("names.db");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| hosts(&file));
        }
    });
    let connection = Connection::open(&file).unwrap();
    let query = "SELECT value FROM metadata WHERE key = 'nr-migrations'";
    let level: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(level, "1");
}
