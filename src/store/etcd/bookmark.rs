//! Bookmarks: a key below `/cse-sr/bookmarks/` is put, so that the watch of `/cse-sr/` reaches a revision that is new, and
//! deleted again. Callers that come while one is being written share the next one: its revision is newer than their
//! question, that of the one under way may not be.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::{BatchContext, submit};
use super::failure::closed;
use crate::store::port::{Key, Op, Revision, StoreError, Txn};

/// Callers that wait for the next bookmark.
const CALLERS: usize = 4_096;
/// Where they are.
const BOOKMARKS: &str = "/cse-sr/bookmarks/";

type BookmarkReply = oneshot::Sender<Result<Revision, StoreError>>;

/// Where bookmarks are asked for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bookmarks(mpsc::Sender<BookmarkReply>);

impl Bookmarks {
    /// Starts the task that writes them on the current runtime.
    pub fn start(shared: BatchContext) -> Self {
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

async fn serve(shared: BatchContext, mut waiting: mpsc::Receiver<BookmarkReply>) {
    let mut callers = Vec::new();
    loop {
        if waiting.recv_many(&mut callers, CALLERS).await == 0 {
            return;
        }
        let key: Key = format!("{BOOKMARKS}{:032x}", rand::random::<u128>()).into();
        let written = one(&shared, Op::Put { key, value: Bytes::new(), lease: None }).await;
        for caller in callers.drain(..) {
            drop(caller.send(written.clone()));
        }
        // Of a bookmark only the event of its put is needed, so those of others go as well, and with them what a node left
        // behind that ended in between. What cannot be deleted now goes with the next one.
        if waiting.is_empty() && written.is_ok() {
            drop(one(&shared, Op::DeletePrefix(BOOKMARKS.into())).await);
        }
    }
}

async fn one(shared: &BatchContext, op: Op) -> Result<Revision, StoreError> {
    let txn = Txn { then: vec![op], ..Txn::default() };
    match submit(shared.clone(), vec![txn]).await.pop() {
        Some(outcome) => outcome.map(|outcome| outcome.revision),
        None => Err(closed()),
    }
}
