//! Searches compared with a naive one, which decodes and sorts everything.

use std::cmp::Reverse;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::random::{APPS, ENDPOINTS, ENVIRONMENTS, HOSTS, NAMES, one_of, world};
use super::*;
use crate::cache::search::text::{KeptTexts, ServiceTexts};
use crate::cache::search::{
    InstanceConditions, InstanceSearch, InstanceSort, Needle, Order, PageFrame, ServiceConditions,
    ServiceSearch, ServiceSort, ServiceState,
};
use crate::domain::{Instance, version};

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

/// A text that is part of some.
fn part(random: &mut StdRng) -> Option<String> {
    if random.random_range(0..3) > 0 {
        return None;
    }
    let whole = match random.random_range(0..4) {
        0 => one_of(random, &NAMES),
        1 => one_of(random, &HOSTS),
        2 => one_of(random, &ENDPOINTS),
        _ => one_of(random, &["i1", "s", "hostName", "status", "8080", "\\", "u003c", "none"]),
    };
    let characters: Vec<char> = whole.chars().collect();
    let from = random.random_range(0..=characters.len() / 2);
    let most = random.random_range(1..=8);
    let part: String = characters.into_iter().skip(from).take(most).collect();
    let part = if random.random() { part.to_uppercase() } else { part };
    Some(part).filter(|part| !part.is_empty())
}

fn maybe<T>(random: &mut StdRng, draw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    (random.random_range(0..5) == 0).then(|| draw(random))
}

fn order(random: &mut StdRng) -> Order {
    if random.random() { Order::Ascending } else { Order::Descending }
}

/// What a naive search knows of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NaiveService {
    number: i64,
    name: String,
    app: String,
    environment: String,
}

#[derive(Debug)]
struct Asked<S> {
    sort: S,
    order: Order,
    most: usize,
}

fn naive_services(
    view: &TenantView,
    search: Option<&str>,
    conditions: &ServiceConditions,
    sort: ServiceSort,
) -> (Vec<NaiveService>, [usize; 4]) {
    let (mut found, mut states) = (Vec::new(), [0; 4]);
    for (path, node) in view.names() {
        let parts: Vec<&str> = path.split('/').collect();
        let (environment, app, name) = (parts[0], parts[1], parts[2]);
        let nodes: Vec<_> =
            node.versions().iter().filter_map(|known| view.node(known.service.as_str())).collect();
        let texts = node.versions().iter().flat_map(|known| {
            let alias =
                view.service(known.service.as_str()).map(|service| service.record.document.alias.clone());
            [Some(known.service.to_string()), alias]
        });
        let mut texts = texts.flatten().chain([name.to_owned(), app.to_owned()]);
        if !search.is_none_or(|part| texts.any(|text| contains(&text, part)))
            || conditions.environment.as_ref().is_some_and(|wanted| wanted != environment)
            || conditions.app_id.as_ref().is_some_and(|wanted| wanted != app)
        {
            continue;
        }
        let statuses: Vec<String> = nodes
            .iter()
            .flat_map(|node| node.instances.iter())
            .map(|entry| json::decode::<Instance>(&entry.json()).unwrap().status)
            .collect();
        let up = statuses.iter().filter(|status| *status == "UP").count();
        let state = match (up, statuses.len()) {
            (_, 0) => ServiceState::Empty,
            (0, _) => ServiceState::NoneUp,
            (up, all) if up < all => ServiceState::SomeDown,
            _ => ServiceState::AllUp,
        };
        states[state as usize] += 1;
        if conditions.state.is_some_and(|wanted| wanted != state) {
            continue;
        }
        let number = match sort {
            ServiceSort::Name => 0,
            ServiceSort::Instances => i64::try_from(statuses.len()).unwrap(),
            ServiceSort::Changed => nodes.iter().map(|node| node.active_at).max().unwrap_or(0),
        };
        let (name, app, environment) = (name.to_owned(), app.to_owned(), environment.to_owned());
        found.push(NaiveService { number, name, app, environment });
    }
    (found, states)
}

#[test]
fn services_are_found_as_by_a_naive_search_on_every_page() {
    for seed in 0..120 {
        let random = &mut StdRng::seed_from_u64(seed);
        let snapshot = world(seed).snapshot();
        let Some(view) = snapshot.tenant(&tenant()) else { continue };
        for _ in 0..30 {
            let search = part(random);
            let conditions = ServiceConditions {
                search: search.as_deref().and_then(Needle::new),
                environment: maybe(random, |random| one_of(random, &ENVIRONMENTS).to_owned()),
                app_id: maybe(random, |random| one_of(random, &APPS).to_owned()),
                state: maybe(random, |random| ServiceState::ALL[random.random_range(0..4)]),
            };
            let sorts = [ServiceSort::Name, ServiceSort::Instances, ServiceSort::Changed];
            let asked = Asked {
                sort: sorts[random.random_range(0..3)],
                order: order(random),
                most: random.random_range(1..5),
            };
            let (mut expected, states) = naive_services(view, search.as_deref(), &conditions, asked.sort);
            match asked.order {
                Order::Ascending => expected.sort(),
                Order::Descending => expected.sort_by_key(|service| Reverse(service.clone())),
            }
            let mut pages: Vec<NaiveService> = Vec::new();
            loop {
                let last = pages.last().cloned();
                let after = last.as_ref().map(|last| crate::cache::search::ServicePlace {
                    number: last.number,
                    name: &last.name,
                    app_id: &last.app,
                    environment: &last.environment,
                });
                let frame = PageFrame { order: asked.order, after, most: asked.most };
                let mut found = ServiceSearch::new(view, &conditions, asked.sort, frame);
                view.names().for_each(|(path, node)| found.look(path, node));
                let place = format!("seed {seed}: {search:?} {conditions:?} {asked:?}");
                assert_eq!((found.total, found.states), (expected.len(), states), "{place}");
                let page = found.into_page();
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= asked.most);
                pages.extend(page.iter().map(|(at, found)| {
                    assert_eq!(
                        (at.name, at.app_id, at.environment),
                        (found.name, found.app_id, found.environment)
                    );
                    let (name, app, environment) = (at.name.into(), at.app_id.into(), at.environment.into());
                    NaiveService { number: at.number, name, app, environment }
                }));
            }
            assert_eq!(pages, expected, "seed {seed}: {search:?} {conditions:?} {asked:?}");
        }
    }
}

/// What a naive search sorts an instance by, and its place in words.
type NaiveInstance = ((i64, String), [String; 3], (Option<[u16; 4]>, String), [String; 2]);

fn naive_instances(
    view: &TenantView,
    texts: &[Option<String>; 3],
    conditions: &InstanceConditions,
    sort: InstanceSort,
) -> (Vec<NaiveInstance>, StatusCounts) {
    let (mut found, mut statuses) = (Vec::new(), StatusCounts::default());
    let [search, host, endpoint] = texts;
    let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
    for (id, node) in view.nodes() {
        let Some(service) = node.view.as_ref().map(|view| &view.record.document) else { continue };
        for entry in node.instances.iter() {
            let instance: Instance = json::decode(&entry.json()).unwrap();
            let has =
                |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|part| contains(text, part));
            let any = |wanted: &Option<String>| {
                wanted.is_none() || instance.endpoints.iter().any(|text| has(wanted, text))
            };
            let port = |text: &String| match text.as_str() {
                "rest://10.0.0.7:8080" | "grpc://[fd00::4]:8080" | "rest://h:8080?a=b" => Some(8080),
                "rest://10.0.0.7:80/x:8080" => Some(80),
                _ => None,
            };
            let is_searched = has(search, &service.service_name)
                || has(search, &instance.host_name)
                || has(search, &instance.instance_id)
                || any(search);
            let fulfils = is_searched
                && has(host, &instance.host_name)
                && any(endpoint)
                && conditions
                    .port
                    .is_none_or(|wanted| instance.endpoints.iter().any(|text| port(text) == Some(wanted)))
                && conditions.properties.iter().all(|(name, value)| {
                    instance
                        .properties
                        .get(name)
                        .is_some_and(|has| value.as_ref().is_none_or(|value| value == has))
                })
                && is(&conditions.environment, &service.environment)
                && is(&conditions.app_id, &service.app_id)
                && is(&conditions.service_name, &service.service_name)
                && is(&conditions.service_id, id.as_str());
            if !fulfils {
                continue;
            }
            let status = InstanceStatus::of(instance.status.as_bytes());
            statuses.add(status);
            if conditions.status.is_some_and(|wanted| wanted != status) {
                continue;
            }
            let first = match sort {
                InstanceSort::Service => (0, String::new()),
                InstanceSort::Host => (0, instance.host_name.clone()),
                InstanceSort::Status => (status as i64, String::new()),
                InstanceSort::Changed => (entry.mod_revision, String::new()),
            };
            let names = [&service.service_name, &service.app_id, &service.environment].map(Clone::clone);
            let version = (version::parse(&service.version), service.version.clone());
            found.push((first, names, version, [id.to_string(), instance.instance_id]));
        }
    }
    (found, statuses)
}

#[test]
fn instances_are_found_as_by_a_naive_search_on_every_page() {
    for seed in 0..120 {
        let random = &mut StdRng::seed_from_u64(seed);
        let snapshot = world(seed).snapshot();
        let Some(view) = snapshot.tenant(&tenant()) else { continue };
        for _ in 0..30 {
            let texts = [part(random), part(random), part(random)];
            let needle = |text: &Option<String>| text.as_deref().and_then(Needle::new);
            let conditions = InstanceConditions {
                environment: maybe(random, |random| one_of(random, &ENVIRONMENTS).to_owned()),
                app_id: maybe(random, |random| one_of(random, &APPS).to_owned()),
                service_name: maybe(random, |random| one_of(random, &NAMES).to_owned()),
                service_id: maybe(random, |_| "s1".to_owned()),
                search: needle(&texts[0]),
                host: needle(&texts[1]),
                endpoint: needle(&texts[2]),
                port: maybe(random, |random| [80, 8080, 8][random.random_range(0..3)]),
                properties: (0..random.random_range(0..2))
                    .map(|_| {
                        let value = maybe(random, |random| one_of(random, &["a", "UP", "\"<"]).to_owned());
                        (one_of(random, &["zone", "status", "alpha"]).to_owned(), value)
                    })
                    .collect(),
                status: maybe(random, |random| InstanceStatus::STORED[random.random_range(0..5)]),
            };
            let sorts =
                [InstanceSort::Service, InstanceSort::Host, InstanceSort::Status, InstanceSort::Changed];
            let asked = Asked {
                sort: sorts[random.random_range(0..4)],
                order: order(random),
                most: random.random_range(1..20),
            };
            let (mut expected, statuses) = naive_instances(view, &texts, &conditions, asked.sort);
            match asked.order {
                Order::Ascending => expected.sort(),
                Order::Descending => expected.sort_by_key(|instance| Reverse(instance.clone())),
            }
            let expected: Vec<[String; 2]> = expected.into_iter().map(|(.., ids)| ids).collect();
            let place = format!("seed {seed}: {texts:?} {conditions:?} {asked:?}");
            let (mut pages, mut after) = (Vec::new(), None);
            let kept = KeptTexts::default();
            loop {
                let frame = PageFrame { order: asked.order, after, most: asked.most };
                let mut found = InstanceSearch::new(&conditions, asked.sort, frame);
                for (_, node) in view.nodes() {
                    let Some(service) = &node.view else { continue };
                    let Some(of) = found.enter(service, node) else { continue };
                    // Half of the searches find what another one has kept.
                    let texts = node.texts.load().filter(|_| random.random());
                    let texts = texts.unwrap_or_else(|| {
                        let (mut texts, all) = (ServiceTexts::default(), node.instances.len());
                        let entries: Vec<_> = node.instances.iter().collect();
                        entries.chunks(3).for_each(|some| texts.add(some, all));
                        node.texts.keep(texts, &kept)
                    });
                    for from in (0..texts.len()).step_by(5) {
                        found.look(&of, &texts, from..texts.len().min(from + 5));
                    }
                }
                assert_eq!((found.total, found.statuses), (expected.len(), statuses), "{place}");
                let page = found.into_page();
                assert!(page.len() <= asked.most);
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                pages.extend(page.iter().map(|(at, found)| {
                    [found.service.id.to_string(), String::from_utf8_lossy(&at.instance).into_owned()]
                }));
            }
            assert_eq!(pages, expected, "{place}");
        }
    }
}

#[test]
fn kept_texts_go_with_the_first_change_of_an_instance() {
    let mut world = world(7);
    let snapshot = world.snapshot();
    let view = snapshot.tenant(&tenant()).unwrap();
    let kept = KeptTexts::default();
    let keep = || {
        for (_, node) in view.nodes() {
            let (mut texts, entries) = (ServiceTexts::default(), node.instances.iter().collect::<Vec<_>>());
            texts.add(&entries, entries.len());
            node.texts.keep(texts, &kept);
        }
    };
    keep();
    let (bytes, number) = (kept.bytes(), view.nodes().count());
    assert!(bytes > 0 && number > 1);
    keep();
    assert_eq!(kept.bytes(), bytes, "former texts are dropped");
    let (changed, _) = view.nodes().find(|(_, node)| node.view.is_some()).unwrap();
    let changed = changed.to_string();
    let new = Instance { instance_id: "new".into(), service_id: changed.clone(), ..Instance::default() };
    world.put_document_of(&new);
    let next = world.snapshot();
    let (mut with, mut without) = (0, Vec::new());
    for (id, node) in next.tenant(&tenant()).unwrap().nodes() {
        match node.texts.load() {
            Some(_) => with += 1,
            None => without.push(id.to_string()),
        }
    }
    assert_eq!((with, without), (number - 1, vec![changed]));
    drop(snapshot);
}
