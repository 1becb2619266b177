//! Runs slow computations (hashes of passwords, signatures of tokens) on few threads of low priority, so that a storm of logins
//! does not delay other requests.
//!
//! There is one thread for each two cores. On Linux these threads have a low priority: they use what the threads that answer
//! requests leave. At most [`WAITING`] computations wait. More are rejected with [`Busy`]. A computation whose request has ended
//! is skipped.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::domain::account::Account;
use crate::error::{Code, Error};

use super::password;

/// Computations that may wait: 64 take some 0.1 s.
pub const WAITING: usize = 64;

/// Too many computations wait, or the threads have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many logins at once; try again")]
pub struct Busy;

impl From<Busy> for Error {
    fn from(busy: Busy) -> Self {
        Self::new(Code::Overloaded, busy.to_string())
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the threads. Cheap to clone. The threads end with the last handle.
#[derive(Clone)]
pub struct Hasher {
    jobs: SyncSender<Job>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// Starts the threads: half as many as `cores`, at least one.
    pub fn start(cores: usize) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..(cores / 2).max(1) {
            let waiting = Arc::clone(&waiting);
            let name = format!("hasher-{index}");
            std::thread::Builder::new().name(name).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// The hash of a password, see [`password::hash`].
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        let hashed = self.run(move || password::hash(&password)).await?;
        hashed.map_err(|error| Error::new(Code::Internal, error.to_string()))
    }

    /// Whether the password is the account's. An account that does not exist takes as long as one that does.
    pub async fn verify(&self, account: Option<Arc<Account>>, password: String) -> Result<bool, Busy> {
        self.run(move || {
            password::verify(account.as_ref().map(|account| account.password.as_str()), &password)
        })
        .await
    }

    /// Runs a computation on one of the threads.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        self.submit(job)?.await.map_err(|_| Busy)
    }

    fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Busy> {
        let (reply, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            if !reply.is_closed() {
                // Nobody waits for the result if the request has ended meanwhile.
                drop(reply.send(job()));
            }
        });
        self.jobs.try_send(job).map_err(|_| Busy)?;
        Ok(result)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    #[cfg(target_os = "linux")]
    {
        // On Linux this is the priority of the thread. Elsewhere it would be that of the process. Without the right to change
        // it, the thread works with the usual one.
        let _ = rustix::process::nice(10);
    }
    loop {
        // The threads take turns at waiting: the lock is released as soon as there is a job.
        let job = waiting.lock().recv();
        match job {
            // A job that panics must not end the thread. Its request gets `Busy`.
            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn account(password: &str) -> Option<Arc<Account>> {
        Some(Arc::new(Account { password: password::hash(password).unwrap(), ..Account::default() }))
    }

    #[tokio::test]
    async fn hashes_and_verifies() {
        let hasher = Hasher::start(2).unwrap();
        let hashed = hasher.hash("Tester#Pwd1".to_owned()).await.unwrap();
        assert!(password::verify(Some(&hashed), "Tester#Pwd1"));
        let verify = |account, password: &str| hasher.verify(account, password.to_owned());
        assert_eq!(verify(account("Tester#Pwd1"), "Tester#Pwd1").await, Ok(true));
        assert_eq!(verify(account("Tester#Pwd1"), "Tester#Pwd2").await, Ok(false));
        assert_eq!(verify(None, "Tester#Pwd1").await, Ok(false));
    }

    /// Occupies the only thread until the sender is dropped.
    fn hold(hasher: &Hasher) -> (Sender<()>, oneshot::Receiver<()>) {
        let (began, has_begun) = channel();
        let (release, released) = channel::<()>();
        let held = hasher.submit(move || {
            began.send(()).unwrap();
            let _ = released.recv();
        });
        has_begun.recv().unwrap();
        (release, held.unwrap())
    }

    #[tokio::test]
    async fn a_full_queue_rejects() {
        let hasher = Hasher::start(1).unwrap();
        let (release, held) = hold(&hasher);
        let waiting: Vec<_> = (0..WAITING).map(|at| hasher.submit(move || at).unwrap()).collect();
        assert_eq!(hasher.run(|| ()).await, Err(Busy));
        drop(release);
        held.await.unwrap();
        for (at, result) in waiting.into_iter().enumerate() {
            assert_eq!(result.await, Ok(at));
        }
        assert_eq!(hasher.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_whose_request_has_ended_is_skipped() {
        let hasher = Hasher::start(1).unwrap();
        let (release, held) = hold(&hasher);
        let (ran, has_run) = channel::<()>();
        drop(hasher.submit(move || ran.send(())).unwrap());
        drop(release);
        held.await.unwrap();
        assert_eq!(hasher.run(|| ()).await, Ok(()), "the queue goes on");
        assert!(has_run.recv().is_err(), "the job was dropped without a run");
    }

    #[tokio::test]
    async fn a_panic_is_one_request_s_trouble() {
        let hasher = Hasher::start(1).unwrap();
        assert_eq!(hasher.run(|| -> u8 { std::panic::resume_unwind(Box::new("a test")) }).await, Err(Busy));
        assert_eq!(hasher.run(|| 7).await, Ok(7));
    }

    #[test]
    fn an_error_is_an_overload() {
        assert_eq!(Error::from(Busy).code, Code::Overloaded);
        assert_eq!(format!("{:?}", Hasher::start(1).unwrap()), "Hasher");
    }
}
