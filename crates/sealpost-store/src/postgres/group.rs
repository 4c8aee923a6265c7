//! Work that shares a transaction: who comes while one is under way waits together for the next, and pays for it
//! together. One lane handles its work in order.
//!
//! Nobody is answered before the commit. What fails in a group is done again one by one, so that only those fail that
//! cannot succeed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::fault::Fault;
use super::pool::Tries;
use crate::error::StoreError;

/// Members and rows of one transaction: few enough to be far below the limit of a statement.
const MEMBERS: usize = 512;
const ROWS: usize = 4_000;
const BYTES: usize = 16 * 1024 * 1024;
/// Behind that nobody else may wait.
const WAITING: usize = 4_096;
const PLACE_LIMIT: Duration = Duration::from_secs(5);

pub(super) trait Work: Sized + Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Rows and bytes.
    fn size(&self) -> (usize, usize);

    /// All of the group in one transaction. `None` for members that have to see first what others of the group store.
    fn store(
        shared: &Arc<Shared>,
        group: &[&Self],
    ) -> impl Future<Output = Result<Vec<Option<Self::Answer>>, Fault>> + Send;

    /// It is stored, and nobody waits for the answer any more.
    fn unheard(&self, shared: &Arc<Shared>, answer: Self::Answer) -> impl Future<Output = ()> + Send;
}

type Reply<W> = oneshot::Sender<Result<<W as Work>::Answer, StoreError>>;

struct Member<W: Work> {
    work: W,
    reply: Reply<W>,
}

pub(super) struct Lane<W: Work> {
    sender: mpsc::Sender<Member<W>>,
}

impl<W: Work> Lane<W> {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(serve(Arc::clone(shared), receiver));
        Self { sender }
    }

    pub(super) async fn run(&self, work: W) -> Result<W::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.sender.send_timeout(Member { work, reply }, PLACE_LIMIT).await;
        sent.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

async fn serve<W: Work>(shared: Arc<Shared>, mut receiver: mpsc::Receiver<Member<W>>) {
    // Those that wait for what others of their group stored.
    let mut put_off: Vec<Member<W>> = Vec::new();
    loop {
        let mut group = std::mem::take(&mut put_off);
        if group.is_empty() {
            let Some(first) = receiver.recv().await else { return };
            group.push(first);
        }
        let (mut rows, mut bytes) = (0, 0);
        for member in &group {
            let size = member.work.size();
            rows += size.0;
            bytes += size.1;
        }
        while group.len() < MEMBERS && rows < ROWS && bytes < BYTES {
            let Ok(member) = receiver.try_recv() else { break };
            let size = member.work.size();
            rows += size.0;
            bytes += size.1;
            group.push(member);
        }
        put_off = settle_group(&shared, group).await;
    }
}

/// Answers them, except those that are put off.
async fn settle_group<W: Work>(shared: &Arc<Shared>, group: Vec<Member<W>>) -> Vec<Member<W>> {
    match store(shared, &group).await {
        Ok(answers) => answer_all(shared, group, answers).await,
        Err(error)
            if group.len() == 1 || matches!(error, StoreError::Closed | StoreError::Unreachable(_)) =>
        {
            let mut error = Some(error);
            for member in group {
                let told = match &error {
                    Some(StoreError::Unreachable(why)) => StoreError::Unreachable(why.clone()),
                    Some(StoreError::Closed) => StoreError::Closed,
                    _ => error.take().unwrap_or(StoreError::Closed),
                };
                let _ = member.reply.send(Err(told));
            }
            Vec::new()
        }
        Err(error) => {
            tracing::debug!(error = %error, members = group.len(), "a group is stored again one by one");
            let mut put_off = Vec::new();
            for member in group {
                let alone = vec![member];
                match store(shared, &alone).await {
                    Ok(answers) => put_off.extend(answer_all(shared, alone, answers).await),
                    Err(error) => {
                        for member in alone.into_iter().take(1) {
                            let _ = member.reply.send(Err(match &error {
                                StoreError::Busy => StoreError::Busy,
                                StoreError::Full => StoreError::Full,
                                StoreError::Closed => StoreError::Closed,
                                other => StoreError::Backend(other.to_string()),
                            }));
                        }
                    }
                }
            }
            put_off
        }
    }
}

async fn store<W: Work>(
    shared: &Arc<Shared>,
    group: &[Member<W>],
) -> Result<Vec<Option<W::Answer>>, StoreError> {
    let works: Vec<&W> = group.iter().map(|member| &member.work).collect();
    let mut tries = Tries::begin();
    loop {
        match W::store(shared, &works).await {
            Ok(answers) => return Ok(answers),
            Err(fault) => tries.again(fault).await?,
        }
    }
}

async fn answer_all<W: Work>(
    shared: &Arc<Shared>,
    group: Vec<Member<W>>,
    answers: Vec<Option<W::Answer>>,
) -> Vec<Member<W>> {
    let mut put_off = Vec::new();
    for (member, answer) in group.into_iter().zip(answers) {
        let Some(answer) = answer else {
            put_off.push(member);
            continue;
        };
        if let Err(Ok(answer)) = member.reply.send(Ok(answer)) {
            member.work.unheard(shared, answer).await;
        }
    }
    put_off
}
