//! Keeps the comparison with the store at a small share of a core: after each piece of work it rests in proportion to the CPU time that
//! the piece took.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use tokio::sync::Notify;

use crate::clock::thread_cpu_time;

/// The rest after a piece of work, as a multiple of its CPU time. The thread of the actor uses 0.5 % of a core then. As much again is
/// left for what the store's client and the WatchActor do for it on other threads.
const REST: u32 = 199;
/// The longest rest at once.
const LONGEST: Duration = Duration::from_secs(60);

/// How fast a comparison goes on.
#[derive(Debug)]
pub(super) enum ScrubPace {
    /// Somebody waits for it: it only lets messages through.
    Fast,
    /// In the background, until somebody wants it to hurry. Keeps the CPU time of the thread after the last rest.
    Slow { rested_at: Duration, hurry: Rc<Notify> },
}

impl ScrubPace {
    /// The thread must not change until the comparison ends. A wish to hurry from before does not count.
    pub(super) fn slow(hurry: &Rc<Notify>) -> Self {
        let _ = hurry.notified().now_or_never();
        Self::Slow { rested_at: thread_cpu_time(), hurry: Rc::clone(hurry) }
    }

    /// A piece of work is done.
    pub(super) async fn rest(&mut self) {
        match self {
            Self::Fast => tokio::task::yield_now().await,
            Self::Slow { rested_at, hurry } => {
                let rest = rest_after(thread_cpu_time().saturating_sub(*rested_at));
                tokio::select! {
                    biased;
                    () = hurry.notified() => *self = Self::Fast,
                    () = tokio::time::sleep(rest) => *rested_at = thread_cpu_time(),
                }
            }
        }
    }
}

fn rest_after(work: Duration) -> Duration {
    work.saturating_mul(REST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_half_a_percent_of_the_time() {
        for millis in [0, 1, 7, 300] {
            let work = Duration::from_millis(millis);
            assert_eq!(work + rest_after(work), work * 200);
        }
        assert_eq!(rest_after(Duration::from_secs(10)), LONGEST);
    }

    #[actix::test]
    async fn a_slow_comparison_hurries_when_somebody_waits() {
        let hurry = Rc::new(Notify::new());
        hurry.notify_one();
        let mut pace = ScrubPace::slow(&hurry);
        pace.rest().await;
        assert!(matches!(pace, ScrubPace::Slow { .. }), "nobody has asked since it began");
        hurry.notify_one();
        pace.rest().await;
        assert!(matches!(pace, ScrubPace::Fast));
    }

    /// The rests grow with the CPU time of this thread, not with the time that passes.
    #[test]
    fn a_thread_that_waits_uses_no_time() {
        let before = thread_cpu_time();
        let mut sum = 0_u64;
        while thread_cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu_time() > before);
    }
}
