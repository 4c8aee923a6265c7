//! Whose tables they are, and how one gets to them.

use sealpost_store::StoreError;
use sealpost_store::postgres::{OpenOptions, PostgresStore};
use sealpost_store::registry::Registry;

use super::backend::{Database, server, url, variable};
use crate::conformance::Backend;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_schema_and_a_newer_one_are_refused() {
    let database = Database::new();
    database.admin().await.batch_execute("CREATE TABLE somebody (a BIGINT)").await.unwrap();
    let refused = PostgresStore::open(database.options()).await.unwrap_err().to_string();
    assert!(refused.contains("belongs to another program"), "{refused}");

    let database = Database::new();
    database.node().await;
    let raise = "UPDATE meta SET number = 99 WHERE name = 'schema'";
    database.admin().await.batch_execute(raise).await.unwrap();
    let refused = PostgresStore::open(database.options()).await.unwrap_err();
    assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_together_make_the_tables_once() {
    let database = Database::new();
    let (one, two, three) = tokio::join!(database.node(), database.node(), database.node());
    for node in [one, two, three] {
        assert!(node.tenants().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_verifies_the_server() {
    let database = Database::new();
    let plain = url(database.schema(), None).replace("sslmode=disable", "sslmode=require");
    let authorities = variable("SEALPOST_TEST_POSTGRES_CA").replace('/', "%2F");
    let trusted = format!("{plain}&sslrootcert={authorities}");
    let node = PostgresStore::open(OpenOptions::new(trusted, database.key_file())).await.unwrap();
    assert!(node.tenants().await.unwrap().is_empty());
    let used = "SELECT count(*) > 0 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                WHERE s.ssl AND a.application_name = 'sealpost'";
    assert!(database.admin().await.query_one(used, &[]).await.unwrap().get::<_, bool>(0));

    let refused = PostgresStore::open(OpenOptions::new(plain, database.key_file())).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_is_told_at_once_and_not_repeated() {
    let database = Database::new();
    let (_, rest) = server().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let wrong = format!("postgres://sealpost:hunter2@{rest}?sslmode=disable");
    let refused =
        PostgresStore::open(OpenOptions::new(wrong, database.key_file())).await.unwrap_err().to_string();
    assert!(refused.contains("authentication failed") && !refused.contains("hunter2"), "{refused}");
}
