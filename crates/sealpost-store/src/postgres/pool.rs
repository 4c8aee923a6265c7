//! Connections, few and explicit, and what one does in a transaction.
//!
//! Promises. Every wait has an end: for a free connection, for a new one, for each statement, on both sides of the wire.
//! A connection that is in doubt is never used again. A COMMIT without an answer is resolved by what it would have
//! stored, on another connection, after the server has ended the first one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, Connection, Row, Socket, Statement};

use sealpost_core::id::EventId;

use super::fault::{Fault, Remedy};
use super::tls::{Stream, Tls};
use crate::error::StoreError;

/// Of one process. A database serves a few hundred connections in all; most of our work is batched.
const CONNECTIONS: usize = 8;
/// For a free connection. Longer than that, and the caller had better hear it.
const FREE_WAIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For one statement, on our side; the server's limit comes first, see [`Pool::new`].
const CALL_LIMIT: Duration = Duration::from_secs(15);
const STATEMENT_LIMIT_MS: u32 = 10_000;
const LOCK_LIMIT_MS: u32 = 5_000;
const IDLE_IN_TRANSACTION_LIMIT_MS: u32 = 15_000;
/// Every statement of ours seeks in an index. A plan is kept as long as its connection, and one that was made while a
/// table was small would read all of it when it is large.
const PLANS: &str = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";
/// A transaction is tried again for this long: a failover takes seconds.
const TRY_FOR: Duration = Duration::from_secs(12);
/// For the server to end the connection whose COMMIT got no answer.
const DOUBT_LIMIT: Duration = Duration::from_secs(12);

pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

pub(crate) struct Pool {
    config: Config,
    tls: Tls,
    idle: Mutex<Vec<Link>>,
    free: Arc<Semaphore>,
    closed: AtomicBool,
    pub(super) commits: AtomicU64,
}

struct Link {
    client: Client,
    /// Statements prepared on this connection, by their text. All texts are constants, so they are few.
    statements: Mutex<HashMap<String, Statement>>,
    /// Names the connection in the server's list of connections.
    id: String,
}

/// How a transaction shows that it is stored, should nobody be told. Its number alone is no proof: where the transaction
/// was lost with a server, another node may have got the same number, or the same fence, from the one that took over.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// Number, time, who, object.
    Audit(i64, i64, String, String),
    /// Number and id.
    Event(i64, EventId),
    /// Number of a delivery, fence, and the node that holds it.
    Claim(i64, i64, i64),
}

impl Pool {
    pub(super) fn new(mut config: Config, tls: Tls) -> Arc<Self> {
        let own = config.get_options().unwrap_or_default().to_owned();
        config
            .application_name("sealpost")
            .connect_timeout(CONNECT_LIMIT)
            .keepalives_idle(Duration::from_secs(10))
            .tcp_user_timeout(CALL_LIMIT)
            .options(format!(
                "-c statement_timeout={STATEMENT_LIMIT_MS} -c lock_timeout={LOCK_LIMIT_MS} \
                 -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_LIMIT_MS} {PLANS} {own}"
            ));
        Arc::new(Self {
            config,
            tls,
            idle: Mutex::default(),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            closed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        })
    }

    pub(crate) async fn get(self: &Arc<Self>) -> Result<Conn, Fault> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed.into());
        }
        let free = tokio::time::timeout(FREE_WAIT, Arc::clone(&self.free).acquire_owned()).await;
        let permit = free.map_err(|_| StoreError::Busy)?.map_err(|_| StoreError::Closed)?;
        loop {
            let Some(link) = lock(&self.idle).pop() else { break };
            if !link.client.is_closed() {
                return Ok(self.lend(link, permit));
            }
        }
        Ok(self.lend(self.connect().await?, permit))
    }

    fn lend(self: &Arc<Self>, link: Link, permit: OwnedSemaphorePermit) -> Conn {
        Conn {
            link: Some(link),
            pool: Arc::clone(self),
            clean: AtomicBool::new(true),
            proof: Mutex::default(),
            _permit: permit,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// One more connection, for whoever drives it.
    pub(super) async fn connect_apart(&self) -> Result<(Client, Connection<Socket, Stream>), Fault> {
        within(CONNECT_LIMIT * 2, self.config.connect(self.tls.clone())).await
    }

    /// A call on such a one.
    pub(super) async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        within(CALL_LIMIT, call).await
    }

    async fn connect(&self) -> Result<Link, Fault> {
        let (client, connection) = self.connect_apart().await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection to the database ended");
            }
        });
        let asked = "SELECT pid || ' ' || backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = within(CALL_LIMIT, client.query_one(asked, &[])).await?;
        let id = row.try_get(0)?;
        Ok(Link { client, statements: Mutex::default(), id })
    }

    /// No new work; what was begun ends by itself.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Whoever has a connection gives it back before the permits are all here.
        let all = self.free.acquire_many(CONNECTIONS as u32);
        let _ = tokio::time::timeout(CALL_LIMIT, all).await;
        lock(&self.idle).clear();
        self.free.close();
    }

    /// Whether what got no answer was stored.
    async fn resolve(self: &Arc<Self>, id: &str, proof: Proof) -> Result<bool, Fault> {
        let until = Instant::now() + DOUBT_LIMIT;
        loop {
            let found = self.look(id, &proof).await;
            match found {
                Ok(Some(stored)) => return Ok(stored),
                Err(fault) if fault.remedy() == Remedy::Tell => return Err(fault),
                _ if Instant::now() > until => {
                    let why = "the connection broke at the end of a transaction, and it could not be found out \
                               whether it is stored";
                    return Err(StoreError::Unreachable(why.into()).into());
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// `None`: the connection that was cut still works on it.
    async fn look(self: &Arc<Self>, id: &str, proof: &Proof) -> Result<Option<bool>, Fault> {
        let conn = self.get().await?;
        let busy = "SELECT 1 FROM pg_stat_activity WHERE pid || ' ' || backend_start = $1";
        if conn.optional(busy, &[&id]).await?.is_some() {
            return Ok(None);
        }
        let found = match proof {
            Proof::Audit(seq, at, who, object) => {
                let sql = "SELECT 1 FROM audit WHERE seq = $1 AND at = $2 AND who = $3 AND object = $4";
                conn.optional(sql, &[seq, at, who, object]).await?
            }
            Proof::Event(seq, id) => {
                let sql = "SELECT 1 FROM event WHERE seq = $1 AND id = $2";
                conn.optional(sql, &[seq, &id.bytes().as_slice()]).await?
            }
            // If it was taken from this node meanwhile, it holds nothing, and claims again.
            Proof::Claim(seq, fence, node) => {
                let sql = "SELECT 1 FROM delivery WHERE seq = $1 AND fence = $2 AND claimer = $3";
                conn.optional(sql, &[seq, fence, node]).await?
            }
        };
        Ok(Some(found.is_some()))
    }
}

/// A connection that is ours until it is dropped.
pub(crate) struct Conn {
    link: Option<Link>,
    pool: Arc<Pool>,
    /// Nothing is under way on it.
    clean: AtomicBool,
    proof: Mutex<Option<Proof>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Conn {
    fn drop(&mut self) {
        let link = self.link.take().filter(|link| !link.client.is_closed());
        // Whoever stopped waiting in the middle leaves a transaction open; the server ends it with the connection.
        if let Some(link) = link.filter(|_| self.clean.load(Ordering::Relaxed))
            && !self.pool.closed.load(Ordering::Relaxed)
        {
            lock(&self.pool.idle).push(link);
        }
    }
}

impl Conn {
    /// For what takes longer than a call may; whoever uses it sees to an end.
    pub(super) fn client(&self) -> Result<&Client, Fault> {
        self.clean.store(false, Ordering::Relaxed);
        Ok(&self.link()?.client)
    }

    fn link(&self) -> Result<&Link, Fault> {
        self.link.as_ref().ok_or(Fault::Store(StoreError::Closed))
    }

    /// So that what is sent together is not held up.
    pub(crate) async fn prepare(&self, sql: &str) -> Result<(), Fault> {
        self.doubtful(self.statement(sql)).await.map(drop)
    }

    async fn statement(&self, sql: &str) -> Result<Statement, Fault> {
        let link = self.link()?;
        let known = lock(&link.statements).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = within(CALL_LIMIT, link.client.prepare(sql)).await?;
        lock(&link.statements).insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// In doubt from before the first byte until the answer is here.
    async fn doubtful<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let clean = self.clean.swap(false, Ordering::Relaxed);
        let answer = work.await;
        if answer.is_ok() {
            self.clean.store(clean, Ordering::Relaxed);
        }
        answer
    }

    pub(crate) async fn rows(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        self.doubtful(async {
            let statement = self.statement(sql).await?;
            within(CALL_LIMIT, self.link()?.client.query(&statement, params)).await
        })
        .await
    }

    pub(crate) async fn optional(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    pub(crate) async fn one(&self, sql: &str, params: Params<'_>) -> Result<Row, Fault> {
        let found = self.optional(sql, params).await?;
        found.ok_or(Fault::Store(StoreError::Corrupt { what: "answer" }))
    }

    /// Rows written.
    pub(crate) async fn run(&self, sql: &str, params: Params<'_>) -> Result<u64, Fault> {
        self.doubtful(async {
            let statement = self.statement(sql).await?;
            within(CALL_LIMIT, self.link()?.client.execute(&statement, params)).await
        })
        .await
    }

    /// Statements without parameters and answers.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.doubtful(async { within(CALL_LIMIT, self.link()?.client.batch_execute(sql)).await }).await
    }

    /// One that may take as long as it likes, on both sides.
    pub(crate) async fn batch_unhurried(&self, sql: &str) -> Result<(), Fault> {
        self.batch("SET statement_timeout = 0").await?;
        let done = self.doubtful(async { Ok(self.link()?.client.batch_execute(sql).await?) }).await;
        if done.is_ok() {
            self.batch(&format!("SET statement_timeout = {STATEMENT_LIMIT_MS}")).await?;
        }
        done
    }

    pub(crate) async fn begin(&self) -> Result<(), Fault> {
        self.batch("BEGIN").await?;
        self.clean.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// What will be found if the transaction is stored.
    pub(crate) fn prove(&self, proof: Proof) {
        *lock(&self.proof) = Some(proof);
    }

    pub(crate) async fn commit(self) -> Result<(), Fault> {
        let done = self.send_commit().await;
        self.conclude(done).await
    }

    /// What is left of a transaction, and its COMMIT behind that without waiting for the answers: if the server refuses
    /// any of it, it commits nothing. The BEGIN must have been answered, and the statements be prepared.
    pub(crate) async fn commit_behind(
        self,
        rest: impl AsyncFnOnce(&Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (rest, done) = tokio::join!(biased; rest(&self), self.send_commit());
        match rest {
            Ok(()) => self.conclude(done).await,
            Err(Fault::Sql(error)) if error.code().is_some() => {
                if done.is_ok() {
                    self.settled();
                }
                Err(Fault::Sql(error))
            }
            Err(fault) => self.conclude(Err(fault)).await,
        }
    }

    async fn send_commit(&self) -> Result<(), Fault> {
        within(CALL_LIMIT, self.link()?.client.batch_execute("COMMIT")).await
    }

    /// After the answer to a COMMIT, or without one.
    async fn conclude(self, done: Result<(), Fault>) -> Result<(), Fault> {
        let Some(link) = self.link.as_ref() else { return Err(StoreError::Closed.into()) };
        match done {
            Ok(()) => {
                self.settled();
                self.pool.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(fault) => {
                let refused = matches!(&fault, Fault::Sql(error) if error.code().is_some_and(is_refusal));
                let proof = lock(&self.proof).take();
                let (id, pool) = (link.id.clone(), Arc::clone(&self.pool));
                let Some(proof) = proof.filter(|_| !refused) else { return Err(fault) };
                drop(self);
                if pool.resolve(&id, proof).await? { Ok(()) } else { Err(Fault::Again) }
            }
        }
    }

    /// A transaction that was ended by hand.
    pub(crate) fn settled(&self) {
        self.clean.store(true, Ordering::Relaxed);
    }

    /// Ends without a trace.
    pub(crate) async fn roll_back(&self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await?;
        self.clean.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The server answered the COMMIT, and it did not happen: a collision that shows at the end.
fn is_refusal(code: &tokio_postgres::error::SqlState) -> bool {
    matches!(code.code().get(..2), Some("40" | "23" | "53"))
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::TimedOut),
    }
}

/// How often something is tried, and how long between.
pub(crate) struct Tries {
    until: Instant,
    made: u32,
}

impl Tries {
    pub(crate) fn begin() -> Self {
        Self { until: Instant::now() + TRY_FOR, made: 0 }
    }

    /// Waits a little if it is worth trying again, otherwise gives what the caller is told.
    pub(crate) async fn again(&mut self, fault: Fault) -> Result<(), StoreError> {
        if fault.remedy() == Remedy::Tell || Instant::now() > self.until {
            return Err(fault.for_caller());
        }
        tracing::debug!(?fault, made = self.made, "a transaction is tried again");
        // Two that collided do not meet again at the same moment.
        let longest = 10u64 << self.made.min(6);
        let wait = longest / 2 + u64::from(crate::vault::random::<1>()[0]) * longest / 512;
        self.made += 1;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(())
    }
}

/// `$body` in a transaction on `$conn`, again as long as that helps. What it answers is stored.
macro_rules! transaction {
    ($store:expr, |$conn:ident| $body:expr) => {{
        let mut tries = $crate::postgres::pool::Tries::begin();
        loop {
            let done: Result<_, $crate::postgres::fault::Fault> = async {
                let owned = $store.pool.get().await?;
                owned.begin().await?;
                let $conn = &owned;
                let value = $body?;
                owned.commit().await?;
                Ok(value)
            }
            .await;
            match done {
                Ok(value) => break Ok(value),
                Err(fault) => {
                    if let Err(told) = tries.again(fault).await {
                        break Err(told);
                    }
                }
            }
        }
    }};
}

/// `$body` on `$conn`, writing nothing.
macro_rules! reading {
    ($store:expr, |$conn:ident| $body:expr) => {{
        let mut tries = $crate::postgres::pool::Tries::begin();
        loop {
            let done: Result<_, $crate::postgres::fault::Fault> = async {
                let owned = $store.pool.get().await?;
                let $conn = &owned;
                $body
            }
            .await;
            match done {
                Ok(value) => break Ok(value),
                Err(fault) => {
                    if let Err(told) = tries.again(fault).await {
                        break Err(told);
                    }
                }
            }
        }
    }};
}

pub(crate) use {reading, transaction};

/// Columns without panics: what does not fit is an error.
pub(crate) trait Columns {
    fn col<'a, T: FromSql<'a>>(&'a self, at: usize) -> Result<T, Fault>;
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], Fault>;
    /// A small code.
    fn code(&self, at: usize) -> Result<u8, Fault>;
}

impl Columns for Row {
    fn col<'a, T: FromSql<'a>>(&'a self, at: usize) -> Result<T, Fault> {
        Ok(self.try_get(at)?)
    }

    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], Fault> {
        let bytes: &[u8] = self.try_get(at)?;
        bytes.try_into().map_err(|_| StoreError::Corrupt { what: "length of a value" }.into())
    }

    fn code(&self, at: usize) -> Result<u8, Fault> {
        let code: i16 = self.try_get(at)?;
        u8::try_from(code).map_err(|_| StoreError::Corrupt { what: "code" }.into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
