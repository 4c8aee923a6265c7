//! Recorded calls: written many at once, and dropped when their time is over.

use sealpost_core::analytics::call_code;
use sealpost_core::time::Timestamp;

use crate::postgres::fault::Fault;
use crate::postgres::pool::Conn;
use crate::rows::to_json;
use crate::upkeep::RecordedCall;

const FORGOTTEN_AT_ONCE: i64 = 1000;

/// A call that is there already stays: whoever does not know whether a write came through may repeat it.
pub(super) async fn insert(conn: &Conn, calls: &[RecordedCall]) -> Result<(), Fault> {
    let tenants: Vec<i64> = calls.iter().map(|call| call.tenant.0).collect();
    let times: Vec<i64> = calls.iter().map(|call| call.at.millis()).collect();
    let ids: Vec<&[u8]> = calls.iter().map(|call| call.id.bytes().as_slice()).collect();
    let kinds: Vec<i16> = calls.iter().map(|call| call_code(call.operation, call.phase).into()).collect();
    let requests: Vec<Vec<u8>> = calls.iter().map(|call| call.request.bytes().to_vec()).collect();
    let clients: Vec<Option<&[u8]>> =
        calls.iter().map(|call| call.client.as_ref().map(|client| client.bytes().as_slice())).collect();
    let data = calls.iter().map(|call| call.data.as_ref().map(to_json).transpose());
    let data = data.collect::<Result<Vec<Option<String>>, _>>()?;
    let sql = "INSERT INTO analytic_call (tenant, at, id, kind, request, client, data)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::smallint[], $5::bytea[], $6::bytea[],
                                    $7::text[])
               ON CONFLICT DO NOTHING";
    conn.run(sql, &[&tenants, &times, &ids, &kinds, &requests, &clients, &data]).await.map(drop)
}

pub(super) async fn forget(conn: &Conn, before: Timestamp) -> Result<u64, Fault> {
    let sql = "DELETE FROM analytic_call WHERE seq IN
               (SELECT seq FROM analytic_call WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    conn.run(sql, &[&before.millis(), &FORGOTTEN_AT_ONCE]).await
}
