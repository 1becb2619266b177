//! When a job runs: cron expressions in local time, checked minute by minute. Reads no clock: times are arguments.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Cron, LocalMinute};

/// Minutes since 1970, UTC.
pub(super) type UnixMinute = u64;

/// How many missed minutes are made up, so that a long job or a short sleep of the machine skips no run. If more minutes were
/// missed, the clock was set or the machine slept long, and the missed runs stay missed.
const MAX_MADE_UP: u64 = 180;
/// How far ahead the next run is looked for: a year.
const MINUTES_AHEAD: u64 = 366 * 24 * 60;

/// A time in seconds since 1970 for people: `2023-11-14T22:13:20Z`.
pub(super) fn shown(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |time| time.to_string())
}

/// A time zone with its daylight saving time.
#[derive(Clone, Debug)]
pub struct LocalZone(TimeZone);

impl LocalZone {
    /// The time zone of the machine. UTC if it has none.
    pub fn system() -> Self {
        Self(TimeZone::system())
    }

    /// The local time of a minute.
    fn local(&self, minute: UnixMinute) -> Option<LocalMinute> {
        let seconds = i64::try_from(minute.checked_mul(60)?).ok()?;
        let local = self.0.to_datetime(Timestamp::from_second(seconds).ok()?);
        let part = |part: i8| u8::try_from(part).ok();
        Some(LocalMinute {
            minute: part(local.minute())?,
            hour: part(local.hour())?,
            day: part(local.day())?,
            month: part(local.month())?,
            weekday: part(local.weekday().to_sunday_zero_offset())?,
        })
    }

    /// Whether a job is due in one of the minutes after `judged`, up to `now`. A minute that daylight saving time skips is
    /// never due. A minute that it repeats is due twice.
    pub(super) fn is_due(&self, cron: &Cron, judged: UnixMinute, now: UnixMinute) -> bool {
        let first = if now.saturating_sub(judged) > MAX_MADE_UP { now } else { judged + 1 };
        (first..=now).any(|minute| self.local(minute).is_some_and(|local| cron.matches(local)))
    }

    /// The first minute after `now` at which a job is due. `None` if there is none for a year.
    pub(super) fn next(&self, cron: &Cron, now: UnixMinute) -> Option<UnixMinute> {
        let is_due = |minute: &UnixMinute| self.local(*minute).is_some_and(|local| cron.matches(local));
        (now + 1..=now + MINUTES_AHEAD).find(is_due)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_next_run() {
        let zone = LocalZone(TimeZone::posix("UTC0").unwrap());
        let next = |cron: &str| {
            let minute = zone.next(&Cron::parse(cron).unwrap(), 1_700_000_000 / 60);
            minute.map(|minute| shown(i64::try_from(minute * 60).unwrap()))
        };
        assert_eq!(shown(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(next("0 1 * * *").unwrap(), "2023-11-15T01:00:00Z");
        assert_eq!(next("14 22 * * *").unwrap(), "2023-11-14T22:14:00Z", "not the minute that runs");
        assert_eq!(next("13 22 14 11 *").unwrap(), "2024-11-14T22:13:00Z");
        assert_eq!(next("0 0 30 2 *"), None);
    }

    fn check(zone: &str, cron: &str, (judged, now): (&str, &str), expected: bool) {
        let zone = LocalZone(TimeZone::posix(zone).unwrap());
        let minute = |time: &str| {
            let time: Timestamp = time.parse().unwrap();
            u64::try_from(time.as_second()).unwrap() / 60
        };
        let is_due = zone.is_due(&Cron::parse(cron).unwrap(), minute(judged), minute(now));
        assert_eq!(is_due, expected, "{cron}: judged {judged}, now {now}");
    }

    #[test]
    fn a_minute_is_judged_once_and_in_local_time() {
        let cron = "0 1 * * *";
        check("UTC0", cron, ("2026-03-07T00:59:00Z", "2026-03-07T01:00:00Z"), true);
        check("UTC0", cron, ("2026-03-07T01:00:00Z", "2026-03-07T01:00:59Z"), false);
        check("UTC0", cron, ("2026-03-07T01:00:00Z", "2026-03-07T01:01:00Z"), false);
        check("CST-8", cron, ("2026-03-06T16:59:00Z", "2026-03-06T17:00:00Z"), true);
        check("CST-8", cron, ("2026-03-07T00:59:00Z", "2026-03-07T01:00:00Z"), false);
        // The day and the weekday are local too: there it is Saturday the 7th.
        check("CST-8", "0 1 7 3 *", ("2026-03-06T16:59:00Z", "2026-03-06T17:00:00Z"), true);
        check("CST-8", "0 1 * * SAT", ("2026-03-06T16:59:00Z", "2026-03-06T17:00:00Z"), true);
    }

    #[test]
    fn missed_minutes_are_made_up_for_a_while() {
        let cron = "0 1 * * *";
        check("UTC0", cron, ("2026-03-07T00:30:00Z", "2026-03-07T01:20:00Z"), true);
        check("UTC0", cron, ("2026-03-07T00:30:00Z", "2026-03-07T09:00:00Z"), false);
        // The clock was set back, and forward by days.
        check("UTC0", cron, ("2026-03-07T01:10:00Z", "2026-03-07T01:00:00Z"), false);
        check("UTC0", cron, ("2026-03-01T00:00:00Z", "2026-03-07T01:00:00Z"), true);
    }

    /// How often a job of one o'clock runs, judged at these times.
    fn runs(times: &[&str]) -> usize {
        let cron = Cron::parse("0 1 * * *").unwrap();
        let minutes: Vec<u64> = times
            .iter()
            .map(|time| u64::try_from(time.parse::<Timestamp>().unwrap().as_second()).unwrap() / 60)
            .collect();
        let zone = LocalZone(TimeZone::posix("UTC0").unwrap());
        minutes.windows(2).filter(|pair| zone.is_due(&cron, pair[0], pair[1])).count()
    }

    #[test]
    fn a_clock_that_is_set_skips_or_repeats_a_run_and_no_more() {
        let nights = ["2026-03-08T00:59:00Z", "2026-03-08T01:00:00Z", "2026-03-08T01:01:00Z"];
        let after = |times: &[&'static str]| runs(&[times, &nights].concat());
        assert_eq!(after(&["2026-03-07T00:59:00Z", "2026-03-07T01:00:00Z"]), 2, "two nights");
        assert_eq!(after(&["2026-03-07T00:59:00Z", "2026-03-07T07:00:00Z"]), 1, "set forward over it");
        let set_back = ["2026-03-07T01:00:00Z", "2026-03-06T19:01:00Z", "2026-03-06T19:02:00Z"];
        assert_eq!(after(&set_back), 1, "set back over it: not due before its time comes again");
        let zone = LocalZone(TimeZone::posix("UTC0").unwrap());
        let cron = Cron::parse("* * * * *").unwrap();
        let last = u64::MAX / 60;
        assert!(!zone.is_due(&cron, 0, last) && !zone.is_due(&cron, last, 0), "no minute of any calendar");
    }

    #[test]
    fn daylight_saving_moves_the_hour() {
        let zone = "CET-1CEST,M3.5.0,M10.5.0/3";
        check(zone, "0 1 * * *", ("2026-01-06T23:59:00Z", "2026-01-07T00:00:00Z"), true);
        check(zone, "0 1 * * *", ("2026-07-06T22:59:00Z", "2026-07-06T23:00:00Z"), true);
        // 2:00 to 3:00 is skipped on the 29th of March.
        check(zone, "30 2 * * *", ("2026-03-29T00:00:00Z", "2026-03-29T02:30:00Z"), false);
    }
}
