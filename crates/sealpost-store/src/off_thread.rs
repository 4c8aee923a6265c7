//! Work that is too long for a thread of the runtime.

use crate::error::StoreError;

/// Sealing and opening large payloads takes milliseconds, which the threads of the runtime do not have.
const OFF_THREAD_BYTES: usize = 128 * 1024;

pub(crate) async fn off_thread<T, F>(bytes: usize, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if bytes < OFF_THREAD_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Backend("sealing was interrupted".into()))
}
