//! The owners of instances: each lot beats on a thread of its own until it is told to stop, and says what it was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Client, Request};
use crate::support::scale::Scale;

/// How often owners of short leases beat. Most of these live 4 s.
pub const BEAT: Duration = Duration::from_millis(500);

/// How often owners beat while etcd is away: for longer than the short leases live. In a long run it is for longer than
/// `/health` waits (50 s) before it complains.
pub fn beats_away() -> usize {
    Scale::of_this_run().choose(12, 120)
}

/// Beats sent in one request.
const PER_REQUEST: usize = 1000;
/// Refusals kept with their words.
const KEPT_REFUSALS: usize = 5;

/// Owners that beat.
#[derive(Debug)]
pub struct Owners {
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    beating: Option<JoinHandle<Answers>>,
}

/// What they were answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Beats answered 200.
    pub taken: usize,
    /// Beats refused or not answered.
    pub refused: usize,
    /// The first of those, in the node's words.
    pub refusals: Vec<String>,
    /// The longest wait for an answer.
    pub longest: Duration,
}

impl Answers {
    /// Fails the test unless there were beats and all were taken.
    #[track_caller]
    pub fn assert_all_taken(&self) {
        assert!(self.taken > 0, "nobody beat");
        assert_eq!(self.refused, 0, "of {} beats: {:?}", self.taken + self.refused, self.refusals);
    }

    fn note(&mut self, count: usize, why: Option<String>) {
        match why {
            None => self.taken += count,
            Some(why) => {
                self.refused += count;
                if self.refusals.len() < KEPT_REFUSALS {
                    self.refusals.push(why);
                }
            }
        }
    }
}

impl Owners {
    /// These instances of one service of the default project beat each `every` on the server of `client`: the first one
    /// by a request of its own, the others together.
    pub fn beat(client: Client, service: &str, ids: &[String], every: Duration) -> Self {
        let (is_over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&rounds));
        let (service, ids) = (service.to_owned(), ids.to_vec());
        let beating = thread::spawn(move || {
            let mut answers = Answers::default();
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                beat_once(&client, &service, &ids, &mut answers);
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(every.saturating_sub(begin.elapsed()));
            }
            answers
        });
        Self { is_over, rounds, beating: Some(beating) }
    }

    /// How often all of them have beaten.
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// They beat no more.
    pub fn stop(mut self) -> Answers {
        self.is_over.store(true, Ordering::Relaxed);
        self.beating.take().expect("they beat until they are stopped").join().expect("beating does not panic")
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn beat_once(client: &Client, service: &str, ids: &[String], answers: &mut Answers) {
    let Some((first, others)) = ids.split_first() else { return };
    let base = "/v4/default/registry";
    let target = format!("{base}/microservices/{service}/instances/{first}/heartbeat");
    exchange(client, &Request::new("PUT", &target), 1, answers, |_| Vec::new());
    for lot in others.chunks(PER_REQUEST) {
        let named: Vec<Value> =
            lot.iter().map(|id| json!({"serviceId": service, "instanceId": id})).collect();
        let request = Request::new("PUT", &format!("{base}/heartbeats")).json(&json!({ "instances": named }));
        exchange(client, &request, lot.len(), answers, |answer| {
            let results = answer["instances"].as_array().cloned().unwrap_or_default();
            results.into_iter().filter(|result| !result["errMessage"].is_null()).collect()
        });
    }
}

fn exchange(
    client: &Client,
    request: &Request,
    count: usize,
    answers: &mut Answers,
    refused_in: impl Fn(&Value) -> Vec<Value>,
) {
    let begin = Instant::now();
    match client.send(request) {
        Ok(response) if response.status == 200 => {
            let refused = if response.body.is_empty() { Vec::new() } else { refused_in(&response.json()) };
            answers.note(count - refused.len(), None);
            refused.into_iter().for_each(|result| answers.note(1, Some(result.to_string())));
        }
        Ok(response) => answers.note(count, Some(format!("{}: {}", response.status, response.text()))),
        Err(error) => answers.note(count, Some(error.to_string())),
    }
    answers.longest = answers.longest.max(begin.elapsed());
}
