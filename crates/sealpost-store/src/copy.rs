//! Moving an installation from the embedded store to PostgreSQL.
//!
//! Promises. Either all of it is there or nothing: everything is written in one transaction of the database. At no moment
//! may both be used: the source is marked before anything is written, and whoever opens it is refused from then on; the
//! mark goes only if the database certainly stored nothing. A copy that was cut off is finished by running it again.
//!
//! Both backends keep the same rows for the same things, so this copies tables; where they differ, `tables` says how.

mod tables;

use sealpost_core::tenant::Retention;
use tokio::sync::mpsc;

use crate::error::StoreError;
use crate::postgres::arrive::{Arriving, Found};
use crate::sqlite::leave::{Leaving, Mark};
use crate::{postgres, rows, sqlite};
pub(crate) use tables::{Cells, TABLES, Table};

/// Rows on the way at once.
const CHUNKS: usize = 4;

/// What was moved, table by table, in the order of [`TABLES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    pub rows: Vec<(&'static str, u64)>,
    /// Deliveries that the nodes will send.
    pub pending: u64,
    /// A copy that was cut off had stored everything already.
    pub was_there: bool,
}

/// Moves everything from a database file that no process has open to a schema that is empty. Both are under the same
/// master key, which is read from the file that either names.
pub async fn copy(from: sqlite::OpenOptions, to: postgres::OpenOptions) -> Result<CopyReport, StoreError> {
    let leaving = blocking(move || Leaving::begin(&from)).await?;
    let arriving = Arriving::begin(&to, leaving.master_check()).await?;
    if leaving.was_bound_for().is_some_and(|target| target != arriving.target()) {
        let why = "an earlier copy to another database was cut off, and may be there: run that one again";
        return Err(StoreError::Refused(why.into()));
    }
    match arriving.found() {
        Found::Nothing => {}
        Found::Copy(id) if leaving.was_bound_for().is_some() && *id == leaving.id() => {
            let (rows, pending) = (arriving.counts().await?, arriving.pending().await?);
            blocking(move || leaving.mark(Mark::Moved)).await?;
            return Ok(CopyReport { rows, pending, was_there: true });
        }
        Found::Copy(_) | Found::Another => {
            let why =
                "there is an installation in the target already; name a database or schema that is empty";
            return Err(StoreError::Refused(why.into()));
        }
    }
    // From here on nobody opens the source. Whatever an earlier copy wrote is undone: its transaction had this lock.
    let bound_for = Mark::Moving(arriving.target().to_owned());
    let leaving = blocking(move || leaving.mark(bound_for)).await?;
    let (leaving, written) = write(leaving, &arriving).await?;
    let report = match written {
        Ok(report) => report,
        Err(error) => {
            // Without a COMMIT nothing is there, and the source may be used again.
            drop(arriving);
            blocking(move || leaving.mark(Mark::Here)).await?;
            return Err(error);
        }
    };
    // Without an answer nobody knows; the mark stays, and the next run finds out.
    arriving.commit().await?;
    blocking(move || leaving.mark(Mark::Moved)).await?;
    Ok(report)
}

async fn write(
    leaving: Leaving,
    arriving: &Arriving,
) -> Result<(Leaving, Result<CopyReport, StoreError>), StoreError> {
    let (sender, receiver) = mpsc::channel::<(usize, Vec<Cells>)>(CHUNKS);
    let reading = tokio::task::spawn_blocking(move || {
        let read = leaving.read_all(|table, rows| sender.blocking_send((table, rows)).is_ok());
        (leaving, read)
    });
    let written = arriving.write_all(receiver).await;
    let (leaving, read) = reading.await.map_err(|_| StoreError::Closed)?;
    let report = async {
        // What could not be written first: the reader only sees that nobody takes its rows.
        let written = written?;
        let read = read?;
        let rows = arriving.counts().await?;
        for (((name, there), here), sent) in rows.iter().zip(&read.counts).zip(&written) {
            if there != here || there != sent {
                let why = format!("{here} rows of {name} were read, {sent} sent and {there} arrived");
                return Err(StoreError::Backend(why));
            }
        }
        arriving.settle(leaving.id(), &read.last_numbers).await?;
        Ok(CopyReport { rows, pending: arriving.pending().await?, was_there: false })
    };
    let report = report.await;
    Ok((leaving, report))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?
}

/// How soon a payload of a tenant may have to be looked at, in ms: the embedded store does not keep that.
pub(crate) fn look_after(retention: &str) -> Result<i64, StoreError> {
    let kept: Retention = rows::from_json(retention, "retention")?;
    let shortest = kept.payload_after_delivered.min(kept.payload_after_failed);
    Ok(i64::try_from(shortest.as_millis()).unwrap_or(i64::MAX))
}
