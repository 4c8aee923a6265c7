//! The database as the target of a move; see [`copy`](mod@crate::copy). One transaction makes the tables, fills them, and
//! says which move it was.

use std::sync::Arc;

use bytes::BytesMut;
use rusqlite::types::Value;
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::fault::Fault;
use super::numbers::BLOCK;
use super::pool::{Columns as _, Conn, Pool};
use super::upkeep::make_partitions_of;
use super::{OpenOptions, rewrap, schema};
use crate::copy::{Cells, TABLES, Table};
use crate::error::StoreError;
use crate::sqlite::leave::LastNumbers;
use crate::vault::MasterKey;

/// In `meta`: the move that filled the tables.
const NAME: &str = "copied_from";
/// Numbers that the database gives from now on.
const IDENTITIES: [(&str, &str); 6] = [
    ("tenant", "no"),
    ("webhook", "no"),
    ("type_name", "no"),
    ("replay_job", "no"),
    ("analytic_call", "seq"),
    ("audit", "seq"),
];

/// What is in the target.
pub(crate) enum Found {
    Nothing,
    /// What this move brought.
    Copy([u8; 16]),
    Another,
}

/// Dropped without a commit, it leaves nothing.
pub(crate) struct Arriving {
    conn: Conn,
    _pool: Arc<Pool>,
    found: Found,
    target: String,
    check: [u8; 32],
}

impl Arriving {
    pub(crate) async fn begin(options: &OpenOptions, check: [u8; 32]) -> Result<Self, StoreError> {
        let path = options.master_key_file().to_owned();
        let key = tokio::task::spawn_blocking(move || MasterKey::read_file(&path)).await;
        if key.map_err(|_| StoreError::Closed)??.check_value() != check {
            return Err(rewrap::elsewhere(options.master_key_file()));
        }
        let pool = options.pool()?;
        let conn = pool.get().await.map_err(Fault::for_caller)?;
        let (found, target) = look(&conn).await.map_err(Fault::for_caller)?;
        Ok(Self { conn, _pool: pool, found, target, check })
    }

    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// Names the place, without the way there.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Rows sent, table by table.
    pub(crate) async fn write_all(
        &self,
        mut receiver: mpsc::Receiver<(usize, Vec<Cells>)>,
    ) -> Result<Vec<u64>, StoreError> {
        self.make().await.map_err(Fault::for_caller)?;
        let mut sent = vec![0; TABLES.len()];
        while let Some((at, rows)) = receiver.recv().await {
            let Some((table, count)) = TABLES.get(at).zip(sent.get_mut(at)) else { continue };
            *count += rows.len() as u64;
            put(&self.conn, table, rows).await.map_err(Fault::for_caller)?;
        }
        Ok(sent)
    }

    async fn make(&self) -> Result<(), Fault> {
        schema::make_all(&self.conn).await?;
        schema::set_master_check(&self.conn, &self.check).await
    }

    pub(crate) async fn counts(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut counts = Vec::with_capacity(TABLES.len());
        for table in &TABLES {
            let sql = format!("SELECT count(*) FROM {}", table.name);
            counts.push((table.name, self.number(&sql).await?.unsigned_abs()));
        }
        Ok(counts)
    }

    pub(crate) async fn pending(&self) -> Result<u64, StoreError> {
        Ok(self.number("SELECT count(*) FROM delivery WHERE state = 0").await?.unsigned_abs())
    }

    async fn number(&self, sql: &str) -> Result<i64, StoreError> {
        let asked = async {
            let client = self.conn.client()?;
            client.query_one(sql, &[]).await?.col::<i64>(0)
        };
        asked.await.map_err(Fault::for_caller)
    }

    /// What the nodes go on from: numbers that were never given, and statistics for the first plans.
    pub(crate) async fn settle(&self, id: [u8; 16], last: &LastNumbers) -> Result<(), StoreError> {
        let done = async {
            for (table, column) in IDENTITIES {
                let least = match table {
                    "webhook" => last.webhook,
                    "replay_job" => last.replay_job,
                    _ => 0,
                };
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),
                                   greatest((SELECT max({column}) FROM {table}), $1::bigint, 0) + 1, false)"
                );
                self.conn.rows(&sql, &[&least]).await?;
            }
            for (sequence, last) in [("event_block", last.event), ("delivery_block", last.delivery)] {
                // The block behind the one in which the last number lies.
                let sql = format!("SELECT setval('{sequence}', $1, false)");
                self.conn.rows(&sql, &[&(last / BLOCK + 1)]).await?;
            }
            let put = "INSERT INTO meta (name, bytes) VALUES ($1, $2)";
            self.conn.run(put, &[&NAME, &id.as_slice()]).await?;
            for table in &TABLES {
                self.conn.client()?.batch_execute(&format!("ANALYZE {}", table.name)).await?;
            }
            Ok(())
        };
        done.await.map_err(Fault::for_caller)
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let Self { conn, .. } = self;
        let done = async { Ok(conn.client()?.batch_execute("COMMIT").await?) };
        done.await.map_err(|fault: Fault| {
            let why = fault.for_caller();
            StoreError::Unreachable(format!(
                "the end of the copy was not confirmed ({why}); run it again, which finds out and finishes it"
            ))
        })
    }
}

/// Begins the transaction, and waits for whoever makes tables at the moment.
async fn look(conn: &Conn) -> Result<(Found, String), Fault> {
    // Rows arrive as fast as they are read, which takes its time.
    conn.batch("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
    conn.begin().await?;
    schema::lock(conn).await?;
    let place = "SELECT format('database %s (%s), schema %s', current_database(), oid, current_schema())
                 FROM pg_database WHERE datname = current_database()";
    let target: String = conn.one(place, &[]).await?.col(0)?;
    if schema::version(conn).await? == 0 {
        return Ok((Found::Nothing, target));
    }
    let found = conn.optional("SELECT bytes FROM meta WHERE name = $1", &[&NAME]).await?;
    let found = found.map(|row| row.bytes(0)).transpose()?;
    Ok((found.map_or(Found::Another, Found::Copy), target))
}

async fn put(conn: &Conn, table: &Table, rows: Vec<Cells>) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    if table.name == "attempt" {
        let started = rows.iter().filter_map(|row| match row.get(2) {
            Some(Value::Integer(ms)) => Some(*ms),
            _ => None,
        });
        make_partitions_of(conn, started).await?;
    }
    let types = column_types(conn, table).await?;
    let sql = format!("COPY {} ({}) FROM STDIN BINARY", table.name, table.columns);
    let sink = conn.client()?.copy_in(&sql).await?;
    let writer = BinaryCopyInWriter::new(sink, &types);
    let mut writer = std::pin::pin!(writer);
    for row in rows {
        let cells: Vec<Cell> = row.into_iter().map(Cell).collect();
        writer.as_mut().write_raw(cells.iter().map(|cell| cell as &(dyn ToSql + Sync))).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn column_types(conn: &Conn, table: &Table) -> Result<Vec<Type>, Fault> {
    let statement = conn.client()?.prepare(&format!("SELECT {} FROM {}", table.columns, table.name)).await?;
    Ok(statement.columns().iter().map(|column| column.type_().clone()).collect())
}

/// A value as the embedded store has it, written as what its column is here.
#[derive(Debug)]
struct Cell(Value);

impl ToSql for Cell {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (&self.0, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT8) => number.to_sql(ty, out),
            (Value::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(ty, out),
            (Value::Integer(number), &Type::INT2) => i16::try_from(*number)?.to_sql(ty, out),
            (Value::Integer(number), &Type::BOOL) => (*number != 0).to_sql(ty, out),
            (Value::Text(text), &Type::TEXT) => text.to_sql(ty, out),
            (Value::Blob(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            _ => Err(format!("a value of the store cannot be a {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
