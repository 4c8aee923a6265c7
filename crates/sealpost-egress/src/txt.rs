//! TXT records, by which somebody proves that a name is theirs.
//!
//! Whoever holds a [`TxtLookup`] can ask for these records and for nothing else. An answer is bounded in time, number
//! and size and never remembered: whoever has just published a record wants it to be seen.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverOpts;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::timeout;

use crate::error::DnsFault;
use crate::resolve::{self, absolute, fault, is_localhost};

/// One question to one server. Longer than for a delivery: nobody may have asked for this name for a long time, and a
/// person waits for the answer instead of a lane.
const QUERY_LIMIT: Duration = Duration::from_secs(2);
/// Large organisations keep some hundred of them at their domain.
const MAX_RECORDS: usize = 256;
/// All strings together.
const MAX_BYTES: usize = 32 * 1024;

/// Asks the same name servers as deliveries do. The default has none. Cheap to clone.
#[derive(Clone, Default)]
pub struct TxtLookup {
    servers: Option<TokioResolver>,
}

impl fmt::Debug for TxtLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxtLookup").field("has_servers", &self.servers.is_some()).finish()
    }
}

impl TxtLookup {
    pub(crate) fn new(nameservers: Option<&[SocketAddr]>, resolv_conf: &Path) -> Result<Self, NetError> {
        Ok(Self { servers: resolve::resolver(nameservers, resolv_conf, options())? })
    }

    /// The TXT records of `name`, each with its strings joined; empty if it has none or does not exist. What is not
    /// UTF-8 is replaced.
    pub async fn records(&self, name: &str, limit: Duration) -> Result<Vec<String>, DnsFault> {
        if is_localhost(name) {
            return Ok(Vec::new());
        }
        let resolver = self.servers.as_ref().ok_or(DnsFault::NoServers)?;
        let asked = timeout(limit, resolver.lookup(absolute(name)?, RecordType::TXT)).await;
        let lookup = match asked.unwrap_or(Err(NetError::Timeout)).map_err(|error| fault(&error)) {
            Ok(lookup) => lookup,
            Err(DnsFault::NoSuchName | DnsFault::NoAddress) => return Ok(Vec::new()),
            Err(fault) => return Err(fault),
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        for record in lookup.answers() {
            let RData::TXT(txt) = &record.data else { continue };
            let text = txt.txt_data.concat();
            bytes += text.len();
            if records.len() == MAX_RECORDS || bytes > MAX_BYTES {
                return Err(DnsFault::TooMuch);
            }
            records.push(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(records)
    }
}

fn options() -> ResolverOpts {
    let mut options = resolve::options();
    options.timeout = QUERY_LIMIT;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options
}
