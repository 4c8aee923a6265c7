//! Publishing: once, again, with other content, and without waiting for the answer.

use std::time::Duration;

use sealpost::app::events::PublishRefused;
use sealpost_core::id::EventId;
use sealpost_core::publish::{BodyKind, parse};

use super::{Callers, TYPES};
use crate::ledger::Publish;

impl Callers {
    /// A request nobody made before.
    fn compose(&self) -> Publish {
        let tenant = self.any_tenant();
        let now = self.world.wall();
        let mut inner = self.world.inner();
        let seq = inner.next_seq();
        let several = inner.dice.one_in(6);
        let count = if several { 1 + inner.dice.spread(30) } else { 1 };
        let with_ids = inner.dice.one_in(2);
        let key = inner.dice.one_in(4).then(|| format!("key {seq}"));
        let (mut types, mut events) = (Vec::new(), Vec::new());
        for n in 0..count {
            let name = inner.dice.of(&TYPES);
            types.push(name);
            let mut event = format!(r#""type":"{name}","payload":{{"seq":{seq},"n":{n}}}"#);
            let mut chance = [0; 10];
            inner.dice.fill(&mut chance);
            let id = EventId::new(now, chance);
            if with_ids {
                event += &format!(r#","id":"{id}""#);
            }
            if inner.dice.one_in(3) {
                let subject = format!("holder {}", inner.dice.between(0, 50));
                event += &format!(r#","subjects":["{subject}"]"#);
                if with_ids {
                    inner.ledger.subjects.entry((tenant, subject)).or_default().push(id);
                }
            }
            events.push(format!("{{{event}}}"));
        }
        if with_ids {
            inner.coverage.count("publish with an id");
        }
        if key.is_some() {
            inner.coverage.count("publish with a key");
        }
        if several {
            inner.coverage.count("publish several");
        }
        let body = if several { format!("[{}]", events.join(",")) } else { events.concat() };
        // Without either nobody could tell that it is a repeat.
        let identified = with_ids || key.is_some();
        Publish { tenant, body, key, types, began: seq, heard: None, repeats: None, identified }
    }

    pub(super) async fn publish(&self) {
        let publish = self.compose();
        self.call(publish).await;
    }

    async fn call(&self, publish: Publish) {
        let (tenant, key) = (publish.tenant, publish.key.clone());
        let Ok(publications) = parse(BodyKind::Json, publish.body.as_bytes()) else { return };
        let place = {
            let mut inner = self.world.inner();
            inner.note("publish", &[publish.body.as_bytes()]);
            inner.ledger.publishes.push(publish);
            inner.ledger.publishes.len() - 1
        };
        let answer = self.app.publish(tenant, publications, key).await;
        let mut inner = self.world.inner();
        let seq = inner.next_seq();
        match answer {
            Ok(published) => {
                inner.coverage.count("publish");
                if published.repeated {
                    inner.coverage.count("repeated");
                }
                inner.note("published", &[format!("{:?}", published.events).as_bytes()]);
                inner.ledger.publishes[place].heard = Some((seq, published.events));
            }
            Err(PublishRefused::Conflict(what)) => inner.wrong(format!("a repeat was refused: {what}")),
            Err(PublishRefused::Store(_)) => inner.coverage.count("publish failed"),
            Err(other) => inner.wrong(format!("a good event was refused: {other}")),
        }
    }

    /// An earlier call that a repeat would be recognised of.
    fn earlier(&self, heard: bool) -> Option<usize> {
        let mut inner = self.world.inner();
        let count = inner.ledger.publishes.len() as u64;
        // Mostly a recent one, as somebody does who got no answer.
        let back = inner.dice.spread(count.saturating_sub(1));
        let place = count.checked_sub(1 + back)? as usize;
        let publish = inner.ledger.publishes.get(place)?;
        (publish.identified && (publish.heard.is_some() || !heard))
            .then_some(publish.repeats.unwrap_or(place))
    }

    pub(super) async fn repeat(&self) {
        let Some(place) = self.earlier(false) else { return };
        let publish = {
            let mut inner = self.world.inner();
            let began = inner.next_seq();
            let first = inner.ledger.publishes[place].clone();
            Publish { began, heard: None, repeats: Some(place), ..first }
        };
        self.call(publish).await;
    }

    /// The same id or key with other content is refused, and changes nothing.
    pub(super) async fn contradict(&self) {
        let Some(place) = self.earlier(true) else { return };
        let first = self.world.inner().ledger.publishes[place].clone();
        if first.heard.is_none() {
            return;
        }
        let body = first.body.replace(r#""seq":"#, r#""other":"#);
        let Ok(publications) = parse(BodyKind::Json, body.as_bytes()) else { return };
        let answer = self.app.publish(first.tenant, publications, first.key).await;
        let mut inner = self.world.inner();
        match answer {
            Err(PublishRefused::Conflict(_)) => inner.coverage.count("conflict"),
            Err(PublishRefused::Store(_)) => inner.coverage.count("publish failed"),
            Ok(_) => inner.wrong("other content was accepted under a known id or key".into()),
            Err(other) => inner.wrong(format!("other content was refused for the wrong reason: {other}")),
        }
    }

    /// A publisher that goes away before it hears anything.
    pub(super) async fn hang_up(&self) {
        let this = self.clone();
        let call = tokio::spawn(async move { this.publish().await });
        let wait = self.world.inner().dice.between(0, 4);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        call.abort();
        self.world.count("publisher hung up");
    }
}
