//! Bookmarks: puts a key below `/cse-sr/bookmarks/`, so that the watch of `/cse-sr/` reaches a new revision, and deletes it.
//! Callers that come while a bookmark is being written share the next one. The revision of the current bookmark may be older
//! than their call.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::{BatchContext, submit};
use super::failure::closed;
use crate::store::port::{Key, Op, Revision, StoreError, Txn};

/// The most callers that wait for the next bookmark.
const CALLERS: usize = 4_096;
const BOOKMARKS: &str = "/cse-sr/bookmarks/";

type BookmarkReply = oneshot::Sender<Result<Revision, StoreError>>;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Bookmarks(mpsc::Sender<BookmarkReply>);

impl Bookmarks {
    /// Starts the task that writes them on the current runtime.
    pub fn start(shared: BatchContext) -> Self {
        let (callers, waiting) = mpsc::channel(CALLERS);
        tokio::spawn(serve(shared, waiting));
        Self(callers)
    }

    /// A revision that the watch of `/cse-sr/` reaches, not below the revision of any write answered before.
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
        // Only the event of the put is needed, so this also deletes the bookmarks of other nodes, and those that a node left
        // behind when it stopped. If the deletion fails, the next one deletes them.
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
