//! Pages that update themselves: the page's own address, asked for as an event stream, sends the page again whenever it
//! has changed.
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
    shown: String,
    every: Duration,
    greeted: bool,
    until: Instant,
    _places: [OwnedSemaphorePermit; 2],
}

pub(super) async fn stream(visit: Visit, page: &'static Page, head: &Parts) -> Response {
    let Some((shown, every)) = look(&visit, page).await.ok().flatten() else {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    };
    let Ok(session) = visit.session() else { return StatusCode::UNAUTHORIZED.into_response() };
    let place = Arc::clone(&session.live).try_acquire_owned();
    let place_of_all = Arc::clone(&visit.state.live).try_acquire_owned();
    let token = cookie::token(&head.headers, visit.way.secure);
    let (Ok(place), Ok(place_of_all), Some(token)) = (place, place_of_all, token) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, HeaderValue::from_static("60"))])
            .into_response();
    };
    let token = token.to_owned();
    let stream = Stream {
        visit,
        page,
        token,
        shown,
        every,
        greeted: false,
        until: Instant::now() + LONGEST,
        _places: [place, place_of_all],
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
        if !self.greeted {
            self.greeted = true;
            return Some(event("hello", ""));
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
