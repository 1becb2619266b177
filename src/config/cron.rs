//! Schedules of the clean-up jobs: cron expressions with five fields (minute, hour, day of month, month, day of week), in local
//! time. Pure: it parses an expression and says whether a minute matches.
//!
//! The dialect is that of the original. `croner` rejects `5/20` and `@midnight`, and accepts the weekday 7 and six fields.

/// A parsed expression. Each field has one bit for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both day fields are restricted. Then a day matches if one of the two fields matches, as in every cron.
    either_day: bool,
}

/// A minute of local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalMinute {
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 (January) to 12.
    pub month: u8,
    /// 0 (Sunday) to 6.
    pub weekday: u8,
}

struct CronField {
    name: &'static str,
    min: u32,
    max: u32,
    words: &'static [&'static str],
}

const MINUTE: CronField = CronField { name: "minute", min: 0, max: 59, words: &[] };
const HOUR: CronField = CronField { name: "hour", min: 0, max: 23, words: &[] };
const DAY: CronField = CronField { name: "day of month", min: 1, max: 31, words: &[] };
const MONTH: CronField = CronField {
    name: "month",
    min: 1,
    max: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: CronField = CronField {
    name: "day of week",
    min: 0,
    max: 6,
    words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Cron {
    /// Parses `minute hour day month weekday`: `*`, `?`, lists, ranges, steps, and names of months and weekdays. Also
    /// `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(
                "write five fields: minute hour day-of-month month day-of-week, such as 0 1 * * *".to_owned()
            );
        };
        Ok(Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays: WEEKDAY.parse(weekday)?,
            either_day: !day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?']),
        })
    }

    /// Whether the job runs in this minute.
    pub fn matches(&self, at: LocalMinute) -> bool {
        let holds =
            |bits: u64, value: u8| bits.checked_shr(u32::from(value)).is_some_and(|rest| rest & 1 == 1);
        let (day, weekday) = (holds(self.days, at.day), holds(self.weekdays, at.weekday));
        let on_the_day = if self.either_day { day || weekday } else { day && weekday };
        on_the_day
            && holds(self.months, at.month)
            && holds(self.hours, at.hour)
            && holds(self.minutes, at.minute)
    }
}

impl CronField {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, piece| Ok(bits | self.parse_piece(piece)?))
    }

    /// Parses `*`, `*/5`, `3`, `3/5` (every fifth value from 3 on), `1-5` or `1-5/2`.
    fn parse_piece(&self, piece: &str) -> Result<u64, String> {
        let (range, step) = match piece.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (piece, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (self.min, self.max),
            (_, Some((first, last))) => (self.value(first)?, self.value(last)?),
            (single, None) if step.is_some() => (self.value(single)?, self.max),
            (single, None) => (self.value(single)?, self.value(single)?),
        };
        if first > last {
            return Err(format!("the {} range {range:?} ends before it begins", self.name));
        }
        let step = match step.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => return Err(format!("the {} step in {piece:?} must be a number above 0", self.name)),
        };
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let word = text.to_ascii_lowercase();
        let named = self.words.iter().position(|known| *known == word).and_then(|at| u32::try_from(at).ok());
        match named.map(|at| at + self.min).or_else(|| text.parse().ok()) {
            Some(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => Err(format!("the {} {text:?} must be {} to {}", self.name, self.min, self.max)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(expression: &str, (minute, hour, day, month, weekday): (u8, u8, u8, u8, u8), expected: bool) {
        let at = LocalMinute { minute, hour, day, month, weekday };
        assert_eq!(Cron::parse(expression).unwrap().matches(at), expected, "{expression} at {at:?}");
    }

    #[test]
    fn minutes_match() {
        check("0 1 * * *", (0, 1, 7, 3, 2), true);
        check("0 1 * * *", (1, 1, 7, 3, 2), false);
        check("0 1 * * *", (0, 2, 7, 3, 2), false);
        check("* * * * *", (59, 23, 31, 12, 6), true);
        check("*/15 * * * *", (45, 0, 1, 1, 0), true);
        check("*/15 * * * *", (46, 0, 1, 1, 0), false);
        check("5/20 * * * *", (45, 0, 1, 1, 0), true);
        check("0 9-17/4 * * MON-FRI", (0, 13, 4, 5, 1), true);
        check("0 9-17/4 * * MON-FRI", (0, 13, 4, 5, 0), false);
        check("0 0 1,15 * ?", (0, 0, 15, 8, 3), true);
        check("0 0 * jan,Dec *", (0, 0, 9, 12, 3), true);
        check("@weekly", (0, 0, 9, 12, 0), true);
        // Both day fields are restricted: one match is enough.
        check("0 0 13 * 5", (0, 0, 13, 2, 1), true);
        check("0 0 13 * 5", (0, 0, 12, 2, 5), true);
        check("0 0 13 * 5", (0, 0, 12, 2, 4), false);
        check("0 0 13 * *", (0, 0, 12, 2, 5), false);
    }

    #[test]
    fn invalid_expressions_are_rejected() {
        let wrong = [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "1- * * * *",
            ", * * * *",
            "@every 1h",
            "TZ=UTC 0 1 * * *",
            "-1 * * * *",
        ];
        for text in wrong {
            assert!(Cron::parse(text).is_err(), "{text:?}");
        }
    }
}
