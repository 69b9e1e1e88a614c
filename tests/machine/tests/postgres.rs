//! The harness itself: what it promises to the tests that rest on it.

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, Row};
use test_machine::postgres::{Postgres, fresh_database};

async fn connect(url: &str) -> AnyPool {
    install_default_drivers();
    AnyPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(std::time::Duration::from_secs(3))
        .connect(url)
        .await
        .expect("connected")
}

async fn rows(pool: &AnyPool) -> i64 {
    sqlx::query("SELECT count(*) FROM kept").fetch_one(pool).await.expect("counted").get(0)
}

#[tokio::test]
async fn two_fresh_databases_share_nothing() {
    let (one, two) = (fresh_database().expect("one"), fresh_database().expect("two"));
    assert_ne!(one, two);
    let (one, two) = (connect(&one).await, connect(&two).await);
    for pool in [&one, &two] {
        sqlx::query("CREATE TABLE kept (n bigint)").execute(pool).await.expect("each is empty");
    }
    sqlx::query("INSERT INTO kept VALUES ($1)").bind(7_i64).execute(&one).await.expect("written");
    assert_eq!((rows(&one).await, rows(&two).await), (1, 0));
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_and_a_restart() {
    let mut server = Postgres::start().expect("started");
    let url = server.create_database().expect("a database");
    let pool = connect(&url).await;
    sqlx::query("CREATE TABLE kept (n bigint)").execute(&pool).await.expect("made");
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&pool).await.expect("written");
    let first = server.pid().expect("it runs");
    server.kill().expect("killed");
    assert!(sqlx::query("SELECT 1").execute(&pool).await.is_err(), "it still answers");
    server.restart().expect("recovered");
    assert_ne!(server.pid(), Some(first));
    assert_eq!(rows(&connect(&url).await).await, 1);
}

#[test]
fn a_server_ends_with_its_handle() {
    let server = Postgres::start().expect("started");
    let pid = server.pid().expect("it runs");
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    assert!(process.exists());
    drop(server);
    assert!(!process.exists(), "process {pid} outlived its handle");
}
