//! The embedded store as the source of a move to another one; see [`copy`](mod@crate::copy). The mark of a move lies in
//! the file itself, so that it goes wherever the file goes.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::copy::{Cells, TABLES, look_after};
use crate::error::StoreError;
use crate::sqlite::open::{self, FolderLock, OpenOptions};
use crate::sqlite::schema;
use crate::sqlite::writer::{WriteError, folder_of};
use crate::vault::random;

/// In `meta`: how far it is, which move it is, where to.
const NAME: &str = "moved";
const MOVING: u8 = 1;
const MOVED: u8 = 2;
const ID_BYTES: usize = 16;
const ROWS: usize = 500;

/// Where an installation is.
pub(crate) enum Mark {
    /// In this file, and nowhere else.
    Here,
    /// Here, or in this place: it was about to be moved.
    Moving(String),
    Moved,
}

/// What was read.
pub(crate) struct Read {
    /// Of each table.
    pub(crate) counts: Vec<u64>,
    /// The last numbers that were ever given out, also to what is gone since.
    pub(crate) last_numbers: LastNumbers,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastNumbers {
    pub(crate) event: i64,
    pub(crate) delivery: i64,
    pub(crate) webhook: i64,
    pub(crate) replay_job: i64,
}

/// Nobody else has the file open, and whoever opened it before has ended.
pub(crate) struct Leaving {
    conn: Connection,
    check: [u8; 32],
    id: [u8; ID_BYTES],
    was_bound_for: Option<String>,
    _lock: FolderLock,
}

impl Leaving {
    pub(crate) fn begin(options: &OpenOptions) -> Result<Self, StoreError> {
        if !options.path.is_file() {
            return Err(StoreError::Refused(format!("there is no store at {}", options.path.display())));
        }
        let lock = FolderLock::take(folder_of(&options.path))?;
        Self::locked(options, lock).map_err(WriteError::for_caller)
    }

    fn locked(options: &OpenOptions, lock: FolderLock) -> Result<Self, WriteError> {
        let (conn, vault, _) = open::open_locked(options)?;
        let (id, was_bound_for) = match found(&conn)? {
            None => (random(), None),
            Some((MOVING, id, target)) => (id, Some(target)),
            Some(_) => return Err(moved().into()),
        };
        let open_jobs = "SELECT count(*) FROM replay_job WHERE done = 0";
        let jobs: i64 = conn.query_row(open_jobs, [], |row| row.get(0))?;
        if jobs > 0 {
            let why = "a bulk redelivery is under way: start the server once and let it finish that";
            return Err(StoreError::Refused(why.into()).into());
        }
        Ok(Self { conn, check: vault.check_value(), id, was_bound_for, _lock: lock })
    }

    pub(crate) fn master_check(&self) -> [u8; 32] {
        self.check
    }

    /// Of this move.
    pub(crate) fn id(&self) -> [u8; ID_BYTES] {
        self.id
    }

    /// The place that a move which was cut off was to.
    pub(crate) fn was_bound_for(&self) -> Option<&str> {
        self.was_bound_for.as_deref()
    }

    /// On stable storage when it answers.
    pub(crate) fn mark(self, mark: Mark) -> Result<Self, StoreError> {
        self.put(mark).map_err(WriteError::for_caller)?;
        Ok(self)
    }

    fn put(&self, mark: Mark) -> Result<(), WriteError> {
        let (state, target) = match mark {
            Mark::Here => {
                self.conn.execute("DELETE FROM meta WHERE name = ?1", [NAME])?;
                return Ok(());
            }
            Mark::Moving(target) => (MOVING, target),
            Mark::Moved => (MOVED, String::new()),
        };
        let value = [&[state], self.id.as_slice(), target.as_bytes()].concat();
        schema::set_meta(&self.conn, NAME, &value)?;
        Ok(())
    }

    /// Every row there is, table by table, until `give` says that nobody takes more.
    pub(crate) fn read_all(&self, give: impl FnMut(usize, Vec<Cells>) -> bool) -> Result<Read, StoreError> {
        self.read(give).map_err(WriteError::for_caller)
    }

    fn read(&self, mut give: impl FnMut(usize, Vec<Cells>) -> bool) -> Result<Read, WriteError> {
        self.note_retentions()?;
        let mut counts = Vec::with_capacity(TABLES.len());
        for (at, table) in TABLES.iter().enumerate() {
            let mut statement = self.conn.prepare(table.select)?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            let (mut count, mut chunk) = (0, Vec::with_capacity(ROWS));
            while let Some(row) = rows.next()? {
                let mut cells: Cells = (0..columns)
                    .map(|column| row.get::<_, Value>(column))
                    .collect::<rusqlite::Result<_>>()?;
                if let Some(add) = table.added {
                    add(&mut cells)?;
                }
                chunk.push(cells);
                count += 1;
                if chunk.len() == ROWS && !give(at, std::mem::take(&mut chunk)) {
                    return Err(StoreError::Closed.into());
                }
            }
            if !give(at, chunk) {
                return Err(StoreError::Closed.into());
            }
            counts.push(count);
        }
        Ok(Read { counts, last_numbers: self.last_numbers()? })
    }

    fn note_retentions(&self) -> Result<(), WriteError> {
        let make =
            "CREATE TEMP TABLE IF NOT EXISTS look (tenant INTEGER PRIMARY KEY, after INTEGER NOT NULL)";
        self.conn.execute_batch(make)?;
        let mut tenants = self.conn.prepare("SELECT no, retention FROM tenant")?;
        let mut rows = tenants.query([])?;
        while let Some(row) = rows.next()? {
            let (no, retention): (i64, String) = (row.get(0)?, row.get(1)?);
            self.conn
                .execute("INSERT OR REPLACE INTO temp.look VALUES (?1, ?2)", (no, look_after(&retention)?))?;
        }
        Ok(())
    }

    fn last_numbers(&self) -> Result<LastNumbers, WriteError> {
        let number = |sql: &str| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let given = |name| Ok::<_, WriteError>(schema::meta::<i64>(&self.conn, name)?.unwrap_or(0));
        Ok(LastNumbers {
            event: number("SELECT ifnull(max(seq), 0) FROM event")?.max(given("event_seq")?),
            delivery: number("SELECT ifnull(max(seq), 0) FROM delivery")?.max(given("delivery_seq")?),
            webhook: number("SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'webhook'")?,
            replay_job: number("SELECT ifnull(max(no), 0) FROM replay_job")?,
        })
    }
}

fn found(conn: &Connection) -> Result<Option<(u8, [u8; ID_BYTES], String)>, WriteError> {
    let Some(value) = schema::meta::<Vec<u8>>(conn, NAME)? else { return Ok(None) };
    let parts = value.split_first().and_then(|(state, rest)| {
        let (id, target) = rest.split_first_chunk()?;
        Some((*state, *id, String::from_utf8_lossy(target).into_owned()))
    });
    parts.map(Some).ok_or(crate::rows::corrupt("mark of a move").into())
}

fn moved() -> StoreError {
    StoreError::Refused(
        "this store was moved to PostgreSQL by `sealpost copy`; what is in it may have been delivered from there. Set \
         SEALPOST_STORE to that database"
            .into(),
    )
}

/// For everybody who opens the store to use it.
pub(super) fn refuse_moved(conn: &Connection) -> Result<(), WriteError> {
    match found(conn)? {
        None => Ok(()),
        Some((MOVING, _, target)) => Err(StoreError::Refused(format!(
            "a `sealpost copy` of this store to {target} was cut off, and may be there: run it again"
        ))
        .into()),
        Some(_) => Err(moved().into()),
    }
}
