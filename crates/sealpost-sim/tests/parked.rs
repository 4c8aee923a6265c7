//! Found by the simulation: claims that were parked in memory, taken out for a change, and refused by the store were
//! nobody's any more, and their deliveries pending until the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sealpost::app::lanes::Caps;
use sealpost::app::webhooks::WebhookInput;
use sealpost::app::{App, AppConfig};
use sealpost::clock::ManualClock;
use sealpost::engine::Engine;
use sealpost_core::dialect::Dialect;
use sealpost_core::event_type::EventTypeName;
use sealpost_core::publish::{BodyKind, parse};
use sealpost_core::quota::Quota;
use sealpost_core::settings::{ServerDefaults, WebhookSettings};
use sealpost_core::target_url::{TargetUrl, UrlRules};
use sealpost_core::time::Timestamp;
use sealpost_core::webhook::Subscription;
use sealpost_egress::{Reply, Scripted};
use sealpost_sim::memory::{Disk, Verb, Weather};
use sealpost_store::StoreError;

/// Takes nothing back while it is set.
#[derive(Debug, Default)]
struct Refuses(AtomicBool);

#[async_trait]
impl Weather for Refuses {
    async fn before(&self, verb: Verb) -> Result<(), StoreError> {
        let refused = verb == Verb::Unclaim && self.0.load(Ordering::SeqCst);
        if refused { Err(StoreError::Busy) } else { Ok(()) }
    }

    async fn after(&self, _: Verb) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}

fn input(url: &str) -> WebhookInput {
    WebhookInput {
        subscription: Subscription::Types(vec![EventTypeName::parse("did_create").unwrap()]),
        url: TargetUrl::parse(url, &UrlRules::default()).unwrap(),
        disabled: false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_take_back_at_once_is_handed_back_later() {
    let (disk, refuses) = (Disk::default(), Arc::new(Refuses::default()));
    let store = Arc::new(disk.open(refuses.clone(), None));
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_323_045_000)));
    let config = AppConfig {
        defaults: ServerDefaults::default(),
        url_rules: UrlRules::default(),
        public_url: "https://issuer.example".into(),
        base_domain: None,
        bootstrap_api_key: None,
        quota: Quota::default(),
        analytics_retention: None,
        publish_ahead: Duration::from_secs(86_400),
        rotate_every: None,
    };
    let (app, work) = App::new(store, clock, Caps::default(), config);
    let tenant = app.ensure_default_tenant().await.unwrap().no;
    let out = Arc::new(Scripted::answering([Reply::status(200).after(Duration::from_millis(50))]));
    let (engine, _) = Engine::start(app.clone(), work, out.clone()).await.unwrap();
    let settings = WebhookSettings { max_in_flight: 1, ..WebhookSettings::default() };
    let before = input("https://a.example.com/one");
    let webhook = app.create_webhook(tenant, Dialect::Mattr, before, settings, "test").await.unwrap();
    let three = format!("[{}]", [r#"{"type":"did_create","payload":{}}"#; 3].join(","));
    app.publish(tenant, parse(BodyKind::Json, three.as_bytes()).unwrap(), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;

    refuses.0.store(true, Ordering::SeqCst);
    let after = input("https://a.example.com/two");
    let changed = app.replace_webhook(tenant, webhook.id, Dialect::Mattr, after, "test").await;
    assert!(changed.is_err(), "what is parked could not be taken back, so nothing is acknowledged");
    assert!(disk.state().is_busy());
    refuses.0.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;

    assert!(!disk.state().is_busy(), "{}", disk.state().pending_text());
    let targets: Vec<_> = out.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/one", "/two", "/two"]);
    assert!(app.lanes.holds_nothing());
    assert!(engine.drain(Duration::from_secs(1)).await);
}
