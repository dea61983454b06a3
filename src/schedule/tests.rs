use chrono::{FixedOffset, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone};
use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc()
}

/// The next times after Wednesday, 2025-01-01 00:00:00, as `MM-DD HH:MM`.
fn next(line: &str, count: usize) -> Vec<String> {
    let schedule: Schedule = line.parse().unwrap();
    let mut at = utc("2025-01-01 00:00:00");
    let mut step = || {
        at = schedule.next_after(&at).unwrap();
        at.format("%m-%d %H:%M").to_string()
    };
    (0..count).map(|_| step()).collect()
}

macro_rules! runs { ($($name:ident: $line:literal => [$($time:literal),*],)*) => { $(
    #[test] fn $name() {
        let expected: &[&str] = &[$($time),*];
        assert_eq!(next($line, expected.len()), expected);
    }
)* } }
runs! {
    every_quarter: "*/15 * * * *" => ["01-01 00:15", "01-01 00:30", "01-01 00:45", "01-01 01:00"],
    at_night: "30 3 * * *" => ["01-01 03:30", "01-02 03:30"],
    a_list: "5,35 8,20 * * *" => ["01-01 08:05", "01-01 08:35", "01-01 20:05", "01-01 20:35", "01-02 08:05"],
    a_stepped_range: "10-40/15 9 * * *" => ["01-01 09:10", "01-01 09:25", "01-01 09:40", "01-02 09:10"],
    an_uneven_step: "*/25 0 * * *" => ["01-01 00:25", "01-01 00:50", "01-02 00:00"],
    sunday_is_0: "0 0 * * 0" => ["01-05 00:00", "01-12 00:00"],
    sunday_is_7: "0 0 * * 7" => ["01-05 00:00", "01-12 00:00"],
    sunday_is_sun: "0 0 * * Sun" => ["01-05 00:00", "01-12 00:00"],
    monday_is_1: "0 0 * * 1" => ["01-06 00:00", "01-13 00:00"],
    saturday_is_6: "0 0 * * 6" => ["01-04 00:00", "01-11 00:00"],
    five_to_seven: "0 0 * * 5-7" => ["01-03 00:00", "01-04 00:00", "01-05 00:00", "01-10 00:00"],
    friday_to_sunday: "0 0 * * fri-sun" => ["01-03 00:00", "01-04 00:00", "01-05 00:00", "01-10 00:00"],
    working_days: "0 6 * * mon-fri" => ["01-01 06:00", "01-02 06:00", "01-03 06:00", "01-06 06:00"],
    every_second_weekday: "0 0 * * */2" => ["01-02 00:00", "01-04 00:00", "01-05 00:00", "01-07 00:00"],
    odd_weekdays: "0 0 * * 1-7/2" => ["01-03 00:00", "01-05 00:00", "01-06 00:00", "01-08 00:00"],
    months_by_name: "0 0 1 feb,Apr *" => ["02-01 00:00", "04-01 00:00", "02-01 00:00"],
    every_third_month: "0 0 1 */3 *" => ["04-01 00:00", "07-01 00:00", "10-01 00:00", "01-01 00:00"],
    either_day: "0 0 13 * fri" => ["01-03 00:00", "01-10 00:00", "01-13 00:00", "01-17 00:00"],
    both_days_where_one_begins_with_a_star: "0 0 */2 * mon" => ["01-13 00:00", "01-27 00:00", "02-03 00:00"],
    leap_day: "0 0 29 2 *" => ["02-29 00:00", "02-29 00:00"],
    daily: "@daily" => ["01-02 00:00", "01-03 00:00"],
    hourly: "@hourly" => ["01-01 01:00", "01-01 02:00"],
    weekly: "@weekly" => ["01-05 00:00"],
    monthly: "@Monthly" => ["02-01 00:00"],
    yearly: "@yearly" => ["01-01 00:00"],
    spaces_and_tabs: " 0\t1  *  * * " => ["01-01 01:00"],
}

#[test]
fn errors_name_the_field_and_what_is_accepted() {
    let message = |line: &str| line.parse::<Schedule>().unwrap_err().to_string();
    for (line, expected) in [
        ("60 * * * *", "`60 * * * *`: minute: `60` is out of range; accepted: 0 to 59, "),
        ("* 24 * * *", "`* 24 * * *`: hour: `24` is out of range; accepted: 0 to 23, "),
        ("* * 0 * *", "`* * 0 * *`: day of month: `0` is out of range; accepted: 1 to 31, "),
        ("* * * 13 *", "`* * * 13 *`: month: `13` is out of range; accepted: 1 to 12 or jan to dec, "),
        ("* * * * 8", "`* * * * 8`: day of week: `8` is out of range; accepted: 0 to 7 (0 and 7 are Sunday)"),
        ("* * * * sonntag", "`* * * * sonntag`: day of week: `sonntag` is no number or name; accepted: 0 to 7"),
        ("jan * * * *", "`jan * * * *`: minute: `jan` is no number or name; "),
        ("30-10 * * * *", "`30-10 * * * *`: minute: `30-10` runs backwards; "),
        ("* * * * sat-mon", "`* * * * sat-mon`: day of week: `sat-mon` runs backwards; "),
        ("*/0 * * * *", "`*/0 * * * *`: minute: `*/0` has a step that is no number above 0; "),
        ("*/x * * * *", "`*/x * * * *`: minute: `*/x` has a step that is no number above 0; "),
        ("5/10 * * * *", "`5/10 * * * *`: minute: `5/10` has a step without * or a range; "),
        ("1,,2 * * * *", "`1,,2 * * * *`: minute: `` is no number or name; "),
        ("-5 * * * *", "`-5 * * * *`: minute: `-5` is no number or name; "),
        ("? * * * *", "`? * * * *`: minute: `?` is no number or name; "),
        ("* * L * *", "`* * L * *`: day of month: `L` is no number or name; "),
        ("99999 * * * *", "`99999 * * * *`: minute: `99999` is out of range; "),
        ("0 3 * *", "`0 3 * *` has 4 fields; accepted: minute hour day-of-month month day-of-week"),
        ("0 0 3 * * *", "`0 0 3 * * *` has 6 fields; "),
        ("", "`` has 0 fields; "),
        ("@reboot", "`@reboot` is not known; accepted: @hourly, @daily"),
        ("0 0 31 2,4 *", "`0 0 31 2,4 *` never comes: "),
    ] {
        assert!(message(line).starts_with(expected), "{}", message(line));
    }
}

/// Central European Time in 2025: clocks go from 02:00 to 03:00 on March 30 and from 03:00 back to 02:00
/// on October 26.
#[derive(Clone, Copy, Debug)]
struct Berlin;

#[derive(Clone, Copy, Debug)]
struct BerlinOffset(i32);

impl Offset for BerlinOffset {
    fn fix(&self) -> FixedOffset {
        FixedOffset::east_opt(self.0 * 3600).unwrap()
    }
}

impl std::fmt::Display for BerlinOffset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "+{:02}", self.0)
    }
}

impl TimeZone for Berlin {
    type Offset = BerlinOffset;

    fn from_offset(_: &BerlinOffset) -> Berlin {
        Berlin
    }

    fn offset_from_local_date(&self, _: &NaiveDate) -> LocalResult<BerlinOffset> {
        unreachable!("nothing here asks for the offset of a date")
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<BerlinOffset> {
        let fits = |hours: i64| {
            let utc = *local - TimeDelta::hours(hours);
            (i64::from(self.offset_from_utc_datetime(&utc).0) == hours).then_some(BerlinOffset(hours as i32))
        };
        match (fits(2), fits(1)) {
            (Some(summer), Some(winter)) => LocalResult::Ambiguous(summer, winter),
            (Some(one), None) | (None, Some(one)) => LocalResult::Single(one),
            (None, None) => LocalResult::None,
        }
    }

    fn offset_from_utc_date(&self, _: &NaiveDate) -> BerlinOffset {
        unreachable!("nothing here asks for the offset of a date")
    }

    fn offset_from_utc_datetime(&self, at: &NaiveDateTime) -> BerlinOffset {
        let (summer, winter) = (utc("2025-03-30 01:00:00").naive_utc(), utc("2025-10-26 01:00:00").naive_utc());
        BerlinOffset(if (summer..winter).contains(at) { 2 } else { 1 })
    }
}

fn in_berlin(line: &str, from: &str, count: usize) -> Vec<String> {
    let schedule: Schedule = line.parse().unwrap();
    let mut at = utc(from).with_timezone(&Berlin);
    let mut step = || {
        at = schedule.next_after(&at).unwrap();
        at.format("%m-%d %H:%M%z").to_string()
    };
    (0..count).map(|_| step()).collect()
}

#[test]
fn a_time_that_the_clock_jumps_over_is_made_up_at_the_jump() {
    let times = in_berlin("30 2 * * *", "2025-03-29 12:00:00", 2);
    assert_eq!(times, ["03-30 03:00+0200", "03-31 02:30+0200"]);
    let times = in_berlin("*/20 * * * *", "2025-03-30 00:30:00", 2);
    assert_eq!(times, ["03-30 01:40+0100", "03-30 03:00+0200"]);
}

#[test]
fn a_time_that_comes_twice_counts_once_unless_every_hour_is_meant() {
    let times = in_berlin("30 2 * * *", "2025-10-25 22:00:00", 2);
    assert_eq!(times, ["10-26 02:30+0200", "10-27 02:30+0100"]);
    let after_a_restart_in_the_second_hour = in_berlin("30 2 * * *", "2025-10-26 01:10:00", 1);
    assert_eq!(after_a_restart_in_the_second_hour, ["10-27 02:30+0100"]);
    let times = in_berlin("30 * * * *", "2025-10-25 23:45:00", 3);
    assert_eq!(times, ["10-26 02:30+0200", "10-26 02:30+0100", "10-26 03:30+0100"]);
}

/// What the fields of a line say of a moment, decided without any of the code above.
fn fits(at: DateTime<Utc>, minutes: &[u32], hours: &[u32], day: Option<u32>, weekday: Option<u32>) -> bool {
    use chrono::{Datelike, Timelike};
    let day_fits = day.map(|day| at.day() == day);
    let weekday_fits = weekday.map(|weekday| at.weekday().num_days_from_sunday() == weekday % 7);
    let date = match (day_fits, weekday_fits) {
        (Some(day), Some(weekday)) => day || weekday,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => true,
    };
    date && minutes.contains(&at.minute()) && hours.contains(&at.hour())
}

fn joined(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn the_next_time_fits_and_no_earlier_one_does(
        minutes in proptest::collection::vec(0u32..60, 1..4),
        hours in proptest::collection::vec(0u32..24, 1..3),
        day in proptest::option::of(1u32..29),
        weekday in proptest::option::of(0u32..8),
        from in 0i64..2_000_000_000,
    ) {
        let star = |value: Option<u32>| value.map_or("*".to_owned(), |value| value.to_string());
        let line = format!("{} {} {} * {}", joined(&minutes), joined(&hours), star(day), star(weekday));
        let from = DateTime::from_timestamp(from, 0).unwrap();
        let next = line.parse::<Schedule>().unwrap().next_after(&from).unwrap();
        let mut at = DateTime::from_timestamp((from.timestamp() / 60 + 1) * 60, 0).unwrap();
        while !fits(at, &minutes, &hours, day, weekday) {
            at += TimeDelta::minutes(1);
        }
        prop_assert_eq!(next, at, "{}", line);
    }

    #[test]
    fn never_panics(line in "[0-9*/,a-z@? -]{0,20}") {
        let _ = line.parse::<Schedule>();
    }

    #[test]
    fn a_printed_schedule_reads_back(minute in 0u8..60, weekday in 0u8..8) {
        let schedule: Schedule = format!("{minute} */6 * * {weekday}").parse().unwrap();
        prop_assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
    }
}
