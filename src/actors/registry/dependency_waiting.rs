//! Dependency requests that wait to be applied on a store without a queue of its own.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::domain::dependency::Dependency;
use crate::domain::event::Revision;
use crate::error::{Code, Error};

/// Requests that may wait; a further one is refused.
const MAX_WAITING: usize = 10_000;
/// Providers in the requests that may wait: a few hundred bytes each.
const MAX_WAITING_PROVIDERS: usize = 200_000;
/// Requests applied together.
const MAX_TOGETHER: usize = 1_000;

/// What became of a request: a revision at which it is done.
pub(super) type DirectOutcome = Result<Option<Revision>, Error>;

/// The requests that wait. Lives on the actor's thread.
#[derive(Default)]
pub(super) struct WaitingDependencies {
    requests: RefCell<DirectQueue>,
    /// Whoever has the turn applies what waits, for all.
    turn: Mutex<()>,
}

#[derive(Default)]
struct DirectQueue {
    queue: VecDeque<Direct>,
    /// Providers in them.
    providers: usize,
}

/// One of them.
pub(super) struct Direct {
    /// What is asked for.
    pub(super) request: Dependency,
    /// Takes what became of it.
    pub(super) reply: oneshot::Sender<DirectOutcome>,
}

impl WaitingDependencies {
    /// Adds requests, all or none, and says where to learn what became of each.
    pub(super) fn add(&self, requests: Vec<Dependency>) -> Result<Vec<oneshot::Receiver<DirectOutcome>>, Error> {
        let mut waiting = self.requests.borrow_mut();
        let providers =
            waiting.providers + requests.iter().map(|request| request.providers.len()).sum::<usize>();
        // However large, what comes to an empty queue is taken: it has passed the quota.
        let is_full = waiting.queue.len() + requests.len() > MAX_WAITING || providers > MAX_WAITING_PROVIDERS;
        if is_full && !waiting.queue.is_empty() {
            return Err(Error::new(Code::Unavailable, "too many changes of dependencies wait, try again"));
        }
        waiting.providers = providers;
        let add = |request| {
            let (reply, outcome) = oneshot::channel();
            waiting.queue.push_back(Direct { request, reply });
            outcome
        };
        Ok(requests.into_iter().map(add).collect())
    }

    /// Takes what waits, up to a number, in the order it came.
    pub(super) fn take(&self) -> Vec<Direct> {
        let mut waiting = self.requests.borrow_mut();
        let count = waiting.queue.len().min(MAX_TOGETHER);
        let taken: Vec<Direct> = waiting.queue.drain(..count).collect();
        waiting.providers -= taken.iter().map(|direct| direct.request.providers.len()).sum::<usize>();
        taken
    }

    /// Waits for the turn to apply what waits.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::domain::ServiceKey;

    fn requests(count: usize, providers: usize) -> Vec<Dependency> {
        let providers = vec![ServiceKey::default(); providers];
        vec![Dependency { providers, ..Dependency::default() }; count]
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_in_providers() {
        let waiting = WaitingDependencies::default();
        waiting.add(requests(MAX_WAITING - 1, 0)).unwrap();
        assert!(waiting.add(requests(2, 0)).is_err());
        waiting.add(requests(1, 0)).unwrap();
        while !waiting.take().is_empty() {}

        waiting.add(requests(1, MAX_WAITING_PROVIDERS + 1)).unwrap();
        assert!(waiting.add(requests(1, 0)).is_err());
        assert_eq!(waiting.take().len(), 1);
        waiting.add(requests(1, MAX_WAITING_PROVIDERS)).unwrap();
        waiting.add(requests(1, 0)).unwrap();
    }
}
