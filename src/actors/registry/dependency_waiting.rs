//! Dependency requests that wait to be applied, on a store without a queue for them.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::domain::dependency::Dependency;
use crate::domain::event::Revision;
use crate::error::{Code, Error};

/// How many requests may wait. A further one is rejected.
const MAX_WAITING: usize = 10_000;
/// How many providers the waiting requests may have, a few hundred bytes each.
const MAX_WAITING_PROVIDERS: usize = 200_000;
/// How many requests are applied together.
const MAX_TOGETHER: usize = 1_000;

/// The revision at which a request is applied. `None` if there was nothing to write.
pub(super) type DirectOutcome = Result<Option<Revision>, Error>;

/// The waiting requests. Lives on the actor's thread.
#[derive(Default)]
pub(super) struct WaitingDependencies {
    requests: RefCell<DirectQueue>,
    /// The caller that has the turn applies the waiting requests of all callers.
    turn: Mutex<()>,
}

#[derive(Default)]
struct DirectQueue {
    queue: VecDeque<DirectRequest>,
    /// How many providers they have.
    providers: usize,
}

/// A waiting request.
pub(super) struct DirectRequest {
    pub(super) request: Dependency,
    pub(super) reply: oneshot::Sender<DirectOutcome>,
}

impl WaitingDependencies {
    /// Adds all requests or none. Each receiver gets the outcome of one request.
    pub(super) fn add(
        &self,
        requests: Vec<Dependency>,
    ) -> Result<Vec<oneshot::Receiver<DirectOutcome>>, Error> {
        let mut waiting = self.requests.borrow_mut();
        let providers =
            waiting.providers + requests.iter().map(|request| request.providers.len()).sum::<usize>();
        // An empty queue takes requests of any size, because they have passed the quota.
        let is_full = waiting.queue.len() + requests.len() > MAX_WAITING || providers > MAX_WAITING_PROVIDERS;
        if is_full && !waiting.queue.is_empty() {
            return Err(Error::new(Code::Unavailable, "too many changes of dependencies wait, try again"));
        }
        waiting.providers = providers;
        let add = |request| {
            let (reply, outcome) = oneshot::channel();
            waiting.queue.push_back(DirectRequest { request, reply });
            outcome
        };
        Ok(requests.into_iter().map(add).collect())
    }

    /// Takes waiting requests in the order they came, up to [`MAX_TOGETHER`].
    pub(super) fn take(&self) -> Vec<DirectRequest> {
        let mut waiting = self.requests.borrow_mut();
        let count = waiting.queue.len().min(MAX_TOGETHER);
        let taken: Vec<DirectRequest> = waiting.queue.drain(..count).collect();
        waiting.providers -= taken.iter().map(|direct| direct.request.providers.len()).sum::<usize>();
        taken
    }

    /// Waits for the turn to apply the waiting requests.
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
