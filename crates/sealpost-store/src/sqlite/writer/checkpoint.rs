//! When the write-ahead log is moved into the database file. The writer's thread does it, nobody else: two
//! connections that checkpoint at once have corrupted databases before.
//!
//! PASSIVE when idle or past 16 MiB, which waits for nobody. At 64 MiB readers are asked out for at most 50 ms, so
//! that the log can begin again from its start.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::{Counters, WriteError};
use crate::sqlite::reader::Gate;

const PAGE_BYTES: i64 = 4096;
const PASSIVE_FRAMES: i32 = (16 * 1024 * 1024 / PAGE_BYTES) as i32;
const RESTART_FRAMES: i32 = (64 * 1024 * 1024 / PAGE_BYTES) as i32;
const GATE_CLOSED_AT_MOST: Duration = Duration::from_millis(50);
/// For the callers that must have the log empty: an erasure, a shutdown.
const TRUNCATE_WAITS: Duration = Duration::from_secs(5);
/// A mebibyte is moved soon, a few pages when nothing happened for long.
const MUCH_FRAMES: i32 = 256;
const IDLE_MUCH: Duration = Duration::from_secs(1);
const IDLE_LITTLE: Duration = Duration::from_secs(10);

pub(super) struct Wal {
    /// Frames in the log after the last commit.
    frames: Arc<AtomicI32>,
    /// Of those, how many the last checkpoint found moved, or tried to.
    tried: i32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Due {
    Nothing,
    Passive,
    Restart,
}

fn due(frames: i32, tried: i32) -> Due {
    let fresh = frames - tried;
    if fresh < PASSIVE_FRAMES {
        Due::Nothing
    } else if frames >= RESTART_FRAMES {
        Due::Restart
    } else {
        Due::Passive
    }
}

impl Wal {
    pub(super) fn watch(conn: &mut Connection, counters: Arc<Counters>) -> rusqlite::Result<Self> {
        let frames = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&frames);
        conn.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(pages, Ordering::Relaxed);
            counters.wal_bytes.store(pages.max(0) as u64 * PAGE_BYTES as u64, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { frames, tried: 0 })
    }

    fn now(&mut self) -> i32 {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.tried {
            // The log began again.
            self.tried = 0;
        }
        frames
    }

    /// After a commit.
    pub(super) fn after_commit(&mut self, conn: &Connection, gate: &Gate) -> rusqlite::Result<()> {
        let frames = self.now();
        match due(frames, self.tried) {
            Due::Nothing => return Ok(()),
            Due::Passive => {
                checkpoint(conn, "PASSIVE")?;
            }
            Due::Restart => {
                let _closed = gate.close(GATE_CLOSED_AT_MOST);
                checkpoint(conn, "RESTART")?;
            }
        }
        self.tried = frames;
        Ok(())
    }

    /// How long nothing may come before [`idle`](Self::idle) is called; `None`: there is nothing to move.
    pub(super) fn patience(&mut self) -> Option<Duration> {
        match self.now() - self.tried {
            0 => None,
            few if few < MUCH_FRAMES => Some(IDLE_LITTLE),
            _ => Some(IDLE_MUCH),
        }
    }

    pub(super) fn idle(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let frames = self.now();
        checkpoint(conn, "PASSIVE")?;
        self.tried = frames;
        Ok(())
    }
}

/// Empties the log into the file and cuts it to nothing. `false`: a reader did not leave in time.
pub(crate) fn truncate(conn: &Connection, gate: &Gate) -> Result<bool, WriteError> {
    let closed = gate.close(TRUNCATE_WAITS);
    let done = checkpoint(conn, "TRUNCATE")?;
    Ok(closed.empty && done)
}

/// Whether it was carried out whole, as far as its mode promises.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let busy: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0))?;
    Ok(busy == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_come_every_16_mib_and_from_64_mib_on_readers_are_asked_out() {
        for (frames, tried, want) in [
            (0, 0, Due::Nothing),
            (4095, 0, Due::Nothing),
            (4096, 0, Due::Passive),
            (8000, 4096, Due::Nothing),
            (16383, 8192, Due::Passive),
            (16384, 12288, Due::Restart),
            (16385, 16384, Due::Nothing),
            (20480, 16384, Due::Restart),
        ] {
            assert_eq!(due(frames, tried), want, "{frames} {tried}");
        }
    }
}
