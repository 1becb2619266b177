//! The owners of instances. A group of owners sends heartbeats on a thread of its own until it is stopped, and then returns the
//! answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Client, Request};
use crate::support::registry::{Instance, Registry};
use crate::support::scale::Scale;

/// Pause between two heartbeats of the owners of short leases. Most short leases last 4 s.
pub const BEAT: Duration = Duration::from_millis(500);

/// Heartbeats that owners send while etcd is away. They take longer than the short leases. In a long run they take longer than the 50 s
/// after which `/health` reports the outage.
pub fn beats_away() -> usize {
    Scale::of_this_run().choose(12, 120)
}

/// Heartbeats in one request.
const PER_REQUEST: usize = 1000;
/// Refusals whose texts are kept.
const KEPT_REFUSALS: usize = 5;

/// A group of owners that send heartbeats.
#[derive(Debug)]
pub struct Owners {
    ids: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    beating: Option<JoinHandle<HeartbeatAnswers>>,
}

/// The answers to their heartbeats.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatAnswers {
    /// Heartbeats answered 200.
    pub taken: usize,
    /// Heartbeats refused or not answered.
    pub refused: usize,
    /// The first refusals, as the node answered them.
    pub refusals: Vec<String>,
    /// The longest wait for an answer.
    pub longest: Duration,
}

impl HeartbeatAnswers {
    /// Fails the test unless there were heartbeats and all were answered 200.
    #[track_caller]
    pub fn assert_all_taken(&self) {
        assert!(self.taken > 0, "no heartbeat was sent");
        assert_eq!(
            self.refused,
            0,
            "refused, of {} heartbeats: {:?}",
            self.taken + self.refused,
            self.refusals
        );
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
    /// Starts the heartbeats of these instances of one service in the default project, with a pause of `every`. The first instance has
    /// a request of its own, and the others share one.
    pub fn beat(client: Client, service: &str, ids: &[String], every: Duration) -> Self {
        let (is_over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&rounds));
        let (service, owned) = (service.to_owned(), Arc::new(Mutex::new(ids.to_vec())));
        let ids = Arc::clone(&owned);
        let beating = thread::spawn(move || {
            let mut answers = HeartbeatAnswers::default();
            while !over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let owned = owned.lock().unwrap().clone();
                beat_once(&client, &service, &owned, &mut answers);
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(every.saturating_sub(begin.elapsed()));
            }
            answers
        });
        Self { ids, is_over, rounds, beating: Some(beating) }
    }

    /// Registers these instances, and beats for each as soon as it is there: to register all may take longer than a lease.
    pub fn register(client: Client, service: &str, ids: &[String], lease: (u32, u32)) -> Self {
        let registry = Registry::new(client.clone(), "default").patient();
        let owners = Self::beat(client, service, &[], BEAT);
        for id in ids {
            let instance = Instance::named(id).with_health_check(lease.0, lease.1);
            registry.register(service, &instance).unwrap();
            owners.ids.lock().unwrap().push(id.clone());
        }
        owners
    }

    /// How many heartbeats each instance has sent.
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Ends the heartbeats; the answers to them.
    pub fn stop(mut self) -> HeartbeatAnswers {
        self.is_over.store(true, Ordering::Relaxed);
        self.beating.take().expect("they beat until they are stopped").join().expect("beating does not panic")
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn beat_once(client: &Client, service: &str, ids: &[String], answers: &mut HeartbeatAnswers) {
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
    answers: &mut HeartbeatAnswers,
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
