//! Sessions: a random token in a cookie, and behind its hash, in memory, who it is for.
//!
//! A session ends when it is left unused, when it is old, when its owner signs out, when its credential ends, and with the
//! process. Nothing of it is stored. What must not stand in a URL (what came of a form, a secret that is shown once) goes
//! through a slot of the session, which is emptied by the page it is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealpost_core::secret::Secret;
use sealpost_core::time::Timestamp;
use tokio::sync::Semaphore;

use crate::app::clients::hash;
use crate::app::sign_in::Credential;
use crate::clock::Clock;

/// A person who went away is signed out after this.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);
/// And everybody after a working day.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// All together; a few hundred bytes each.
const SESSIONS: usize = 10_000;
/// Of one credential: people share keys, and one key must not sign out the others. The least used makes room.
const OF_ONE_CREDENTIAL: usize = 64;
/// By portal links of one tenant, each of which is a credential of its own. Here too the least used makes room.
const BY_LINKS_OF_ONE_TENANT: usize = SESSIONS / 20;

/// Pages of one session that update themselves at a time.
const LIVE: usize = 8;

/// What one page shows once.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Notice {
    Done(String),
    Failed(String),
    /// A secret, what it is, and what to do with it.
    Shown {
        name: &'static str,
        value: Secret<String>,
        about: &'static str,
    },
}

#[derive(Debug)]
struct Session {
    credential: Credential,
    csrf: Secret<String>,
    began: Timestamp,
    used: Timestamp,
    /// For the page at this path, until it was shown.
    slot: Option<(String, Vec<Notice>)>,
    live: Arc<Semaphore>,
}

impl Session {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.used) >= IDLE || now.since(self.began) >= LONGEST
    }
}

/// Names a session in memory without opening it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SessionKey([u8; 32]);

/// A session that holds.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) key: SessionKey,
    pub(super) credential: Credential,
    pub(super) csrf: Secret<String>,
    /// Places for pages that update themselves.
    pub(super) live: Arc<Semaphore>,
}

/// There are as many sessions as there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Full;

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionKey, Session>>);

impl Sessions {
    /// A new session and its token, which only the cookie has.
    pub(super) fn begin(&self, credential: Credential, clock: &dyn Clock) -> Result<Secret<String>, Full> {
        let now = clock.now();
        let mut sessions = self.lock();
        sessions.retain(|_, session| !session.is_over(now));
        make_room(&mut sessions, OF_ONE_CREDENTIAL, |other| same_owner(other, &credential));
        make_room(&mut sessions, BY_LINKS_OF_ONE_TENANT, |other| same_tenant_links(other, &credential));
        if sessions.len() >= SESSIONS {
            return Err(Full);
        }
        let token = URL_SAFE_NO_PAD.encode(clock.bytes32());
        let csrf = Secret::new(URL_SAFE_NO_PAD.encode(clock.bytes32()));
        let session = Session {
            credential,
            csrf,
            began: now,
            used: now,
            slot: None,
            live: Arc::new(Semaphore::new(LIVE)),
        };
        sessions.insert(SessionKey(hash(&token)), session);
        Ok(Secret::new(token))
    }

    /// The session of a token. A request of a person is a use of it; a page that updates itself is none.
    pub(super) fn open(&self, token: &str, now: Timestamp, is_use: bool) -> Option<Open> {
        let key = SessionKey(hash(token));
        let mut sessions = self.lock();
        let session = sessions.get_mut(&key)?;
        if session.is_over(now) {
            sessions.remove(&key);
            return None;
        }
        if is_use {
            session.used = now;
        }
        Some(Open {
            key,
            credential: session.credential.clone(),
            csrf: session.csrf.clone(),
            live: Arc::clone(&session.live),
        })
    }

    pub(super) fn end(&self, key: SessionKey) {
        self.lock().remove(&key);
    }

    /// Leaves notices for the page at `path`; what was there for another page and was never shown goes.
    pub(super) fn leave(&self, key: SessionKey, path: &str, notices: Vec<Notice>) {
        if let Some(session) = self.lock().get_mut(&key) {
            session.slot = Some((path.to_owned(), notices));
        }
    }

    /// What was left for this page, once.
    pub(super) fn take(&self, key: SessionKey, path: &str) -> Vec<Notice> {
        let mut sessions = self.lock();
        let Some(session) = sessions.get_mut(&key) else { return Vec::new() };
        session.slot.take_if(|(wanted, _)| wanted == path).map(|(_, notices)| notices).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the least used of these sessions if there are as many as there may be.
fn make_room(
    sessions: &mut HashMap<SessionKey, Session>,
    at_most: usize,
    is_one: impl Fn(&Credential) -> bool,
) {
    let these: Vec<(Timestamp, SessionKey)> = sessions
        .iter()
        .filter(|(_, session)| is_one(&session.credential))
        .map(|(key, session)| (session.used, *key))
        .collect();
    if these.len() >= at_most
        && let Some((_, oldest)) = these.iter().min_by_key(|(used, _)| *used)
    {
        sessions.remove(oldest);
    }
}

/// Whether both are portal links of one tenant.
fn same_tenant_links(one: &Credential, other: &Credential) -> bool {
    match (one, other) {
        (Credential::Portal(one), Credential::Portal(other)) => one.tenant() == other.tenant(),
        _ => false,
    }
}

/// An operator is one owner, in whichever tenant; a person is one, with whichever token.
fn same_owner(one: &Credential, other: &Credential) -> bool {
    match (one, other) {
        (Credential::Operator(one, _), Credential::Operator(other, _)) => one == other,
        (Credential::Person(one), Credential::Person(other)) => one.is(other),
        _ => one == other,
    }
}

/// Whether a form carries the token of its session.
pub(super) fn is_of(csrf: &Secret<String>, given: &str) -> bool {
    verify_slices_are_equal(csrf.reveal().as_bytes(), given.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use sealpost_core::id::{TenantNo, WebhookId};

    use super::*;
    use crate::app::portal::Grant;
    use crate::clock::ManualClock;

    fn clock() -> ManualClock {
        ManualClock::at(Timestamp::from_millis(0))
    }

    fn who(no: u8) -> Credential {
        Credential::Client(sealpost_core::id::ClientId::from_bytes([no; 16]))
    }

    #[test]
    fn a_session_ends_unused_after_half_an_hour_and_used_after_twelve_hours() {
        let (sessions, clock) = (Sessions::default(), clock());
        let token = sessions.begin(who(1), &clock).unwrap();
        let opens = |is_use| sessions.open(token.reveal(), clock.now(), is_use).is_some();
        for _ in 0..24 {
            clock.advance(IDLE - Duration::from_millis(1));
            assert!(opens(true));
        }
        assert!(clock.now().since(Timestamp::from_millis(0)) < LONGEST);
        clock.advance(Duration::from_millis(24));
        assert!(!opens(true), "used all the time, and over all the same");

        let token = sessions.begin(who(1), &clock).unwrap();
        let opens = |is_use| sessions.open(token.reveal(), clock.now(), is_use).is_some();
        clock.advance(IDLE / 2);
        assert!(opens(false), "a page that updates itself");
        clock.advance(IDLE / 2);
        assert!(!opens(false), "is not a use");
    }

    #[test]
    fn what_is_left_for_a_page_is_taken_by_it_and_once() {
        let (sessions, clock) = (Sessions::default(), clock());
        let token = sessions.begin(who(1), &clock).unwrap();
        let key = sessions.open(token.reveal(), clock.now(), true).unwrap().key;
        let notices = vec![Notice::Done("Saved".into())];
        sessions.leave(key, "/console/a", notices.clone());
        assert_eq!(sessions.take(key, "/console/b"), []);
        assert_eq!(sessions.take(key, "/console/a"), notices);
        assert_eq!(sessions.take(key, "/console/a"), []);
    }

    #[test]
    fn one_credential_leaves_room_for_the_others() {
        let (sessions, clock) = (Sessions::default(), clock());
        let opens = |token: &Secret<String>| sessions.open(token.reveal(), clock.now(), true).is_some();
        let other = sessions.begin(who(2), &clock).unwrap();
        let first = sessions.begin(who(1), &clock).unwrap();
        for _ in 0..OF_ONE_CREDENTIAL {
            clock.advance(Duration::from_millis(1));
            sessions.begin(who(1), &clock).unwrap();
        }
        assert!(!opens(&first) && opens(&other));
        assert_eq!(sessions.lock().len(), OF_ONE_CREDENTIAL + 1);
    }

    #[test]
    fn links_of_one_tenant_leave_room_for_everybody_else() {
        let (sessions, clock) = (Sessions::default(), clock());
        let link = |tenant: i64, no: usize| {
            let webhook = WebhookId::from_bytes((no as u128).to_be_bytes());
            Credential::Portal(Arc::new(Grant::to(TenantNo(tenant), webhook)))
        };
        let opens = |token: &Secret<String>| sessions.open(token.reveal(), clock.now(), true).is_some();
        let key = sessions.begin(who(1), &clock).unwrap();
        let other = sessions.begin(link(2, 0), &clock).unwrap();
        let first = sessions.begin(link(1, 0), &clock).unwrap();
        for no in 1..=BY_LINKS_OF_ONE_TENANT {
            clock.advance(Duration::from_millis(1));
            sessions.begin(link(1, no), &clock).unwrap();
        }
        assert!(!opens(&first) && opens(&other) && opens(&key));
        assert_eq!(sessions.lock().len(), BY_LINKS_OF_ONE_TENANT + 2);
    }

    #[test]
    fn there_are_only_so_many_and_those_that_are_over_do_not_count() {
        let (sessions, clock) = (Sessions::default(), clock());
        for no in 0..SESSIONS {
            let id = sealpost_core::id::ClientId::from_bytes((no as u128).to_be_bytes());
            sessions.begin(Credential::Client(id), &clock).unwrap();
        }
        assert_eq!(sessions.begin(Credential::Bootstrap, &clock).map(|_| ()), Err(Full));
        clock.advance(IDLE);
        assert!(sessions.begin(Credential::Bootstrap, &clock).is_ok());
        assert_eq!(sessions.lock().len(), 1);
    }

    #[test]
    fn a_form_is_of_its_session_only_with_the_whole_token() {
        let csrf = Secret::new("abc".to_owned());
        assert!(is_of(&csrf, "abc"));
        for other in ["", "ab", "abcd", "abd"] {
            assert!(!is_of(&csrf, other), "{other}");
        }
    }
}
