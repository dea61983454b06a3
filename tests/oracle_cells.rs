//! Every combination of Oracle Messaging Server's quota options, of how full an account is and of the size of a
//! message: what becomes of the message, how the account stands, which status the directory is to get, and what the
//! user is told.
//!
//! The options are carried over by `config import-msconfig` and the real service answers, with a clock that stands
//! where it is put. The table `tests/oracle/cells.table` holds all answers; `BLESS=1` writes it anew, to be read
//! before it is committed. Beside it [`promised`] says, cell by cell, what the manual of the original promises.

mod support {
    pub mod organisation;
    pub mod site;
}

use std::path::Path;

use mailquotad::cli::msconfig::import;
use mailquotad::quota::{CellKey, Delta, Level, Moment};
use mailquotad::service::notify::stage::Event;
use support::organisation::Organisation;

const LIMIT: u64 = 100_000;
const GRACE_HOURS: u64 = 120;
const HOUR: u64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
struct Options {
    enforcement: bool,
    overdraft: bool,
    overquotastatus: bool,
}

/// How full, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BelowWarn,
    Warned,
    Over,
    InGrace,
    GraceExpired,
}

const STATES: [(State, &str); 5] = [
    (State::BelowWarn, "below warn"),
    (State::Warned, "warned"),
    (State::Over, "over"),
    (State::InGrace, "in grace"),
    (State::GraceExpired, "expired"),
];

/// Bytes of the message. `does not fit` is more than is left below the limit, and less than the whole limit.
const SIZES: [(&str, u64); 3] = [("fits", 1_000), ("does not fit", 60_000), ("larger", LIMIT + 1)];

#[derive(Debug, PartialEq, Eq)]
struct Cell {
    reply: String,
    standing: Level,
    status: String,
    told: Vec<&'static str>,
}

fn config(options: Options) -> String {
    let flag = u8::from;
    let dump = format!(
        "store.quotaenforcement = {}\nstore.quotaoverdraft = {}\nstore.overquotastatus = {}\nstore.quotagraceperiod = \
         {GRACE_HOURS}\nstore.quotanotification = 1\nstore.quotawarn = 90\n\
         store.quotaexceededmsg = Subject: Over quota$$You use [DISKUSAGE].\n",
        flag(options.enforcement),
        flag(options.overdraft),
        flag(options.overquotastatus)
    );
    let imported = import(&dump);
    assert_eq!(imported.left, [""; 0], "everything is carried over");
    imported.toml
}

/// Brings an account into the state and asks.
fn ask(options: Options, state: State, size: u64) -> Cell {
    let organisation = Organisation::new(&config(options), Moment(1_000 * HOUR));
    organisation.account("anna@example.org", &LIMIT.to_string());
    let fill = |bytes: i64| {
        let deltas = vec![(CellKey::new("INBOX", None), Delta { bytes, messages: 1 })];
        organisation.change("anna@example.org", deltas);
    };
    fill(50_000);
    match state {
        State::BelowWarn => {}
        State::Warned => fill(45_000),
        State::Over | State::InGrace | State::GraceExpired => fill(50_000),
    }
    match state {
        State::InGrace => organisation.pass(GRACE_HOURS * HOUR - 1),
        State::GraceExpired => organisation.pass(GRACE_HOURS * HOUR),
        _ => {}
    }
    let told = organisation.accounting.notices.waiting();
    let mut told: Vec<(Moment, &str)> = told.iter().map(|notice| (notice.at, notice.event.as_str())).collect();
    told.sort_unstable_by_key(|(at, _)| *at);
    let account = organisation.accounting.book.account("anna@example.org").unwrap();
    let seat = account.lock();
    let standing = seat.standing(0).level;
    let status = seat.wished.unwrap_or(seat.mail_status).as_str().to_owned();
    drop(seat);
    // What has been decided about the status is in the directory by the time the next message comes.
    organisation.settle_status("anna@example.org");
    Cell {
        reply: organisation.rcpt("anna@example.org", size),
        standing,
        status,
        told: told.into_iter().map(|(_, event)| event).collect(),
    }
}

/// What the manual says, in its own terms; `None` where it says nothing that could be wrong.
fn promised(options: Options, state: State, size: &str) -> (bool, &'static str) {
    let overdraft = options.overdraft || options.overquotastatus;
    let full = !matches!(state, State::BelowWarn | State::Warned);
    let expired = state == State::GraceExpired;
    match size {
        // Never a message greater than the quota, whatever is enforced.
        "larger" => (false, "552 5.2.3"),
        _ if !options.enforcement => (true, "DUNNO"),
        _ if full => (false, if expired { "552 5.2.2" } else { "452 4.2.2" }),
        // Overdraft: one message past the limit.
        "does not fit" if overdraft => (true, "DUNNO"),
        "does not fit" if state == State::Warned || state == State::BelowWarn => (false, "452 4.2.2"),
        _ => (true, "DUNNO"),
    }
}

fn table() -> String {
    let mut table = String::from(
        "# What becomes of a message for an account of 100000 bytes, for every setting of Oracle's three options.\n\
         # state: below warn 50 %, warned 95 %, over just reached 100 %, in grace the last moment of 120 h, expired the\n\
         # moment after. size: fits 1000 bytes, does not fit 60000 bytes, larger 100001 bytes.\n\n\
         enforcement | overdraft | overquotastatus | state      | size         | reply     | standing | status    | told\n",
    );
    for bits in 0..8 {
        let options = Options { enforcement: bits & 4 == 0, overdraft: bits & 2 != 0, overquotastatus: bits & 1 != 0 };
        let on = |flag: bool| if flag { "on" } else { "off" };
        for (state, state_name) in STATES {
            for (size_name, size) in SIZES {
                let cell = ask(options, state, size);
                let (_, reply) = promised(options, state, size_name);
                assert_eq!(cell.reply, reply, "{options:?} {state:?} {size_name}");
                let told = if cell.told.is_empty() { "-".to_owned() } else { cell.told.join(", ") };
                table.push_str(&format!(
                    "{:<11} | {:<9} | {:<15} | {state_name:<10} | {size_name:<12} | {:<9} | {:<8} | {:<9} | {told}\n",
                    on(options.enforcement),
                    on(options.overdraft),
                    on(options.overquotastatus),
                    cell.reply,
                    cell.standing.as_str(),
                    cell.status,
                ));
            }
        }
    }
    table
}

#[test]
fn every_cell_is_as_the_table_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cells.table");
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    let wrong: Vec<String> = expected
        .lines()
        .zip(table.lines())
        .filter(|(expected, got)| expected != got)
        .map(|(expected, got)| format!("expected {expected}\n     got {got}"))
        .collect();
    assert!(wrong.is_empty() && expected == table, "{}", wrong.join("\n"));
    assert_eq!(table.lines().filter(|line| line.starts_with("on ") || line.starts_with("off ")).count(), 120);
}

#[test]
fn statuses_and_notices_follow_the_options() {
    for bits in 0..8 {
        let options = Options { enforcement: bits & 4 == 0, overdraft: bits & 2 != 0, overquotastatus: bits & 1 != 0 };
        let overdraft = options.overdraft || options.overquotastatus;
        for (state, name) in STATES {
            let cell = ask(options, state, 1);
            let full = !matches!(state, State::BelowWarn | State::Warned);
            // The status is set at once, and only by overquotastatus.
            let status = if options.overquotastatus && options.enforcement && full { "overquota" } else { "active" };
            assert_eq!(cell.status, status, "{options:?} {name}");
            // Overdraft moves the warning to 100 %.
            let warned =
                cell.told.contains(&Event::Reached(mailquotad::service::notify::stage::Stage::Threshold(90)).as_str());
            assert_eq!(warned, !overdraft && state == State::Warned, "{options:?} {name}: {:?}", cell.told);
            assert_eq!(cell.told.contains(&"over"), full, "{options:?} {name}");
            assert_eq!(
                cell.told.contains(&"blocked"),
                options.enforcement && state == State::GraceExpired,
                "{options:?} {name}"
            );
        }
    }
}
