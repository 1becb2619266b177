//! Somebody sets the date, forwards and backwards by hours: what is dated shows it, and nothing that lives by time does.

use super::*;
use crate::actors::watch::guard::HoldRule;
use crate::actors::watch::messages::ListHeld;
use crate::rbac::Grant;

const BEGIN: u64 = 1_790_000_000;
const HOUR: u64 = 3600;
/// Where the wall clock is set to, one after another.
const JUMPS: [u64; 6] = [BEGIN + 6 * HOUR, BEGIN - 12 * HOUR, 0, BEGIN + 20_000 * HOUR, BEGIN, BEGIN];
/// What passes after each; leases live 120 s.
const STEP: Duration = Duration::from_secs(40);

impl Stage {
    /// Timestamp and modTimestamp, as they are shown.
    fn times(&self, id: &str) -> (String, String) {
        let document = self.document(id);
        (document.timestamp, document.mod_timestamp)
    }

    /// The expired instances that are still shown: which, why, since when, and for how long at most.
    async fn held(&self) -> Vec<(InstanceRef, HoldRule, Duration, Duration)> {
        let all = ListHeld { service: None, grant: Grant::All, after: None, limit: usize::MAX };
        let held = ask(&self.watch, all, PATIENCE).await.unwrap().instances;
        held.into_iter().map(|held| (held.at, held.rule, held.held_for, held.released_in)).collect()
    }

    /// Waits until the end of a lease is known, and held back.
    async fn holds_an_expiry(&self) {
        let asking = async {
            while self.held().await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap();
    }

    /// A beat, until it is renewed.
    async fn beats(&self, id: &str) {
        let entry = self.entry(id).unwrap();
        let mark = entry.lease.clone().unwrap();
        let before = mark.lives_until(0);
        self.beat(id, &entry);
        eventually("a renewal", || mark.lives_until(0) > before).await;
    }
}

#[actix::test]
async fn a_jump_of_the_wall_clock_ends_no_lease_and_dates_only_what_is_changed_then() {
    let clock = Clock::manual(BEGIN);
    let stage = Stage::set_by(clock.clone(), DependencyMode::Direct).await;
    let first = BEGIN.to_string();
    let mut ids = vec!["beats".to_owned()];
    let registered = stage.registered("beats").await;
    let lease = lease_of(&registered);
    stage.registered("silent").await;
    for (round, to) in (1..).zip(JUMPS) {
        clock.jump(to);
        clock.advance(STEP);
        let now = (to + STEP.as_secs()).to_string();
        for id in &ids {
            stage.beats(id).await;
        }
        if STEP * round < Duration::from_secs(120) {
            assert!(stage.entry("silent").is_some(), "{round}");
            assert_eq!(stage.held().await, []);
        }
        let status = if round % 2 == 0 { "UP" } else { "TESTING" };
        stage.change("beats", InstanceEdit::Status(status.into())).await;
        assert_eq!(stage.times("beats"), (first.clone(), now.clone()), "a changed status");
        // Registered again, and changed, it is what it was.
        let again = stage.register_on("beats", &format!("host{round}")).await.unwrap();
        stage.seen(again).await;
        assert_eq!(stage.times("beats"), (first.clone(), now.clone()), "another document");
        let id = format!("new{round}");
        stage.registered(&id).await;
        assert_eq!(stage.times(&id), (now.clone(), now), "a new one");
        ids.push(id);
    }
    eventually("the end of the silent one", || stage.entry("silent").is_none()).await;
    assert_eq!(stage.count().await, ids.len());
    assert_eq!(lease_of(&stage.entry("beats").unwrap()), lease, "it was never written again");
    assert_eq!(stage.held().await, []);
}

#[actix::test]
async fn an_expiry_waits_its_window_whatever_the_wall_clock_says() {
    let clock = Clock::manual(BEGIN);
    let stage = Stage::set_by(clock.clone(), DependencyMode::Direct).await;
    stage.registered("beats").await;
    stage.registered("silent").await;
    clock.advance(Duration::from_secs(60));
    stage.beats("beats").await;
    clock.advance(Duration::from_secs(61));
    stage.holds_an_expiry().await;
    let waits = vec![(stage.at("silent"), HoldRule::Window, Duration::ZERO, Duration::from_secs(2))];
    for (round, to) in (1..).zip(JUMPS) {
        clock.jump(to);
        // What is published now is judged by now.
        stage.registered(&format!("new{round}")).await;
        assert_eq!(stage.held().await, waits);
        assert!(stage.entry("silent").is_some());
    }
    clock.advance(Duration::from_secs(2));
    stage.registered("afterwards").await;
    assert_eq!((stage.held().await, stage.entry("silent").is_some()), (vec![], false));
    assert!(stage.entry("beats").is_some());
}
