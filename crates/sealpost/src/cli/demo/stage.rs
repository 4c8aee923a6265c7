//! Where the demo plays: a temporary folder, a certificate authority and the real server. All of it is removed at
//! the end, whatever the end is.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sealpost_core::secret::Secret;

use crate::cli::client::{Api, Failure};
use crate::cli::listen::tls::Identity;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config, Flags, Name};
use crate::serve::Server;

/// The waits of the demo: as many as by default, but short.
const RETRY_INTERVALS: &str = "1s,1s,1s";

pub(super) const LOOK_FURTHER: &str = "\
look further:
  sealpost demo --keep      the same, and then the server stays up for curl and the commands below
  SEALPOST_EGRESS_HTTP=loopback sealpost serve      a server of your own on http://127.0.0.1:8080 that may deliver to
                            this machine; its first key is put into ./sealpost-data/admin.key
  sealpost listen --register --events did_create    a receiver that verifies and shows what comes
  sealpost trigger did_create                       a realistic sample event
  sealpost delivery list    what became of it";

pub(super) struct Stage {
    folder: TemporaryFolder,
    identity: Identity,
    key: String,
    server: Server,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, Failure> {
        let clock = SystemClock::start();
        let folder = TemporaryFolder::make(&clock)?;
        let identity = Identity::for_localhost()?;
        let authority = folder.path.join("receivers-ca.pem");
        std::fs::write(&authority, &identity.authority_pem)
            .map_err(|e| Failure::io(authority.display(), &e))?;
        let key = format!("spk_demo_{}", hex(&clock.bytes32()));
        let server = Server::start(&config(&folder.path, &authority, &key)?)
            .await
            .map_err(|error| Failure::failed(format!("the server did not start: {error}")))?;
        Ok(Self { folder, identity, key, server })
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn api(&self) -> Result<Api, Failure> {
        Api::local(&self.url(), Secret::new(self.key.clone()))
    }

    pub(super) async fn strike(self) -> Result<(), Failure> {
        let stopped = self.server.stop().await;
        drop(self.folder);
        stopped.map(drop).map_err(|error| Failure::failed(format!("the server did not stop well: {error}")))
    }

    /// For a server that stays up.
    pub(super) fn look_around(&self) -> String {
        let (url, key) = (self.url(), &self.key);
        format!(
            "\
look around, in another terminal:
  export SEALPOST_SERVER={url} SEALPOST_API_KEY={key}
  sealpost webhook list
  sealpost delivery list --status failed
  sealpost delivery get ID       each attempt of one of them
  sealpost event list
  curl -s {url}/v1/webhooks/jwks
  curl -s -H \"Authorization: Bearer $SEALPOST_API_KEY\" '{url}/v1/webhooks/deliveries?status=failed&limit=2'"
        )
    }
}

/// Nothing of this machine's settings counts: neither its environment nor its configuration file.
fn config(folder: &Path, authority: &Path, key: &str) -> Result<Config, Failure> {
    let mut flags = Flags::default();
    for (name, value) in [
        (Name::Listen, "127.0.0.1:0".to_owned()),
        (Name::Store, format!("sqlite:{}", folder.join("sealpost.db").display())),
        (Name::BootstrapApiKey, key.to_owned()),
        (Name::EgressAllow, "127.0.0.0/8,::1/128".to_owned()),
        (Name::EgressCa, authority.display().to_string()),
        (Name::RetryIntervals, RETRY_INTERVALS.to_owned()),
    ] {
        flags.set(name, Some(value));
    }
    config::parse(&flags, &BTreeMap::new(), None).map_err(|errors| {
        let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::failed(sentences.join(" "))
    })
}

/// A folder that only its owner may enter, gone when it is dropped.
struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn make(clock: &SystemClock) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("sealpost-demo-{}", hex(&clock.chance())));
        DirBuilder::new().mode(0o700).create(&path).map_err(|e| Failure::io(path.display(), &e))?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _nothing_more_can_be_done = std::fs::remove_dir_all(&self.path);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
