//! Analytic events: recorded calls, and what the rows of events, deliveries and attempts tell, merged into one list; see
//! [`crate::told`].

mod keyed;
mod shown;
mod source;

use std::sync::Arc;

use rusqlite::Connection;

use sealpost_core::analytics::AnalyticFilter;
use sealpost_core::id::{AnalyticId, TenantNo};

use crate::history::AnalyticRecord;
use crate::page::{Page, PageRequest};
use crate::sqlite::writer::WriteError;
use crate::told::Wanted;
use crate::vault::TenantHasher;
use source::Source;

pub(super) struct Search {
    wanted: Wanted,
    sources: Vec<Source>,
}

impl Search {
    pub(super) fn begin(
        conn: &Connection,
        tenant: TenantNo,
        hasher: Arc<TenantHasher>,
        filter: AnalyticFilter,
        page: PageRequest<AnalyticId>,
    ) -> Result<Self, WriteError> {
        let mut wanted = Wanted::new(tenant, hasher, filter, &page);
        let sources = match wanted.requests() {
            // Request ids name rows: there is nothing to look through.
            Some(requests) => {
                for request in requests {
                    keyed::look_up(conn, &mut wanted, request)?;
                }
                Vec::new()
            }
            None => source::all(conn, &wanted)?,
        };
        Self { wanted, sources }.go_on(conn)
    }

    pub(super) fn is_done(&self) -> bool {
        self.next().is_none()
    }

    fn next(&self) -> Option<usize> {
        self.wanted.next(self.sources.iter().map(Source::bound))
    }

    /// One step, in a transaction of its own.
    pub(super) fn go_on(mut self, conn: &Connection) -> Result<Self, WriteError> {
        if let Some(index) = self.next()
            && let Some(source) = self.sources.get_mut(index)
        {
            source.go_on(conn, &mut self.wanted)?;
        }
        Ok(self)
    }

    pub(super) fn into_page(self, conn: &Connection) -> Result<Page<AnalyticRecord>, WriteError> {
        let (found, more) = self.wanted.newest.into_sorted();
        let mut rows = Vec::with_capacity(found.len());
        for found in found {
            // Retention may have taken it meanwhile.
            rows.extend(shown::record(conn, found)?);
        }
        Ok(Page { rows, more })
    }
}
