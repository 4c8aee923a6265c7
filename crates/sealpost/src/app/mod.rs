//! What Sealpost can do, one file for each noun. The API, the command line and the engine call these verbs; none of
//! them reads HTTP or writes a terminal.

pub mod admin;
pub mod analytics;
pub mod clients;
pub mod deliveries;
pub mod domains;
pub mod erasures;
pub mod event_types;
pub mod events;
pub mod gate;
pub mod hosts;
pub mod keys;
pub mod lanes;
pub mod openid;
pub mod operators;
pub mod payloads;
pub mod portal;
pub mod quotas;
pub mod registry;
pub mod request;
pub mod samples;
pub mod sight;
pub mod sign_in;
pub mod starts;
pub mod tenants;
pub mod tokens;
pub mod webhooks;

use std::sync::Arc;

use sealpost_core::audit::{Action, By};
use sealpost_core::event::Event;
use sealpost_core::id::TenantNo;
use sealpost_core::payload::Payload;
use sealpost_core::quota::Quota;
use sealpost_core::settings::ServerDefaults;
use sealpost_core::target_url::UrlRules;
use sealpost_egress::TxtLookup;
use sealpost_store::queue::ClaimTicket;
use sealpost_store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::clock::Clock;
use analytics::Recorded;
use domains::VerifiedDomains;
use lanes::{Caps, Lanes, Work};
use registry::{Registry, Target, TenantEntry};
use sight::{Sight, Term};
use starts::StartMarks;

/// A delivery that is claimed on disk, with all that its request is made of.
#[derive(Clone, Debug)]
pub struct Ready {
    pub ticket: ClaimTicket,
    pub tenant: Arc<TenantEntry>,
    pub target: Arc<Target>,
    pub event: Event,
    pub payload: Payload,
    /// When it was claimed.
    pub term: Term,
}

/// What holds for the whole installation.
#[derive(Clone, Debug)]
pub struct AppConfig {
    pub defaults: ServerDefaults,
    pub url_rules: UrlRules,
    /// Where links lead (`thin` payloads): the public URL without a final slash.
    pub public_url: String,
    pub base_domain: Option<String>,
    pub bootstrap_api_key: Option<sealpost_core::secret::Secret<String>>,
    /// Of tenants that have no limits of their own.
    pub quota: Quota,
    /// How long analytic events are kept; `None`: none are recorded or shown.
    pub analytics_retention: Option<std::time::Duration>,
    /// How long a next key is published before `key rotate` takes it.
    pub publish_ahead: std::time::Duration,
    /// How long a key signs before the next one takes its place by itself; never if absent.
    pub rotate_every: Option<std::time::Duration>,
}

/// Everything the verbs need; cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub registry: Arc<Registry>,
    pub lanes: Arc<Lanes>,
    pub config: Arc<AppConfig>,
    pub starts: Arc<StartMarks>,
    pub domains: Arc<VerifiedDomains>,
    pub recorded: Arc<Recorded>,
    pub sight: Arc<Sight>,
    txt: TxtLookup,
    clients: Arc<clients::ClientCache>,
    tokens: Arc<tokens::Tokens>,
    openid: Arc<openid::Providers>,
    portal_links: Arc<portal::PortalLinks>,
}

impl App {
    /// With what the engine is to do.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        caps: Caps,
        config: AppConfig,
    ) -> (Self, mpsc::UnboundedReceiver<Work>) {
        let (lanes, work) = Lanes::new(caps);
        let app = Self {
            registry: Arc::new(Registry::new(Arc::clone(&store))),
            clients: Arc::new(clients::ClientCache::new(config.bootstrap_api_key.as_ref())),
            tokens: Arc::default(),
            openid: Arc::default(),
            portal_links: Arc::default(),
            config: Arc::new(config),
            starts: StartMarks::none(),
            domains: Arc::default(),
            recorded: Arc::default(),
            sight: Sight::new(Arc::clone(&clock), store.is_shared()),
            txt: TxtLookup::default(),
            store,
            clock,
            lanes,
        };
        (app, work)
    }

    /// Remembers beyond a kill which claims began.
    pub fn with_starts(self, starts: Arc<StartMarks>) -> Self {
        Self { starts, ..self }
    }

    /// Asks the DNS for what proves a domain; without it no domain can be verified.
    pub fn with_txt(self, txt: TxtLookup) -> Self {
        Self { txt, ..self }
    }

    /// Takes tokens of these providers, and fetches their keys; without it nobody's but our own.
    pub fn with_openid(self, providers: openid::Providers) -> Self {
        Self { openid: Arc::new(providers), ..self }
    }

    /// For the audit log: who does what now.
    pub(super) fn by(&self, who: &str, action: Action) -> By {
        By::new(who, action, self.clock.now())
    }

    /// A tenant that must exist, because a credential or a row named it.
    pub async fn tenant(&self, no: TenantNo) -> Result<Arc<TenantEntry>, StoreError> {
        self.registry.tenant(no).await?.ok_or(StoreError::Corrupt { what: "reference to a tenant" })
    }
}

/// Runs to its end even if whoever waits for it goes away.
async fn detached<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Closed.into()),
    }
}
