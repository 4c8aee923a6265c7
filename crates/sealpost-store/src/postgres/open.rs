//! Opening: read the address, bring the schema up, check the master key, enter the list of nodes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use subtle::ConstantTimeEq as _;
use tokio_postgres::Config;

use super::fault::Fault;
use super::node::Node;
use super::numbers::Numbers;
use super::pool::{Conn, Pool, Tries};
use super::tls::Tls;
use super::{Shared, Tally, rewrap, schema, upkeep};
use crate::error::StoreError;
use crate::vault::{MasterKey, Vault, key_file};

/// What a store is opened with.
#[derive(Clone)]
pub struct OpenOptions {
    url: String,
    master_key_file: PathBuf,
}

/// The URL may hold a password.
impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions").field("master_key_file", &self.master_key_file).finish_non_exhaustive()
    }
}

impl OpenOptions {
    /// `postgres://user:password@host:port,host:port/database?...`; the key file is the same on every node.
    pub fn new(url: impl Into<String>, master_key_file: impl Into<PathBuf>) -> Self {
        Self { url: url.into(), master_key_file: master_key_file.into() }
    }

    /// What is wrong with the URL, as far as it shows without connecting.
    pub fn check(&self) -> Result<(), StoreError> {
        parse(&self.url).map(drop)
    }
}

/// The driver's configuration, and the file of `sslrootcert`, which the driver does not know.
fn parse(url: &str) -> Result<(Config, Option<PathBuf>), StoreError> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut authorities = None;
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("sslrootcert=") {
            Some(path) => authorities = Some(PathBuf::from(path.replace("%2F", "/").replace("%2f", "/"))),
            None => others.push(pair),
        }
    }
    // The driver's own message may repeat the URL, and so its password.
    let config: Config = format!("{address}?{}", others.join("&")).parse().map_err(|_| {
        let why = "the store is not a valid postgres:// URL: postgres://user:password@host:port/database, with \
                   several host:port separated by commas; known parameters are sslmode, sslrootcert, options, \
                   target_session_attrs and those of the driver";
        StoreError::Refused(why.into())
    })?;
    if config.get_hosts().is_empty() {
        return Err(StoreError::Refused("the postgres:// URL names no host".into()));
    }
    Ok((config, authorities))
}

impl OpenOptions {
    pub(super) fn master_key_file(&self) -> &Path {
        &self.master_key_file
    }

    /// Connections, and nothing done yet.
    pub(super) fn pool(&self) -> Result<Arc<Pool>, StoreError> {
        let (config, authorities) = parse(&self.url)?;
        Ok(Pool::new(config, Tls::new(authorities.as_deref())?))
    }
}

pub(super) async fn open(options: OpenOptions) -> Result<Shared, StoreError> {
    let pool = options.pool()?;
    let mut tries = Tries::begin();
    let (vault, node) = loop {
        match enter(&pool, &options.master_key_file).await {
            Ok(entered) => break entered,
            Err(fault) => tries.again(fault).await?,
        }
    };
    Ok(Shared {
        pool,
        vault,
        master_key_file: options.master_key_file,
        wrapping: tokio::sync::RwLock::default(),
        node,
        numbers: Numbers::default(),
        bell: Arc::default(),
        tally: Tally::default(),
        tenants: RwLock::default(),
        type_names: RwLock::default(),
        partitioned: Mutex::default(),
    })
}

async fn enter(pool: &Arc<Pool>, key_file: &Path) -> Result<(Vault, Node), Fault> {
    let conn = pool.get().await?;
    schema::migrate(&conn).await?;
    upkeep::make_partitions_from_now(&conn).await?;
    let vault = open_vault(&conn, key_file).await?;
    let node = Node::enter(&conn).await?;
    Ok((vault, node))
}

/// The right master key, or a refusal. The file is never made here: it has to be the same on every node.
async fn open_vault(conn: &Conn, key_file: &Path) -> Result<Vault, Fault> {
    let path = key_file.to_owned();
    let read = tokio::task::spawn_blocking(move || MasterKey::read_file(&path)).await;
    let key = read.map_err(|_| StoreError::Closed)??;
    conn.begin().await?;
    // Two nodes that start with different keys: the second finds the first one's.
    conn.batch("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE").await?;
    let check = match schema::master_check(conn).await? {
        Some(check) => check,
        None => {
            schema::set_master_check(conn, &key.check_value()).await?;
            key.check_value().to_vec()
        }
    };
    conn.batch("COMMIT").await?;
    conn.settled();
    if bool::from(key.check_value().as_slice().ct_eq(&check)) {
        return Ok(Vault::new(key));
    }
    let path = key_file.to_owned();
    let finished = tokio::task::spawn_blocking(move || key_file::finish(&path, &check)).await;
    match finished.map_err(|_| StoreError::Closed)?? {
        Some(key) => Ok(Vault::new(key)),
        None => Err(rewrap::elsewhere(key_file).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_refused_without_its_password() {
        for url in [
            "postgres://u:hunter2@/db",
            "postgres://u:hunter2@h/db?nonsense=1",
            "postgres://u:hunter2@h:x/db",
        ] {
            let refused = OpenOptions::new(url, "master.key").check().unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn several_hosts_and_the_trusted_authorities_are_read() {
        let url = "postgres://u:p@a:1,b:2/db?target_session_attrs=read-write&sslrootcert=%2Fetc/ca.pem&sslmode=require";
        let (config, authorities) = parse(url).unwrap();
        assert_eq!((config.get_hosts().len(), config.get_ports()), (2, &[1, 2][..]));
        assert_eq!(authorities, Some(PathBuf::from("/etc/ca.pem")));
        assert!(!format!("{:?}", OpenOptions::new(url, "k")).contains("u:p"));
    }
}
