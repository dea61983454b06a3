//! Crontab lines as an admin writes them: `minute hour day-of-month month day-of-week`.
//!
//! ```text
//! line  = 5 fields / "@hourly" / "@daily" / "@midnight" / "@weekly" / "@monthly" / "@yearly" / "@annually"
//! field = item *( "," item )
//! item  = "*" [ "/" step ] / value [ "-" value [ "/" step ] ]
//! value = a number, or the first three letters of a month or a day; Sunday is 0 and 7
//! ```
//!
//! As in Vixie's cron, a day of the month *or* a day of the week is enough where both are restricted, that
//! is, where neither field begins with `*`. The `cron` crate computes the times; its own language differs
//! (seconds first, Sunday is 1, both days must fit), so every field is handed to it as a plain list.
//!
//! When clocks change: a line that fixes the hour runs once on every day, at the first moment after a gap
//! that swallows its time, and at the first of two equal times. A line for every hour follows real time. A
//! runner that keeps when it last ran and asks for the next time after that never runs a line twice.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};

/// When something is to be done, to the minute.
#[derive(Clone, Debug)]
pub struct Schedule {
    line: String,
    /// More than one where a day of the month or of the week is enough.
    times: Vec<cron::Schedule>,
    /// Whether every hour is meant, so that real time counts and not the clock on the wall.
    hourly: bool,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        self.line == other.line
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Schedule {
    /// The first time after `after`, in its time zone. `None` past the end of the calendar (2100).
    pub fn next_after<Z: TimeZone>(&self, after: &DateTime<Z>) -> Option<DateTime<Z>> {
        if self.hourly {
            return self.next_in_real_time(after);
        }
        let mut wall = after.naive_local();
        loop {
            wall = self.next_on_the_wall(wall)?;
            match first_at(&after.timezone(), wall) {
                Some(next) if next > *after => return Some(next),
                // The second of two equal hours: the line ran in the first.
                _ => continue,
            }
        }
    }

    /// Goes by a clock that is not put forward or back, up to the moment when the real one is.
    fn next_in_real_time<Z: TimeZone>(&self, after: &DateTime<Z>) -> Option<DateTime<Z>> {
        let zone = after.timezone();
        let (mut at, mut offset) = (after.naive_utc(), after.offset().fix());
        loop {
            let next = self.next_on_the_wall(at + offset)? - offset;
            let found = zone.from_utc_datetime(&next);
            if found.offset().fix() == offset {
                return Some(found);
            }
            let (mut before, mut behind) = (at, next);
            while behind - before > TimeDelta::seconds(1) {
                let middle = before + TimeDelta::seconds((behind - before).num_seconds() / 2);
                match zone.offset_from_utc_datetime(&middle).fix() == offset {
                    true => before = middle,
                    false => behind = middle,
                }
            }
            (at, offset) = (before, zone.offset_from_utc_datetime(&behind).fix());
        }
    }

    fn next_on_the_wall(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = self.times.iter().filter_map(|times| times.after(&wall.and_utc()).next()).min();
        next.map(|next| next.naive_utc())
    }
}

/// The first moment at which the clock shows `wall`, or, where it jumps over that, the moment of the jump.
fn first_at<Z: TimeZone>(zone: &Z, wall: NaiveDateTime) -> Option<DateTime<Z>> {
    const LONGEST_GAP: i64 = 24 * 60;
    (0..=LONGEST_GAP).find_map(|minutes| zone.from_local_datetime(&(wall + TimeDelta::minutes(minutes))).earliest())
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "`{line}` has {found} fields; accepted: minute hour day-of-month month day-of-week, or @daily and the like"
    )]
    Fields { line: String, found: usize },
    #[error("`{line}` is not known; accepted: @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually")]
    Nickname { line: String },
    #[error("`{line}`: {field}: `{item}` {fault}; accepted: {accepted}")]
    Item { line: String, field: &'static str, item: String, fault: Fault, accepted: &'static str },
    #[error(
        "`{line}` never comes: no such day exists in any of its months; accepted: a day that one of the months has"
    )]
    Never { line: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is no number or name")]
    Value,
    #[error("is out of range")]
    Range,
    #[error("runs backwards")]
    Backwards,
    #[error("has a step that is no number above 0")]
    Step,
    #[error("has a step without * or a range")]
    StepOfOne,
}

struct Field {
    name: &'static str,
    range: RangeInclusive<u8>,
    names: &'static [&'static str],
    first_name: u8,
    accepted: &'static str,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        range: 0..=59,
        names: &[],
        first_name: 0,
        accepted: "0 to 59, *, ranges as in 0-29, lists as in 0,30, steps as in */15",
    },
    Field {
        name: "hour",
        range: 0..=23,
        names: &[],
        first_name: 0,
        accepted: "0 to 23, *, ranges as in 8-17, lists as in 8,20, steps as in */2",
    },
    Field {
        name: "day of month",
        range: 1..=31,
        names: &[],
        first_name: 0,
        accepted: "1 to 31, *, ranges as in 1-7, lists as in 1,15, steps as in */2",
    },
    Field {
        name: "month",
        range: 1..=12,
        names: &MONTHS,
        first_name: 1,
        accepted: "1 to 12 or jan to dec, *, ranges as in 6-8, lists, steps as in */3",
    },
    Field {
        name: "day of week",
        range: 0..=7,
        names: &DAYS,
        first_name: 0,
        accepted: "0 to 7 (0 and 7 are Sunday) or sun to sat, *, ranges as in mon-fri, lists, steps as in */2",
    },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        let line = text.trim();
        if !line.starts_with('@') {
            return parse(line, line);
        }
        let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(line));
        let (_, fields) = known.ok_or_else(|| ScheduleError::Nickname { line: line.into() })?;
        parse(line, fields)
    }
}

fn parse(line: &str, fields: &str) -> Result<Schedule, ScheduleError> {
    let texts: Vec<&str> = fields.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = texts[..] else {
        return Err(ScheduleError::Fields { line: line.into(), found: texts.len() });
    };
    let mut sets = Vec::with_capacity(FIELDS.len());
    for (field, text) in FIELDS.iter().zip([minute, hour, day, month, weekday]) {
        let fail = |(item, fault): (&str, Fault)| ScheduleError::Item {
            line: line.into(),
            field: field.name,
            item: item.into(),
            fault,
            accepted: field.accepted,
        };
        sets.push(field.parse(text).map_err(fail)?);
    }
    let hourly = sets[1].len() == 24;
    // The crate counts the days of the week from 1, and knows Sunday only so.
    for weekday in &mut sets[4] {
        *weekday = *weekday % 7 + 1;
    }
    let lists: Vec<String> = sets.iter().map(|set| list(set)).collect();
    let either = !day.starts_with('*') && !weekday.starts_with('*');
    let days = match either {
        true => vec![(lists[2].as_str(), "*"), ("*", lists[4].as_str())],
        false => vec![(lists[2].as_str(), lists[4].as_str())],
    };
    let never = || ScheduleError::Never { line: line.into() };
    let crate_line = |(day, weekday): (&str, &str)| {
        let fields = format!("0 {} {} {day} {} {weekday}", lists[0], lists[1], lists[3]);
        fields.parse::<cron::Schedule>().map_err(|_| never())
    };
    let times = days.into_iter().map(crate_line).collect::<Result<_, _>>()?;
    let schedule = Schedule { line: line.into(), times, hourly };
    schedule.next_after(&DateTime::<Utc>::UNIX_EPOCH).ok_or_else(never)?;
    Ok(schedule)
}

fn list(set: &[u8]) -> String {
    set.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

impl Field {
    /// The values that a field allows. The error holds the item that is wrong.
    fn parse<'t>(&self, text: &'t str) -> Result<Vec<u8>, (&'t str, Fault)> {
        let mut values = Vec::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                None => (item, None),
                Some((range, step)) => {
                    let step: Option<u8> = step.parse().ok().filter(|_| step.bytes().all(|b| b.is_ascii_digit()));
                    (range, Some(step.filter(|step| *step > 0).ok_or((item, Fault::Step))?))
                }
            };
            let (from, to) = self.range_of(range, step.is_some()).map_err(|fault| (item, fault))?;
            values.extend((from..=to).step_by(usize::from(step.unwrap_or(1))));
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn range_of(&self, text: &str, stepped: bool) -> Result<(u8, u8), Fault> {
        if text == "*" {
            // Sunday is there once.
            let last = if self.names.len() == DAYS.len() { 6 } else { *self.range.end() };
            return Ok((*self.range.start(), last));
        }
        let Some((from, to)) = text.split_once('-') else {
            let value = self.value(text)?;
            return if stepped { Err(Fault::StepOfOne) } else { Ok((value, value)) };
        };
        let (from, mut to) = (self.value(from)?, self.value(to)?);
        if to == 0 && self.names.len() == DAYS.len() && from > 0 {
            to = 7; // `fri-sun`
        }
        if from > to { Err(Fault::Backwards) } else { Ok((from, to)) }
    }

    fn value(&self, text: &str) -> Result<u8, Fault> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.first_name + index as u8);
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Value);
        }
        text.parse().ok().filter(|value| self.range.contains(value)).ok_or(Fault::Range)
    }
}

#[cfg(test)]
mod tests;
