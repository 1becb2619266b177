//! Counts the answered requests: by route, domain and status, with their durations.
//!
//! Each thread that serves requests has cells of its own, so that threads do not slow each other down: a cell has one writer, and
//! counting takes no atomic read-modify-write. A scrape adds the cells of all threads.
//!
//! Memory is bounded: at most [`MOST_DOMAINS`] domains have cells of their own, because strangers choose the names of domains. A
//! domain gets cells when the registry holds it, not when a request names it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{BUCKETS, Counts, Measured, Window, nanos};
use super::page::Page;
use super::{
    HTTP_REQUEST_DURATION, HTTP_REQUESTS, ORIGINAL_REQUEST_DURATIONS, ORIGINAL_REQUEST_RATE,
    ORIGINAL_REQUESTS, ORIGINAL_SUCCESSES, WRITES,
};

/// The routes that can be told apart. Further ones count as requests without a route.
pub const MOST_ROUTES: usize = 192;
/// The domains that can be told apart, with `default` and the one for all others.
pub const MOST_DOMAINS: usize = 32;
/// The label value of all other domains.
const OTHER: &str = "other";

const CLASSES: usize = 5;
const CLASS_NAMES: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The statuses that the server answers, by class.
const CODES: [&[u16]; CLASSES] = [
    &[101],
    &[200, 201, 202, 204],
    &[304],
    &[400, 401, 403, 404, 405, 408, 409, 413, 415, 426, 429, 431],
    &[500, 501, 503, 505],
];
/// The most statuses of a class, and one for all others.
const MOST_CODES: usize = 13;

/// A route that requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteNumber(usize);

impl RouteNumber {
    /// Of requests that match no route.
    pub const NONE: Self = Self(0);
}

/// A domain that requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainNumber(usize);

impl DomainNumber {
    pub const DEFAULT: Self = Self(0);
    const OTHER: Self = Self(1);
}

/// The labels of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLabels {
    pub method: &'static str,
    /// The pattern of the path.
    pub route: &'static str,
    /// The name of the handler in the original server.
    pub api: String,
    /// The operation of a route that changes the registry.
    pub writes: Option<&'static str>,
}

static ENABLED: AtomicBool = AtomicBool::new(true);

/// Stops counting, for `metrics.enable: false`.
pub fn disable() {
    ENABLED.store(false, Ordering::Relaxed);
}

/// Whether requests are counted.
pub fn are_counted() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

static ROUTES: Mutex<Vec<RouteLabels>> = Mutex::new(Vec::new());

/// The number of a route. The same route has the same number each time.
pub fn route(labels: RouteLabels) -> RouteNumber {
    let mut routes = ROUTES.lock();
    if routes.is_empty() {
        routes.push(RouteLabels { method: "", route: "", api: String::new(), writes: None });
    }
    let is_same = |known: &RouteLabels| (known.method, known.route) == (labels.method, labels.route);
    if let Some(known) = routes.iter().position(is_same) {
        return RouteNumber(known);
    }
    if routes.len() == MOST_ROUTES {
        return RouteNumber::NONE;
    }
    routes.push(labels);
    RouteNumber(routes.len() - 1)
}

/// Twice the number of domains, so that a look-up ends soon at a free place.
const DOMAIN_PLACES: usize = 2 * MOST_DOMAINS;
/// The domains with a number, at the place of their hash or after it. A place that is taken never changes.
static DOMAINS: [OnceLock<(Box<str>, DomainNumber)>; DOMAIN_PLACES] =
    [const { OnceLock::new() }; DOMAIN_PLACES];
/// How many numbers are given away.
static DOMAIN_COUNT: Mutex<usize> = Mutex::new(2);

/// The number of a domain.
pub fn domain(name: &str) -> DomainNumber {
    if name == "default" {
        return DomainNumber::DEFAULT;
    }
    for place in places_of(name) {
        match place.get() {
            Some((known, number)) if **known == *name => return *number,
            Some(_) => {}
            None => return DomainNumber::OTHER,
        }
    }
    DomainNumber::OTHER
}

/// Gives a domain a number, if there are any left. Called when the registry holds the domain.
pub fn learn_domain(name: &str) {
    if name == OTHER || domain(name) != DomainNumber::OTHER {
        return;
    }
    let mut count = DOMAIN_COUNT.lock();
    if *count == MOST_DOMAINS || domain(name) != DomainNumber::OTHER {
        return;
    }
    if let Some(free) = places_of(name).find(|place| place.get().is_none())
        && free.set((name.into(), DomainNumber(*count))).is_ok()
    {
        *count += 1;
    }
}

/// The label value of a domain.
pub fn domain_label(name: &str) -> &str {
    if domain(name) == DomainNumber::OTHER { OTHER } else { name }
}

fn places_of(name: &str) -> impl Iterator<Item = &'static OnceLock<(Box<str>, DomainNumber)>> {
    // FNV-1a. Names that share a place cost a few comparisons, because there are at most 30 names.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = name.bytes().fold(2_166_136_261, mix);
    let first = usize::try_from(hash).unwrap_or(0) % DOMAIN_PLACES;
    DOMAINS.iter().cycle().skip(first).take(DOMAIN_PLACES)
}

/// The requests of one route and domain with one class of statuses, on one thread.
#[derive(Debug, Default)]
#[repr(align(64))]
struct RequestCells {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    codes: [AtomicU64; MOST_CODES],
}

/// The cells of a thread.
#[derive(Debug, Default)]
struct ThreadCells([OnceLock<Box<DomainCells>>; MOST_DOMAINS]);

/// By route and class.
#[derive(Debug)]
struct DomainCells([OnceLock<Box<RequestCells>>; MOST_ROUTES * CLASSES]);

impl Default for DomainCells {
    fn default() -> Self {
        Self([const { OnceLock::new() }; MOST_ROUTES * CLASSES])
    }
}

/// Adds to a cell that this thread alone writes.
fn bump(cell: Option<&AtomicU64>, by: u64) {
    if let Some(cell) = cell {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

impl ThreadCells {
    fn count(&self, route: RouteNumber, domain: DomainNumber, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES) - 1;
        let cells = self
            .0
            .get(domain.0)
            .and_then(|cells| cells.get_or_init(Box::default).0.get(route.0 * CLASSES + class));
        let Some(cells) = cells.map(|cells| cells.get_or_init(Box::default)) else { return };
        let nanos = nanos(took);
        bump(cells.buckets.get(Measured::Time.bucket(nanos)), 1);
        bump(Some(&cells.sum), nanos);
        let codes = CODES.get(class).copied().unwrap_or_default();
        let code = codes.iter().position(|known| *known == status).unwrap_or(MOST_CODES - 1);
        bump(cells.codes.get(code), 1);
    }
}

#[derive(Debug)]
struct Threads {
    all: Vec<Arc<ThreadCells>>,
    /// Of threads that have ended.
    free: Vec<Arc<ThreadCells>>,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { all: Vec::new(), free: Vec::new() });

/// The cells of this thread. The next thread gets them when this one has ended, so that nothing that was counted is lost.
struct OwnCells(Arc<ThreadCells>);

impl OwnCells {
    fn take() -> Self {
        let Threads { all, free } = &mut *THREADS.lock();
        Self(free.pop().unwrap_or_else(|| {
            let cells = Arc::<ThreadCells>::default();
            all.push(Arc::clone(&cells));
            cells
        }))
    }
}

impl Drop for OwnCells {
    fn drop(&mut self) {
        THREADS.lock().free.push(Arc::clone(&self.0));
    }
}

thread_local! {
    static OWN: RefCell<Option<OwnCells>> = const { RefCell::new(None) };
}

/// Counts an answered request.
pub fn count(route: RouteNumber, domain: DomainNumber, status: u16, took: Duration) {
    // A thread that ends answers no requests.
    let _ = OWN.try_with(|own| {
        own.borrow_mut().get_or_insert_with(OwnCells::take).0.count(route, domain, status, took);
    });
}

/// The requests of one class of statuses.
#[derive(Clone, Copy, Debug, Default)]
struct ClassCounts {
    counts: Counts,
    codes: [u64; MOST_CODES],
}

type Gathered = BTreeMap<(DomainNumber, RouteNumber), [ClassCounts; CLASSES]>;

/// Adds the cells of all threads.
fn gather() -> Gathered {
    let threads = THREADS.lock().all.clone();
    let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let mut gathered = Gathered::new();
    for thread in threads {
        for (domain, cells) in thread.0.iter().enumerate() {
            let slots = cells.get().into_iter().flat_map(|cells| cells.0.iter().enumerate());
            for (slot, cells) in slots.filter_map(|(slot, cells)| Some((slot, cells.get()?))) {
                let at = (DomainNumber(domain), RouteNumber(slot / CLASSES));
                let Some(sums) = gathered.entry(at).or_default().get_mut(slot % CLASSES) else { continue };
                let buckets = std::array::from_fn(|at| cells.buckets.get(at).map_or(0, load));
                sums.counts.add(&Counts { buckets, sum: load(&cells.sum) });
                sums.codes.iter_mut().zip(&cells.codes).for_each(|(sum, cell)| *sum += load(cell));
            }
        }
    }
    gathered
}

/// The requests of a route that a duration says something about. An upgrade to a websocket does not.
fn timed(classes: &[ClassCounts; CLASSES]) -> Counts {
    let mut counts = Counts::default();
    classes.iter().skip(1).for_each(|class| counts.add(&class.counts));
    counts
}

/// By the name of the handler instead of the route. The key has the first route of that name and method.
fn by_handler(gathered: &Gathered, routes: &[RouteLabels]) -> Gathered {
    let mut sums = Gathered::new();
    for ((domain, number), classes) in gathered {
        let Some(labels) = routes.get(number.0).filter(|_| *number != RouteNumber::NONE) else { continue };
        let is_same = |known: &RouteLabels| (known.method, &known.api) == (labels.method, &labels.api);
        let first = routes.iter().position(is_same).unwrap_or(number.0);
        add(sums.entry((*domain, RouteNumber(first))).or_default(), classes);
    }
    sums
}

fn add(sums: &mut [ClassCounts; CLASSES], classes: &[ClassCounts; CLASSES]) {
    for (sum, class) in sums.iter_mut().zip(classes) {
        sum.counts.add(&class.counts);
        sum.codes.iter_mut().zip(class.codes).for_each(|(sum, count)| *sum += count);
    }
}

#[derive(Debug)]
struct Windows {
    /// The time of the last two ticks.
    ticks: [Duration; 2],
    /// By domain and handler.
    of: Option<HashMap<(DomainNumber, RouteNumber), Window>>,
}

static WINDOWS: Mutex<Windows> = Mutex::new(Windows { ticks: [Duration::ZERO; 2], of: None });

pub(super) fn tick(now: Duration) {
    let routes = ROUTES.lock().clone();
    let mut windows = WINDOWS.lock();
    windows.ticks = [windows.ticks[1], now];
    let windows = windows.of.get_or_insert_default();
    for (at, classes) in by_handler(&gather(), &routes) {
        windows.entry(at).or_default().tick(now, timed(&classes));
    }
}

pub(super) fn collect(page: &mut Page) {
    if !are_counted() {
        return;
    }
    let mut domains = [""; MOST_DOMAINS];
    for (name, number) in DOMAINS.iter().filter_map(OnceLock::get) {
        if let Some(label) = domains.get_mut(number.0) {
            *label = name;
        }
    }
    domains[..2].copy_from_slice(&["default", OTHER]);
    let (routes, windows, gathered) = (ROUTES.lock().clone(), WINDOWS.lock(), gather());
    for ((domain, number), classes) in by_handler(&gathered, &routes) {
        let (Some(labels), Some(of)) = (routes.get(number.0), domains.get(domain.0)) else { continue };
        let (api, method) = (labels.api.as_str(), labels.method);
        for (class, (sums, codes)) in classes.iter().zip(CODES).enumerate() {
            let other = CLASS_NAMES.get(class).copied().unwrap_or_default();
            for (at, count) in sums.codes.iter().enumerate().filter(|(_, count)| **count > 0) {
                let code = codes.get(at).map_or_else(|| other.to_owned(), u16::to_string);
                let labels = [api, &code, of, method];
                page.value(&ORIGINAL_REQUESTS, &labels, *count as f64);
                if class < CLASSES - 1 {
                    page.value(&ORIGINAL_SUCCESSES, &labels, *count as f64);
                }
            }
        }
        let counts = timed(&classes);
        if counts.count() > 0 {
            let window = windows.of.as_ref().and_then(|of| of.get(&(domain, number)));
            let window = window.unwrap_or(const { &Window::new() });
            page.summary(&ORIGINAL_REQUEST_DURATIONS, &[api, of, method], &counts, &window.minute(&counts));
            let rate = window.rate(page.now, windows.ticks[0], &counts);
            page.value(&ORIGINAL_REQUEST_RATE, &[api, of, method], rate);
        }
    }
    let mut by_route: BTreeMap<RouteNumber, [ClassCounts; CLASSES]> = BTreeMap::new();
    for ((_, number), classes) in &gathered {
        add(by_route.entry(*number).or_default(), classes);
    }
    let mut by_class = [0; CLASSES];
    for (number, classes) in by_route {
        let Some(labels) = routes.get(number.0) else { continue };
        for ((class, name), total) in classes.iter().zip(CLASS_NAMES).zip(&mut by_class) {
            let count = class.counts.count();
            *total += count;
            if count > 0 {
                let labels = [labels.method, labels.route, name];
                page.histogram(&HTTP_REQUEST_DURATION, &labels, Measured::Time, &class.counts);
            }
        }
        if let Some(operation) = labels.writes {
            for (outcome, count) in outcomes(&classes) {
                page.value(&WRITES, &[operation, outcome], count as f64);
            }
        }
    }
    for (name, total) in CLASS_NAMES.into_iter().zip(by_class) {
        page.value(&HTTP_REQUESTS, &[name], total as f64);
    }
}

/// What became of the writes of a route.
fn outcomes(classes: &[ClassCounts; CLASSES]) -> impl Iterator<Item = (&'static str, u64)> {
    let mut sums = [("done", 0), ("rejected", 0), ("overloaded", 0), ("failed", 0)];
    for (class, (of_class, known)) in classes.iter().zip(CODES).enumerate() {
        for (at, count) in of_class.codes.iter().enumerate() {
            let outcome = match (class, known.get(at)) {
                (_, Some(429 | 503)) => 2,
                (3, _) => 1,
                (4, _) => 3,
                _ => 0,
            };
            if let Some((_, sum)) = sums.get_mut(outcome) {
                *sum += count;
            }
        }
    }
    sums.into_iter().filter(|(_, count)| *count > 0)
}

/// How many requests were answered, by the first digit of the status, 1 to 5.
pub fn answered() -> [u64; CLASSES] {
    let mut sums = [0; CLASSES];
    for classes in gather().into_values() {
        sums.iter_mut().zip(classes).for_each(|(sum, class)| *sum += class.counts.count());
    }
    sums
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_place_of_its_own() {
        for (class, codes) in CODES.iter().enumerate() {
            assert!(codes.len() < MOST_CODES);
            assert!(codes.iter().all(|code| usize::from(*code / 100) == class + 1));
        }
    }

    #[test]
    fn what_threads_have_counted_stays_when_they_end() {
        let labels = |route| RouteLabels { method: "GET", route, api: "Of".to_owned(), writes: None };
        let (one, other) = (route(labels("/a-test/one")), route(labels("/a-test/other")));
        assert_eq!(route(labels("/a-test/one")), one);
        assert_ne!(one, other);
        for _ in 0..3 {
            let counting = move || {
                count(one, DomainNumber::DEFAULT, 200, Duration::from_millis(2));
                count(one, DomainNumber::DEFAULT, 404, Duration::from_micros(10));
                count(other, DomainNumber::OTHER, 299, Duration::from_secs(9));
            };
            std::thread::spawn(counting).join().unwrap();
        }
        let gathered = gather();
        let [_, done, _, rejected, _] = gathered[&(DomainNumber::DEFAULT, one)];
        assert_eq!((done.counts.count(), done.counts.sum, done.codes[0]), (3, 6_000_000, 3));
        assert_eq!((rejected.counts.buckets[0], rejected.codes[3]), (3, 3));
        let [_, odd, ..] = gathered[&(DomainNumber::OTHER, other)];
        assert_eq!((odd.counts.buckets[BUCKETS - 1], odd.codes[MOST_CODES - 1]), (3, 3));
    }

    #[test]
    fn only_so_many_domains_have_a_number() {
        assert_eq!(domain("stranger"), DomainNumber::OTHER);
        for number in 0..2 * MOST_DOMAINS {
            learn_domain(&format!("learned-{number}"));
        }
        // Other tests of this process may have taught some.
        assert_eq!(*DOMAIN_COUNT.lock(), MOST_DOMAINS);
        let known: Vec<_> = DOMAINS.iter().filter_map(OnceLock::get).collect();
        let numbers: std::collections::BTreeSet<_> = known.iter().map(|(_, number)| *number).collect();
        assert_eq!((known.len(), numbers.len()), (MOST_DOMAINS - 2, MOST_DOMAINS - 2));
        assert!(known.iter().all(|(name, number)| domain(name) == *number && domain_label(name) == &**name));
        assert_eq!(domain_label("learned-63"), OTHER);
        assert_eq!(domain_label("default"), "default");
    }
}
