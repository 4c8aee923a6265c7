//! A schema of its own for each case, in the database of `SEALPOST_TEST_POSTGRES`.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use sealpost_store::Store;
use sealpost_store::postgres::{OpenOptions, PostgresStore};
use sealpost_store::vault::{MasterKey, random};
use tokio_postgres::{Client, NoTls};

use crate::conformance::Backend;

pub(crate) struct Database {
    schema: String,
    folder: tempfile::TempDir,
}

/// Where the server is.
///
/// # Panics
/// Without one: a test that is passed over tells nobody that it was.
#[expect(clippy::disallowed_methods, reason = "the server is told by whoever runs the tests")]
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: run the tests with crates/sealpost-store/tests/postgres/server.sh run cargo nextest run ..."
        )
    })
}

pub(crate) fn server() -> String {
    variable("SEALPOST_TEST_POSTGRES")
}

/// The server with a schema, by way of another address if one is given.
pub(crate) fn url(schema: &str, address: Option<&str>) -> String {
    let server = server();
    let server = match address {
        Some(address) => {
            let (credentials, _) = server.rsplit_once('@').unwrap();
            format!("{credentials}@{address}/postgres")
        }
        None => server,
    };
    format!("{server}?sslmode=disable&options=-c%20search_path%3D{schema}")
}

pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

pub(crate) async fn connect(schema: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&url(schema, None), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Database {
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("master.key")
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) async fn admin(&self) -> Client {
        connect(&self.schema).await
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions::new(url(&self.schema, None), self.key_file())
    }

    /// One more process that uses the same database.
    pub(crate) async fn node(&self) -> Arc<PostgresStore> {
        Arc::new(PostgresStore::open(self.options()).await.unwrap())
    }
}

impl Backend for Database {
    fn new() -> Self {
        let schema: String = random::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let schema = format!("case_{schema}");
        let folder = tempfile::tempdir().unwrap();
        MasterKey::make_file(&folder.path().join("master.key")).unwrap();
        wait_for(async {
            connect("public").await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        });
        Self { schema, folder }
    }

    fn open(&self) -> Arc<dyn Store> {
        wait_for(self.node())
    }
}
