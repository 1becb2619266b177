//! An explanation says what the find answers.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::random::{APPS, ENVIRONMENTS, NAMES, TAGS, one_of, world};
use super::*;
use crate::cache::explain::Verdict;
use crate::cache::statuses::InstanceStatus;

fn shared_names() -> SharedServices {
    SharedServices::new(["global".to_owned()], "production")
}

/// How often the verdict came, so that a verdict that never comes is noticed.
fn compare(
    snapshot: &Snapshot,
    random: &mut StdRng,
    seen: &mut std::collections::BTreeMap<&'static str, u32>,
) {
    let (tenant, shared) = (tenant(), shared_names());
    let tags: Vec<&str> = TAGS.into_iter().filter(|_| random.random_range(0..5) == 0).collect();
    let consumer = match random.random_range(0..4) {
        0 => String::new(),
        _ => format!("s{}", random.random_range(0..13)),
    };
    let query = FindQuery {
        tenant: &tenant,
        target: &tenant,
        environment: one_of(random, &ENVIRONMENTS),
        app_id: one_of(random, &APPS),
        name: if random.random_range(0..4) == 0 { "nick" } else { one_of(random, &NAMES) },
        tags: &tags,
        consumer: &consumer,
    };
    let explained = snapshot.explain(&query, &shared);
    *seen.entry(explained.verdict.name()).or_default() += 1;
    let up = explained.statuses.of(InstanceStatus::Up);
    match snapshot.find(&query, &shared) {
        Err(error) => {
            let is_about_consumer = error.detail == format!("Consumer[{consumer}] does not exist.");
            let expected = if is_about_consumer { Verdict::NoConsumer } else { Verdict::NoProvider };
            assert_eq!(explained.verdict, expected, "{query:?}: {error:?}");
            assert_eq!((explained.statuses.total(), explained.is_recorded), (0, None));
        }
        Ok(found) => {
            let answered = ids(&found.answer);
            let visible = explained.versions.iter().filter(|version| version.is_visible());
            let shown: Vec<String> = visible
                .clone()
                .flat_map(|version| version.node.instances.entries().map(|(id, _)| id.to_string()))
                .collect();
            assert_eq!(answered, shown, "{query:?}");
            assert_eq!(explained.statuses.total(), answered.len(), "{query:?}");
            let expected = match (visible.count(), answered.len(), up) {
                (0, ..) => Verdict::NotVisible,
                (_, 0, _) => Verdict::NoInstance,
                (_, _, 0) => Verdict::NoneUp,
                _ => Verdict::Found,
            };
            assert_eq!(explained.verdict, expected, "{query:?}");
            assert_eq!(found.dependency.is_some(), explained.is_recorded == Some(false), "{query:?}");
        }
    }
}

#[test]
fn the_verdict_is_what_the_find_answers() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..150 {
        let mut world = world(seed);
        let random = &mut StdRng::seed_from_u64(seed);
        let snapshot = world.snapshot();
        for _ in 0..100 {
            compare(&snapshot, random, &mut seen);
        }
    }
    assert_eq!(seen.len(), 6, "some verdict never came: {seen:?}");
}
