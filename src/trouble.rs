//! Decides which failures of a repeated try are logged: the first failure, the first failure for each further reason, and the end of the
//! failures. Code that tries again and again keeps a [`Trouble`], and asks it before it logs.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// How many reasons are logged. If the reason changes with each try, the others are not logged.
const MAX_REASONS: usize = 4;

static IS_STOPPING: AtomicBool = AtomicBool::new(false);

/// From here on no failure is logged in this process: it stops, and closes what the tries need.
pub fn stop_telling() {
    IS_STOPPING.store(true, Ordering::Relaxed);
}

/// The reasons that were logged since tries began to fail. Empty if the last try succeeded.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Vec<String>>);

impl Trouble {
    /// Call this after a try that failed. `true` if the reason should be logged, because it is new.
    pub fn fails(&self, reason: &str) -> bool {
        let mut told = self.0.lock();
        let is_news = told.len() < MAX_REASONS && !told.iter().any(|known| known == reason);
        if is_news {
            told.push(reason.to_owned());
        }
        is_news && !IS_STOPPING.load(Ordering::Relaxed)
    }

    /// Call this after a try that succeeded. `true` if that should be logged, because tries failed before.
    pub fn is_over(&self) -> bool {
        !std::mem::take(&mut *self.0.lock()).is_empty()
    }

    /// Whether the last try failed.
    pub fn goes_on(&self) -> bool {
        !self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_logged_once() {
        let trouble = Trouble::default();
        assert!(!trouble.is_over(), "there was none");
        let tries = ["refused", "refused", "expired", "refused", "expired"];
        let told: Vec<&str> = tries.into_iter().filter(|reason| trouble.fails(reason)).collect();
        assert_eq!(told, ["refused", "expired"]);
        assert!(trouble.goes_on() && trouble.is_over());
        assert!(!trouble.goes_on() && !trouble.is_over());
        assert!(trouble.fails("refused"), "it begins anew");
    }

    #[test]
    fn reasons_that_never_repeat_are_logged_a_few_times() {
        let trouble = Trouble::default();
        let told = (0..100).filter(|number| trouble.fails(&format!("port {number}"))).count();
        assert_eq!(told, MAX_REASONS);
    }
}
