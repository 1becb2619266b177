//! Bookmarks: a key below `/cse-sr/bookmarks/` is put, so that the watch of `/cse-sr/` reaches a revision that is new, and
//! deleted again. Callers that come while one is being written share the next one: its revision is newer than their
//! question, that of the one under way may not be.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::{Shared, submit};
use super::failure::closed;
use crate::store::port::{Key, Op, Revision, StoreError, Txn};

/// Callers that wait for the next bookmark.
const CALLERS: usize = 4_096;
/// Bookmarks that could not be deleted and are tried again with the next one.
const LEFT_OVER: usize = 32;

type Caller = oneshot::Sender<Result<Revision, StoreError>>;

/// Where bookmarks are asked for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bookmarks(mpsc::Sender<Caller>);

impl Bookmarks {
    /// Starts the task that writes them on the current runtime.
    pub fn start(shared: Shared) -> Self {
        let (callers, waiting) = mpsc::channel(CALLERS);
        tokio::spawn(serve(shared, waiting));
        Self(callers)
    }

    /// A revision that the watch of `/cse-sr/` reaches, at least that of every write answered before.
    pub async fn next(self) -> Result<Revision, StoreError> {
        let (caller, answer) = oneshot::channel();
        self.0.send(caller).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn serve(shared: Shared, mut waiting: mpsc::Receiver<Caller>) {
    let mut callers = Vec::new();
    let mut left_over: Vec<Key> = Vec::new();
    loop {
        if waiting.recv_many(&mut callers, CALLERS).await == 0 {
            return;
        }
        let key: Key = format!("/cse-sr/bookmarks/{:032x}", rand::random::<u128>()).into();
        let put = Op::Put { key: key.clone(), value: Bytes::new(), lease: None };
        let deletions = left_over.iter().cloned().map(Op::Delete);
        let ops = std::iter::once(put).chain(deletions).collect();
        let written = one(&shared, ops).await;
        // If it is not known whether the key was put, it may be there.
        if !matches!(written, Err(StoreError::Aborted { .. })) {
            if written.is_ok() {
                left_over.clear();
            }
            if left_over.len() < LEFT_OVER {
                left_over.push(key);
            }
        }
        for caller in callers.drain(..) {
            drop(caller.send(written.clone()));
        }
        // The next bookmark deletes this one as well; nobody waits for one, so it is done now.
        if waiting.is_empty() && written.is_ok() {
            let deletions = left_over.iter().cloned().map(Op::Delete).collect();
            if one(&shared, deletions).await.is_ok() {
                left_over.clear();
            }
        }
    }
}

async fn one(shared: &Shared, then: Vec<Op>) -> Result<Revision, StoreError> {
    let txn = Txn { then, ..Txn::default() };
    match submit(shared.clone(), vec![txn]).await.pop() {
        Some(outcome) => outcome.map(|outcome| outcome.revision),
        None => Err(closed()),
    }
}
