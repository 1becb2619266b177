//! Which expiries are held, and for how long.

use super::super::guard::{ExpiryFacts, ExpiryGuard, GuardVerdict, HoldReport, HoldRule, WINDOW};
use super::{Duration, GuardRules, InstanceRef, rules, seconds};

fn at(number: usize) -> InstanceRef {
    super::at(&format!("i{number}"))
}

/// `expired` of `total` instances expire at second 100. Checks how many have passed at each of the given seconds.
fn check(share: f64, expired: usize, total: usize, expected: &[(u64, usize)]) {
    let mut guard = ExpiryGuard::new(rules(share));
    for number in 0..expired {
        let expiry =
            ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: total, of_service: 0 };
        guard.expire(at(number), expiry, seconds(100));
    }
    let mut passed = 0;
    for (second, expected) in expected {
        passed += guard.judge(seconds(*second), total - passed, |_| false).pass.len();
        assert_eq!(passed, *expected, "{expired} of {total} at {second}");
    }
}

#[test]
fn one_waits_its_window_only() {
    check(0.2, 1, 1, &[(101, 0), (102, 1)]);
    check(0.2, 1, 1000, &[(101, 0), (102, 1)]);
}

#[test]
fn five_expiries_are_not_held_by_the_share() {
    check(0.2, 5, 5, &[(102, 5)]);
}

#[test]
fn most_are_preserved_for_their_ttl() {
    check(1.0, 9, 10, &[(102, 0), (219, 0), (220, 9)]);
    check(1.0, 7, 10, &[(102, 7)]);
}

/// All eight instances expire. Rule (a) holds them. If (a) is off, rule (b) holds them. If both are off, they pass.
#[test]
fn each_rule_can_be_turned_off() {
    use super::Preservation::{Off, On};
    for (preservation, share, rule) in [
        (On, 1.0, Some(HoldRule::Preservation)),
        (On, 0.2, Some(HoldRule::Preservation)),
        (Off, 0.2, Some(HoldRule::Share)),
        (Off, 1.0, None),
    ] {
        let mut guard = ExpiryGuard::new(GuardRules { preservation, share, service_share: 1.0 });
        for number in 0..8 {
            let expiry =
                ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 8, of_service: 0 };
            guard.expire(at(number), expiry, seconds(100));
        }
        let passed = guard.judge(seconds(102), 8, |_| false).pass.len();
        assert_eq!(passed, if rule.is_some() { 0 } else { 8 }, "{preservation:?}, {share}");
        assert_eq!(rule_of(&guard, 0), rule, "{preservation:?}, {share}");
    }
}

#[test]
fn a_large_share_is_held_for_its_ttl() {
    check(0.2, 21, 100, &[(102, 0), (219, 0), (220, 21)]);
    check(0.2, 20, 100, &[(102, 20)]);
}

#[test]
fn a_cut_that_spreads_over_the_interval_is_seen() {
    let mut guard = ExpiryGuard::new(rules(0.2));
    let mut passed = 0;
    for number in 0..60 {
        let expiry =
            ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 100 - passed, of_service: 0 };
        let now = Duration::from_millis(100_000 + 500 * number as u64);
        guard.expire(at(number), expiry, now);
        passed += guard.judge(now, 100 - passed, |_| false).pass.len();
    }
    assert!((15..=25).contains(&passed), "{passed} passed before the share was met");
}

#[test]
fn one_that_registers_again_is_not_held() {
    let mut guard = ExpiryGuard::new(rules(0.2));
    guard.expire(
        at(1),
        ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 1, of_service: 0 },
        seconds(1),
    );
    guard.forget(&at(1));
    assert_eq!(guard.judge(seconds(10), 1, |_| false), GuardVerdict::default());
    assert_eq!(guard.next_due(), None);
}

#[test]
fn one_for_which_a_beat_is_on_its_way_waits_until_it_is_settled_and_for_600_s_at_most() {
    let mut guard = expired(0.2, 100, &[10, 10]);
    let is_first = |of: &InstanceRef| *of == at(0);
    assert_eq!(guard.judge(seconds(102), 100, is_first).pass, [at(1)]);
    assert_eq!(guard.next_due(), Some(seconds(104)));
    assert_eq!(guard.judge(seconds(104), 99, is_first).pass, []);
    assert_eq!(guard.judge(seconds(106), 99, |_| false).pass, [at(0)], "given up");
    let mut guard = expired(0.2, 100, &[5]);
    for second in (102..700).step_by(2) {
        assert_eq!(guard.judge(seconds(second), 100, |_| true).pass, [], "{second}");
    }
    assert_eq!(guard.judge(seconds(700), 100, |_| true).pass, [at(0)]);
}

#[test]
fn so_does_one_that_a_rule_holds() {
    let mut guard = expired(0.2, 6, &[4; 5]);
    let awaited = |second, which: fn(&InstanceRef) -> bool| (seconds(second), which);
    for (now, is_awaited) in [awaited(102, |_| false), awaited(103, |_| true)] {
        assert_eq!(guard.judge(now, 6, is_awaited).pass, []);
    }
    assert_eq!(
        guard.judge(seconds(104), 6, |of| *of == at(0)).pass.len(),
        4,
        "the store takes no writes for so long"
    );
    assert!(guard.is_held(&at(0)));
    assert_eq!(guard.judge(seconds(106), 2, |of| *of == at(0)).pass, []);
    assert_eq!(guard.judge(seconds(108), 2, |_| false).pass, [at(0)]);
}

/// A guard in which these instances expire at second 100, each with its TTL.
fn expired(share: f64, total: usize, ttls: &[i64]) -> ExpiryGuard {
    let mut guard = ExpiryGuard::new(rules(share));
    for (number, ttl_seconds) in ttls.iter().enumerate() {
        let expiry = ExpiryFacts {
            ttl_seconds: *ttl_seconds,
            interval_seconds: 30,
            shown_before: total,
            of_service: 0,
        };
        guard.expire(at(number), expiry, seconds(100));
    }
    guard
}

fn newly(held: Option<HoldReport>) -> usize {
    held.map_or(0, |held| held.newly)
}

fn rule_of(guard: &ExpiryGuard, number: usize) -> Option<HoldRule> {
    guard.held().find(|(known, ..)| **known == at(number)).map(|(_, rule, ..)| rule)
}

#[test]
fn each_is_let_go_when_its_own_ttl_is_over_and_none_is_held_longer_than_ten_minutes() {
    let mut guard = expired(1.0, 6, &[10, 1, 120, 100_000, 0, -5]);
    assert_eq!(newly(guard.judge(seconds(102), 6, |_| false).preserved), 5);
    assert_eq!(guard.held().count(), 5, "a TTL shorter than the window is over");
    assert_eq!(guard.next_due(), Some(seconds(110)));
    assert_eq!(guard.judge(seconds(110), 5, |_| false).pass, [at(0)]);
    assert_eq!(guard.judge(seconds(220), 4, |_| false).pass, [at(2)]);
    assert_eq!(guard.judge(seconds(699), 3, |_| false).pass, []);
    let mut last = guard.judge(seconds(700), 3, |_| false).pass;
    last.sort();
    assert_eq!(last, [at(3), at(4), at(5)]);
    assert_eq!(guard.next_due(), None);
}

#[test]
fn the_share_is_of_the_interval_of_each() {
    // 30 of 100 expire within a minute. That is too many for a heartbeat interval of 60 s, but not for one of 5 s.
    let judge = |interval_seconds: i64| {
        let mut guard = ExpiryGuard::new(rules(0.2));
        for number in 0..30 {
            let now = seconds(100 + 2 * number as u64);
            guard.expire(
                at(number),
                ExpiryFacts { ttl_seconds: 500, interval_seconds, shown_before: 100, of_service: 0 },
                now,
            );
        }
        newly(guard.judge(seconds(160), 100, |_| false).shared)
    };
    assert_eq!((judge(60), judge(5)), (30, 0));
}

#[test]
fn preservation_is_for_more_than_five_instances() {
    let mut guard = expired(1.0, 5, &[120; 5]);
    assert_eq!(guard.judge(seconds(102), 5, |_| false).pass.len(), 5);
    let mut guard = expired(1.0, 6, &[120; 5]);
    assert_eq!(newly(guard.judge(seconds(102), 6, |_| false).preserved), 5, "5 of 6 are more than 80 %");
    let mut guard = expired(1.0, 6, &[120; 4]);
    assert_eq!(guard.judge(seconds(102), 6, |_| false).pass.len(), 4);
}

#[test]
fn preservation_goes_on_until_nothing_waits() {
    let mut guard = expired(1.0, 10, &[120; 8]);
    assert_eq!(newly(guard.judge(seconds(102), 10, |_| false).preserved), 8);
    // 50 more have registered. The next expiry is far from 80 %, but is held like the others.
    guard.expire(
        at(50),
        ExpiryFacts { ttl_seconds: 20, interval_seconds: 30, shown_before: 60, of_service: 0 },
        seconds(110),
    );
    let verdict = guard.judge(seconds(112), 60, |_| false);
    assert_eq!((newly(verdict.preserved), newly(verdict.shared), verdict.pass), (1, 0, vec![]));
    assert_eq!(guard.judge(seconds(130), 60, |_| false).pass, [at(50)]);
    assert_eq!(guard.judge(seconds(220), 60, |_| false).pass.len(), 8);
    guard.expire(
        at(51),
        ExpiryFacts { ttl_seconds: 20, interval_seconds: 30, shown_before: 60, of_service: 0 },
        seconds(230),
    );
    assert_eq!(guard.judge(seconds(232), 60, |_| false).pass, [at(51)]);
}

#[test]
fn preservation_ends_also_when_all_register_again() {
    let mut guard = expired(1.0, 10, &[120; 8]);
    guard.judge(seconds(102), 10, |_| false);
    (0..8).for_each(|number| guard.forget(&at(number)));
    assert_eq!(guard.next_due(), None);
    guard.expire(
        at(9),
        ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 100, of_service: 0 },
        seconds(900),
    );
    assert_eq!(guard.judge(seconds(902), 100, |_| false).pass, [at(9)]);
}

#[test]
fn one_forgotten_while_it_is_held_waits_anew_when_it_expires_again() {
    let mut guard = expired(0.2, 100, &[120; 30]);
    guard.judge(seconds(102), 100, |_| false);
    assert_eq!((rule_of(&guard, 3), guard.holds(&at(3))), (Some(HoldRule::Share), true));
    guard.forget(&at(3));
    guard.forget(&at(3));
    assert!(!guard.holds(&at(3)));
    guard.expire(
        at(3),
        ExpiryFacts { ttl_seconds: 7, interval_seconds: 30, shown_before: 100, of_service: 0 },
        seconds(103),
    );
    assert_eq!(rule_of(&guard, 3), Some(HoldRule::Window));
    assert_eq!(guard.next_due(), Some(seconds(105)));
    guard.judge(seconds(105), 100, |_| false);
    assert_eq!(guard.judge(seconds(110), 100, |_| false).pass, [at(3)]);
    assert_eq!(guard.judge(seconds(220), 100, |_| false).pass.len(), 29);
}

#[test]
fn one_that_expires_twice_waits_once() {
    let mut guard = expired(1.0, 1, &[120]);
    guard.expire(
        at(0),
        ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 1, of_service: 0 },
        seconds(101),
    );
    assert_eq!(guard.next_due(), Some(seconds(100) + WINDOW));
    assert_eq!(guard.judge(seconds(102), 1, |_| false).pass, [at(0)]);
    assert_eq!(guard.judge(seconds(110), 0, |_| false), GuardVerdict::default());
}

#[test]
fn what_is_remembered_is_bounded_by_time() {
    let mut guard = ExpiryGuard::new(rules(0.2));
    for number in 0..1000_usize {
        let now = seconds(100 + number as u64);
        guard.expire(
            at(number),
            ExpiryFacts { ttl_seconds: 5, interval_seconds: 1, shown_before: 100_000, of_service: 0 },
            now,
        );
        guard.judge(now, 100_000, |_| false);
    }
    assert!(format!("{guard:?}").len() < 100_000, "expiries of the last ten minutes are remembered, not all");
    assert_eq!(guard.judge(seconds(2000), 100_000, |_| false).pass.len(), 2);
    // The earlier expiries no longer count.
    guard.expire(
        at(1),
        ExpiryFacts { ttl_seconds: 5, interval_seconds: 600, shown_before: 3, of_service: 0 },
        seconds(3000),
    );
    assert_eq!(guard.judge(seconds(3002), 3, |_| false).pass, [at(1)]);
}

#[test]
fn what_is_held_is_told_as_it_is() {
    let mut guard = expired(1.0, 10, &[120; 8]);
    let begin = guard.judge(seconds(102), 10, |_| false).lines(seconds(102));
    assert_eq!(
        begin,
        [
            "8 expired instances are held, 8 in all, by the rule of preservation: it began now, when 8 of 10 had expired \
          (80 % and more), and goes on until none is held"
        ]
    );
    // Later a single instance expires, of many more: far from 80 %.
    guard.expire(
        at(50),
        ExpiryFacts { ttl_seconds: 20, interval_seconds: 30, shown_before: 60, of_service: 0 },
        seconds(110),
    );
    let later = guard.judge(seconds(112), 60, |_| false).lines(seconds(112));
    assert_eq!(
        later,
        [
            "1 expired instances are held, 9 in all, by the rule of preservation: it began 10 s ago, when 8 of 10 had \
          expired (80 % and more), and goes on until none is held"
        ]
    );
    assert_eq!(guard.judge(seconds(113), 60, |_| false).lines(seconds(113)), [""; 0]);
    let mut guard = expired(0.2, 100, &[120; 21]);
    assert_eq!(
        guard.judge(seconds(102), 100, |_| false).lines(seconds(102)),
        [
            "21 expired instances are held, 21 in all, by the rule of the share: 21 of 100 expired within a heartbeat \
          interval and 5 s"
        ]
    );
}

#[test]
fn thousands_that_come_one_by_one_are_told_in_a_line_a_second() {
    let mut guard = ExpiryGuard::new(rules(0.1));
    let (mut lines, mut told, mut held) = (0, 0, 0);
    let mut judge = |guard: &mut ExpiryGuard, now: Duration| {
        let verdict = guard.judge(now, 10_000, |_| false);
        held += verdict.newly(HoldRule::Share);
        lines += verdict.lines(now).len();
        told += newly(verdict.shared);
        (lines, told, held)
    };
    // 1,000 expire each second for five seconds. Those of the first second pass before the share is exceeded.
    for number in 0..5_000 {
        let now = Duration::from_millis(100_000 + number as u64);
        let expiry =
            ExpiryFacts { ttl_seconds: 120, interval_seconds: 30, shown_before: 10_000, of_service: 0 };
        guard.expire(at(number), expiry, now);
        judge(&mut guard, now);
    }
    let (lines, told, held) = judge(&mut guard, seconds(106));
    assert!((1..=7).contains(&lines) && told <= held, "{lines} lines of {told}, {held} are held");
    // The last ones are logged without waiting for another expiry.
    while let Some(due) = guard.next_due().filter(|due| *due < seconds(110)) {
        judge(&mut guard, due);
    }
    let (_, told, held) = judge(&mut guard, seconds(110));
    assert_eq!((told, guard.held().count()), (held, held));
}
