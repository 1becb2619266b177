//! What a daemon is filled with: services, and instances of some 300 bytes each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Api, BASE, member, once, post, request, send_all};

/// A lease that outlives every run: 30,000 s × (3 + 1).
pub const LONG: HealthCheck = HealthCheck { interval: 30_000, times: 3 };
/// A lease of a minute, with two beats in it.
pub const MINUTE: HealthCheck = HealthCheck { interval: 30, times: 1 };

/// How often an instance beats, and how many beats it may miss.
#[derive(Clone, Copy, Debug)]
pub struct HealthCheck {
    /// Seconds.
    pub interval: u32,
    /// Beats.
    pub times: u32,
}

/// A service that is there.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

impl Service {
    /// Creates one.
    pub fn create<'a>(api: impl Into<Api<'a>>, name: &str) -> Result<Self, String> {
        let id = member(&once(api, &service_request(name))?, "serviceId")?;
        Ok(Self { name: name.to_owned(), id })
    }

    /// Creates many, named `{prefix}-{number}`.
    pub fn create_many<'a>(api: impl Into<Api<'a>>, prefix: &str, count: usize) -> Result<Vec<Self>, String> {
        let name = |number| format!("{prefix}-{number}");
        let ids = Mutex::new(vec![Err("no answer".to_owned()); count]);
        send_all(
            api,
            count,
            |number| service_request(&name(number)),
            |number, answer| ids.lock().expect("not poisoned")[number] = member(&answer, "serviceId"),
        )?;
        let ids = ids.into_inner().expect("not poisoned");
        ids.into_iter().enumerate().map(|(number, id)| Ok(Self { name: name(number), id: id? })).collect()
    }

    /// The path under which it is found.
    pub fn find_path(&self) -> String {
        format!("{BASE}/instances?appId=default&serviceName={}&version=0%2B", self.name)
    }

    /// Finds it; the consumer's dependency is recorded.
    pub fn find_request(&self, consumer: Option<&str>) -> Vec<u8> {
        request("GET", &self.find_path(), consumer)
    }

    /// The path of one of its instances.
    pub fn instance_path(&self, instance: &str) -> String {
        format!("{BASE}/microservices/{}/instances/{instance}", self.id)
    }

    /// The path of an instance's heartbeat.
    pub fn heartbeat_path(&self, instance: &str) -> String {
        self.instance_path(instance) + "/heartbeat"
    }

    /// Registers an instance with this id.
    pub fn register_request(&self, instance: &str, number: usize, check: HealthCheck) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let HealthCheck { interval, times } = check;
        let body = format!(
            "{{\"instance\":{{\"instanceId\":\"{instance}\",\"hostName\":\"host-{number:07}\",\
             \"endpoints\":[\"rest://10.{a}.{b}.{c}:8080\"],\"status\":\"UP\",\
             \"healthCheck\":{{\"mode\":\"push\",\"interval\":{interval},\"times\":{times}}}}}}}"
        );
        post(&format!("{BASE}/microservices/{}/instances", self.id), &body)
    }
}

fn service_request(name: &str) -> Vec<u8> {
    let body = format!(
        "{{\"service\":{{\"serviceName\":\"{name}\",\"appId\":\"default\",\"version\":\"1.0.0\",\"status\":\"UP\"}}}}"
    );
    post(&format!("{BASE}/microservices"), &body)
}

/// The id of the instance of this number among those a service was filled with. Of the form a server makes.
pub fn instance_id(number: usize) -> String {
    format!("{number:032x}")
}

/// Registers instances in all `services` in turn until each has `each`.
pub fn fill<'a>(
    api: impl Into<Api<'a>>,
    services: &[Service],
    each: usize,
    check: HealthCheck,
) -> Result<(), String> {
    fill_counting(api, services, each, check, &AtomicUsize::new(0))
}

/// As [`fill`]; counts the registered instances for those who look meanwhile.
pub fn fill_counting<'a>(
    api: impl Into<Api<'a>>,
    services: &[Service],
    each: usize,
    check: HealthCheck,
    registered: &AtomicUsize,
) -> Result<(), String> {
    let request = |number: usize| {
        let instance = number / services.len();
        services[number % services.len()].register_request(&instance_id(instance), number, check)
    };
    send_all(api, services.len() * each, request, |_, _| {
        registered.fetch_add(1, Ordering::Relaxed);
    })
}
