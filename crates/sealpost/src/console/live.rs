//! Pages that update themselves: the page's own address, asked for as an event stream, sends the page as it is and again
//! whenever it has changed. So nothing is lost between the page and its stream.
//!
//! It is the page itself that is asked again, so a stream shows nothing that a reload would not, and stops when a reload
//! would be refused. It is no use of the session.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::cookie;
use super::page::Page;
use super::places::Place;
use super::reply::{Refused, Reply, Sheet};
use super::visit::Visit;

/// A look at whether the service stops, which waits for no page.
const GLANCE: Duration = Duration::from_millis(250);
/// After so long without a change something is sent all the same, so that a connection that is gone is noticed.
const QUIET: Duration = Duration::from_secs(15);
/// Then the browser asks again, by itself.
const LONGEST: Duration = Duration::from_secs(600);

const EVENTS: &str = "text/event-stream";

/// Whether this asks for a stream.
pub(super) fn wanted(head: &Parts) -> bool {
    let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == EVENTS)
}

struct Stream {
    visit: Visit,
    page: &'static Page,
    token: String,
    /// The page as it was sent last, or is to be sent first.
    shown: String,
    begun: bool,
    every: Duration,
    until: Instant,
    _places: (OwnedSemaphorePermit, Place),
}

pub(super) async fn stream(visit: Visit, page: &'static Page, head: &Parts) -> Response {
    let token = cookie::token(&head.headers, visit.way.secure).map(str::to_owned);
    let (Ok(session), Ok(tenant), Some(token)) = (visit.session(), visit.tenant(), token) else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    // Before the look, which is the work that the places bound.
    let places = (Arc::clone(&session.live).try_acquire_owned(), visit.state.live.take(tenant));
    let (Ok(of_session), Some(of_tenant)) = places else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, HeaderValue::from_static("60"))])
            .into_response();
    };
    let (shown, every) = match look(&visit, page).await {
        Ok(Some(looked)) => looked,
        Ok(None) => return StatusCode::NOT_ACCEPTABLE.into_response(),
        Err(refused) => return refused.status().into_response(),
    };
    let stream = Stream {
        visit,
        page,
        token,
        shown,
        begun: false,
        every,
        until: Instant::now() + LONGEST,
        _places: (of_session, of_tenant),
    };
    let body = futures_util::stream::unfold(stream, |mut stream| async move {
        let sent = stream.next().await?;
        Some((Ok::<_, Infallible>(sent), stream))
    });
    ([(CONTENT_TYPE, HeaderValue::from_static(EVENTS))], Body::from_stream(body)).into_response()
}

/// The page as it is now; `None` if it does not update itself.
async fn look(visit: &Visit, page: &'static Page) -> Result<Option<(String, Duration)>, Refused> {
    match (page.handler)(visit.clone()).await? {
        Reply::Sheet(Sheet { live: Some(every), main, .. }) => Ok(Some((main.into_string(), every))),
        _ => Ok(None),
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(event("page", &self.shown));
        }
        let quiet_until = Instant::now() + QUIET;
        while Instant::now() < self.until {
            self.wait().await?;
            let main = self.again().await?;
            if main != self.shown {
                let sent = event("page", &main);
                self.shown = main;
                return Some(sent);
            }
            if Instant::now() >= quiet_until {
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
        None
    }

    /// `None`: the service stops.
    async fn wait(&self) -> Option<()> {
        let until = Instant::now() + self.every;
        while Instant::now() < until {
            tokio::time::sleep(GLANCE).await;
            if !self.visit.state.ready.load(Ordering::Relaxed) {
                return None;
            }
        }
        Some(())
    }

    /// Asks for the page as a reload would. `None`: it would be refused.
    async fn again(&mut self) -> Option<String> {
        let state = &self.visit.state;
        let session = state.sessions.open(&self.token, state.app.clock.now(), false)?;
        let visitor = state.app.visitor(&session.credential).await.ok()??;
        self.page.needs.judge(Some(&visitor)).ok()?;
        self.visit.visitor = Some(visitor);
        look(&self.visit, self.page).await.ok()?.map(|(main, _)| main)
    }
}

/// A line end within the page would end its line of the stream.
fn event(name: &str, text: &str) -> Bytes {
    let mut event = format!("event: {name}\n");
    for line in text.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_page_becomes_a_line_of_the_stream() {
        let text = "a\nevent: other\r\ndata: b\rid: 7";
        let written = String::from_utf8(event("page", text).to_vec()).unwrap();
        assert_eq!(
            written,
            "event: page\ndata: a\ndata: event: other\ndata: \ndata: data: b\ndata: id: 7\n\n"
        );
    }
}
