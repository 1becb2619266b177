//! A registry filled with instances whose leases end without heartbeats. They send them from their registration on, in the order of
//! registration, and consumers find them meanwhile.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::{BASE, count_instances, instances_in, once};
use crate::fill::{HealthCheck, Service, fill_counting, instance_id};
use crate::steady::{State, Steady};

/// What SDKs ask for: a heartbeat in 30 s, of which three may be missed. The lease ends after two minutes.
const CHECK: HealthCheck = HealthCheck { interval: 30, times: 3 };
/// Between two heartbeats of an instance while others register.
const WHILE_FILLING: Duration = Duration::from_secs(60);
/// While others register, so many of the last ones send no heartbeats yet.
const LAST_ONES: usize = 1_000;
/// Connections for the heartbeats.
const BEATERS: usize = 128;
/// Threads of the heartbeats.
pub const BEATER_THREADS: usize = 2;
/// Connections of those who find.
const FINDERS: usize = 16;

/// The instances.
pub struct Fleet<'a> {
    pub nodes: &'a [SocketAddr],
    pub services: &'a [Service],
    /// Instances of a service.
    pub each: usize,
    registered: AtomicUsize,
    /// Between two heartbeats of an instance, in microseconds.
    every: AtomicU64,
    /// Heartbeats in one request. More than one: `PUT /heartbeats`.
    together: AtomicUsize,
    next_beat: AtomicUsize,
    next_find: AtomicUsize,
}

impl<'a> Fleet<'a> {
    /// Nothing is registered yet.
    pub fn new(nodes: &'a [SocketAddr], services: &'a [Service], each: usize) -> Self {
        Self {
            nodes,
            services,
            each,
            registered: AtomicUsize::new(0),
            every: AtomicU64::new(WHILE_FILLING.as_micros() as u64),
            together: AtomicUsize::new(1),
            next_beat: AtomicUsize::new(0),
            next_find: AtomicUsize::new(0),
        }
    }

    /// How many there are at the end.
    pub fn count(&self) -> usize {
        self.services.len() * self.each
    }

    /// Registers all. Their heartbeats must be running.
    pub fn register(&self) -> Result<(), String> {
        fill_counting(self.nodes[0], self.services, self.each, CHECK, &self.registered)
    }

    /// From now on each instance sends a heartbeat in this time, and so many are in one request.
    pub fn beat_every(&self, every: Duration, together: usize) {
        self.every.store(every.as_micros() as u64, Ordering::Relaxed);
        self.together.store(together, Ordering::Relaxed);
    }

    /// The heartbeats. An answer other than 200 is wrong, as is one that names an error.
    #[expect(clippy::type_complexity, reason = "the types of the three closures")]
    pub fn beats(
        &'a self,
    ) -> Steady<'a, impl Fn() -> Duration, impl Fn(&mut Vec<u8>) -> usize, impl Fn(usize, u16, &[u8]) -> bool>
    {
        let pace = || {
            let together = self.together.load(Ordering::Relaxed);
            let every = Duration::from_micros(self.every.load(Ordering::Relaxed));
            every.mul_f64(together as f64 / self.beating() as f64)
        };
        let request = |request: &mut Vec<u8>| self.write_beat(request);
        let judge =
            |_, status, body: &[u8]| status == 200 && memchr::memmem::find(body, b"errMessage").is_none();
        Steady { nodes: self.nodes, clients: BEATERS, pace, request, judge, state: State::default() }
    }

    /// Finds of all services in turn, so many a second. Once all are registered, a find must have each of them.
    #[expect(clippy::type_complexity, reason = "as above")]
    pub fn finds(
        &'a self,
        rate: u32,
    ) -> Steady<'a, impl Fn() -> Duration, impl Fn(&mut Vec<u8>) -> usize, impl Fn(usize, u16, &[u8]) -> bool>
    {
        let request = |request: &mut Vec<u8>| {
            let number = self.next_find.fetch_add(1, Ordering::Relaxed) % self.services.len();
            request.extend_from_slice(&self.services[number].find_request(None));
            // What was registered when it was sent counts.
            usize::from(self.registered() == self.count())
        };
        let judge = |is_full: usize, status, body: &[u8]| {
            status == 200 && (is_full == 0 || count_instances(body) == self.each)
        };
        let pace = move || Duration::from_secs(1) / rate;
        Steady { nodes: self.nodes, clients: FINDERS, pace, request, judge, state: State::default() }
    }

    /// How many instances this node does not show.
    pub fn missing(&self, node: SocketAddr) -> Result<usize, String> {
        self.services.iter().try_fold(0, |missing, service| {
            let has = instances_in(&once(node, &service.find_request(None))?);
            Ok(missing + self.each.saturating_sub(has))
        })
    }

    fn registered(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    /// Instances that certainly are registered. Registrations are not answered in their order, so the last ones may not be.
    fn beating(&self) -> usize {
        let registered = self.registered();
        if registered == self.count() { registered } else { registered.saturating_sub(LAST_ONES).max(1) }
    }

    /// The number of the instance whose turn it is.
    fn take_turn(&self) -> usize {
        let registered = self.beating();
        let next = |number: usize| if number + 1 < registered { Some(number + 1) } else { Some(0) };
        self.next_beat.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0)
    }

    fn write_beat(&self, request: &mut Vec<u8>) -> usize {
        let together = self.together.load(Ordering::Relaxed);
        let place =
            |number: usize| (&self.services[number % self.services.len()], number / self.services.len());
        if together == 1 {
            let (service, number) = place(self.take_turn());
            // The path of `Service::heartbeat_path`, without its allocations.
            let id = &service.id;
            let written = write!(
                request,
                "PUT {BASE}/microservices/{id}/instances/{number:032x}/heartbeat HTTP/1.1\r\nHost: bench\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            written.expect("memory takes what is written");
            return 1;
        }
        let instances: Vec<String> = (0..together)
            .map(|_| {
                let (service, number) = place(self.take_turn());
                let instance = instance_id(number);
                format!("{{\"serviceId\":\"{}\",\"instanceId\":\"{instance}\"}}", service.id)
            })
            .collect();
        let body = format!("{{\"Instances\":[{}]}}", instances.join(","));
        let written = write!(
            request,
            "PUT {BASE}/heartbeats HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        written.expect("memory takes what is written");
        together
    }
}
