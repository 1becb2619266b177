//! What the record of events learns from the actors that write: who caused a write, and what it wrote.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::recorder::{Cause, Note, Purpose, Recorder, Requester, Write};
use crate::store::{Key, Op, StoreError, Txn, TxnResult, keys};
use crate::trace;

/// Who caused the work that this thread does: a request, or this node itself.
pub(super) fn cause() -> Cause {
    trace::current().map_or(Cause::Node, |request| {
        let sender = request.sender();
        Cause::Request(Arc::new(Requester {
            account: sender.and_then(|sender| sender.account().cloned()),
            client: sender.map(|sender| sender.client),
            request_id: request.id().clone(),
        }))
    })
}

/// A write on its way to the store. The recorder learns what it wrote when it ends, however it ends.
pub(super) struct NotedWrite {
    recorder: Recorder,
    ticket: u64,
    keys: SmallVec<[Key; 2]>,
    purpose: Purpose,
    has_ended: bool,
}

impl NotedWrite {
    /// `None` if the record shows no key that the transaction writes.
    pub(super) fn begin(recorder: &Recorder, txn: &Txn, purpose: Purpose) -> Option<Self> {
        let written = txn.then.iter().filter_map(|op| match op {
            Op::Put { key, .. } | Op::Delete(key) | Op::DeletePrefix(key) => Some(key),
            Op::Get(_) | Op::GetPrefix(_) => None,
        });
        let keys: SmallVec<[Key; 2]> = written.filter(|key| keys::is_recorded(key)).cloned().collect();
        let recorder = (!keys.is_empty()).then(|| recorder.clone())?;
        Some(Self { ticket: recorder.begin(), recorder, keys, purpose, has_ended: false })
    }

    /// To be called while this thread works for the request that writes.
    pub(super) fn end(mut self, outcome: &TxnResult) {
        let keys = std::mem::take(&mut self.keys);
        match outcome {
            Ok(outcome) if outcome.succeeded && outcome.changed => self.tell(keys, Some(outcome.revision)),
            // It may have been written, or be written later.
            Err(StoreError::Unknown { .. }) => self.tell(keys, None),
            _ => self.tell(SmallVec::new(), None),
        }
    }

    fn tell(&mut self, keys: SmallVec<[Key; 2]>, revision: Option<i64>) {
        self.has_ended = true;
        let cause = if keys.is_empty() { Cause::Node } else { cause() };
        let write = Write { ticket: self.ticket, keys, revision, purpose: self.purpose, cause };
        self.recorder.note(Note::Wrote(write));
    }
}

impl Drop for NotedWrite {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tell(SmallVec::new(), None);
        }
    }
}
