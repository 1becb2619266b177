//! Failures that go on: logged once when they begin, once for each further reason, once when they are over, and not with
//! every try. Whoever tries again and again keeps a [`Trouble`] and asks it before logging.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reasons told of one trouble; of those that change all the time the rest is not told.
const MAX_REASONS: usize = 4;

/// Whether tries fail, and which reasons were told since they do.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Vec<String>>);

impl Trouble {
    /// A try failed. `true` if this reason was not told since tries fail: then it should be logged.
    pub fn fails(&self, reason: &str) -> bool {
        let mut told = self.told();
        let is_news = told.len() < MAX_REASONS && !told.iter().any(|known| known == reason);
        if is_news {
            told.push(reason.to_owned());
        }
        is_news
    }

    /// A try succeeded. `true` if tries failed before: then that should be logged.
    pub fn is_over(&self) -> bool {
        !std::mem::take(&mut *self.told()).is_empty()
    }

    /// Whether the last try failed.
    pub fn goes_on(&self) -> bool {
        !self.told().is_empty()
    }

    fn told(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
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
    fn reasons_that_never_repeat_are_told_a_few_times() {
        let trouble = Trouble::default();
        let told = (0..100).filter(|number| trouble.fails(&format!("port {number}"))).count();
        assert_eq!(told, MAX_REASONS);
    }
}
