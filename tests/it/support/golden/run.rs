//! Runs the scenarios of a profile side by side on one daemon, and compares the outcome with the list of scenarios known to fail.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::not_yet::NotYet;
use super::replay::{hold_ballast, replay};
use super::scenario::Scenario;
use crate::support::daemon::{Daemon, Settings};
use crate::support::description::Description;
use crate::support::http::Client;
use crate::support::store::Backing;

/// Scenarios at a time. Most scenarios sleep most of the time.
const WORKERS: usize = 24;
/// The topics whose scenarios run one at a time, because they read state that a server has only once, or use the names of the configured
/// shared services.
const ONE_AT_A_TIME: [&str; 4] = ["dependencies", "health", "shared", "rbac_quota"];
/// The scenarios that run after all others: one changes the password of `root`, which the others use, and one needs that no other
/// scenario gets an answer of 500 or more.
const LAST: [&str; 2] = ["password-root", "alarms"];

/// The outcome of the scenarios of a profile.
#[derive(Debug, Default)]
pub struct ReplayVerdict {
    heading: String,
    passed: usize,
    known: usize,
    wrong: Vec<String>,
    took: Duration,
    /// The end of the daemon's output. It is empty if the daemon never served.
    log_tail: String,
    /// Why the daemon did not serve, if it did not. Then every scenario fails.
    not_served: Option<String>,
}

impl ReplayVerdict {
    /// Whether each scenario passed or failed as the list says.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Writes the first line to standard error, also where the output of tests is captured.
    pub fn announce(&self) {
        writeln!(std::io::stderr(), "{}", self.summary()).ok();
    }

    fn summary(&self) -> String {
        let Self { heading, passed, known, wrong, took, .. } = self;
        let why = self.not_served.as_ref().and_then(|why| why.lines().next()).map(|why| format!("; {why}"));
        format!(
            "golden {heading}: {passed} passed, {known} not yet, {} wrong ({:.1} s){}",
            wrong.len(),
            took.as_secs_f32(),
            why.unwrap_or_default()
        )
    }

    fn judge(&mut self, name: &str, outcome: Result<(), String>, reason: Option<&str>) {
        match (outcome, reason) {
            (Ok(()), None) => self.passed += 1,
            (Err(_), Some(_)) => self.known += 1,
            (Ok(()), Some(reason)) => {
                self.wrong.push(format!("{name} passes: take it off the list (\"{reason}\")"))
            }
            (Err(difference), None) => self.wrong.push(format!("{name} {difference}")),
        }
    }
}

impl fmt::Display for ReplayVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n{wrong}"))?;
        if self.log_tail.is_empty() {
            Ok(())
        } else {
            write!(f, "\nthe daemon's output ends:\n{}", self.log_tail)
        }
    }
}

/// Starts a daemon with the profile's settings on the store and replays the scenarios.
///
/// If the daemon does not start, every scenario fails. That is accepted while all of them are listed.
pub fn run(
    profile: &str,
    scenarios: &[&Scenario],
    settings: Settings,
    store: &dyn Backing,
    not_yet: &NotYet,
) -> ReplayVerdict {
    let began = Instant::now();
    let mut verdict =
        ReplayVerdict { heading: format!("{profile} on {}", store.name()), ..ReplayVerdict::default() };
    let started = Daemon::start(store.chosen_in(settings)).map_err(|error| error.to_string());
    let ready = started.and_then(|daemon| hold_ballast(&daemon.client()).map(|()| daemon));
    let described = ready.as_ref().ok().map(|daemon| Description::of(&daemon.client()).map(Arc::new));
    let described = described.transpose().unwrap_or_default();
    let outcomes = match &ready {
        Ok(daemon) => {
            let client = described.iter().cloned().fold(daemon.client(), |client, description| {
                client.observed(move |request, response| description.note(request, response))
            });
            replay_all(&client, scenarios)
        }
        Err(why) => scenarios.iter().map(|scenario| (scenario.name.as_str(), Err(why.clone()))).collect(),
    };
    // What the scenarios make the server answer must also be as its OpenAPI document says.
    verdict.wrong.extend(described.iter().flat_map(|description| description.differences()));
    verdict.not_served = ready.as_ref().err().cloned();
    for (name, outcome) in outcomes {
        verdict.judge(name, outcome, not_yet.reason(name, store.name()));
    }
    if let Ok(mut daemon) = ready {
        if let Some(status) = daemon.process().exit_status() {
            verdict.wrong.push(format!("the daemon ended on the way: {status}"));
        }
        verdict.log_tail = daemon.process().log_tail();
    }
    verdict.wrong.sort();
    verdict.took = began.elapsed();
    verdict
}

/// Replays all scenarios, those of [`LAST`] after the others; their outcomes by name.
pub fn replay_all<'a>(server: &Client, scenarios: &[&'a Scenario]) -> Vec<(&'a str, Result<(), String>)> {
    let one_at_a_time = |scenario: &&&Scenario| ONE_AT_A_TIME.contains(&scenario.topic.as_str());
    let lane: Vec<&Scenario> = scenarios.iter().filter(one_at_a_time).copied().collect();
    let (last, mut free): (Vec<&Scenario>, Vec<&Scenario>) = scenarios
        .iter()
        .filter(|scenario| !one_at_a_time(scenario))
        .partition(|scenario| LAST.contains(&scenario.name.as_str()));
    free.sort_by_key(|scenario| std::cmp::Reverse(scenario.waits())); // the longest first, so that none is left at the end
    let free = Mutex::new(VecDeque::from(free));
    let outcomes = Mutex::new(Vec::new());
    let run_one = |scenario: &'a Scenario| {
        let outcome = replay(server, scenario).map_err(|difference| difference.to_string());
        outcomes.lock().unwrap().push((scenario.name.as_str(), outcome));
    };
    thread::scope(|scope| {
        scope.spawn(|| lane.iter().copied().for_each(run_one));
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = free.lock().unwrap().pop_front();
                    let Some(scenario) = next else { return };
                    run_one(scenario);
                }
            });
        }
    });
    last.into_iter().for_each(run_one);
    outcomes.into_inner().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_only_shrinks() {
        let mut verdict =
            ReplayVerdict { heading: "plain on embedded".to_owned(), ..ReplayVerdict::default() };
        verdict.judge("a", Ok(()), None);
        verdict.judge("b", Err("step 0: x".to_owned()), Some("not built"));
        assert!(verdict.is_good());
        assert_eq!(verdict.to_string(), "golden plain on embedded: 1 passed, 1 not yet, 0 wrong (0.0 s)");
        verdict.judge("c", Err("step 1: y".to_owned()), None);
        verdict.judge("d", Ok(()), Some("not built"));
        assert!(!verdict.is_good());
        let text = verdict.to_string();
        assert!(
            text.ends_with("2 wrong (0.0 s)\nc step 1: y\nd passes: take it off the list (\"not built\")"),
            "{text}"
        );
    }
}
