//! What stands behind the keys of Dovecot's quota plugins: the accounts.

use std::sync::Arc;

use super::doubts::{Doubts, Theirs};
use super::limits::Limits;
use super::names::{Folders, Users};
use super::{Change, Keeper, Totals, What};
use crate::ledger::{Op, Outcome};
use crate::quota::{CellKey, Cells, Delta, Usage};
use crate::service::account::Account;
use crate::service::accounting::Accounting;
use crate::service::admission::INBOX;
use crate::service::hints::Hints;
use crate::service::socket::Peer;
use crate::telemetry::events;
use crate::telemetry::metrics::Total;
use crate::wire::dict::Committed;
use crate::wire::dict::key::{Key, Resource};

pub struct Mailboxes {
    pub accounting: Arc<Accounting>,
    pub hints: Hints,
    pub doubts: Arc<Doubts>,
    pub totals: Totals,
    pub users: Users,
    pub folders: Folders,
    pub limits: Limits,
    /// Where it is waited for what the ledger says.
    pub runtime: tokio::runtime::Handle,
}

/// How often a total is stored anew where the ledger says that something else came before it.
const TRIES: usize = 5;

/// What a transaction comes to.
#[derive(Default)]
struct Plan<'a> {
    bytes: Option<Told>,
    messages: Option<Told>,
    marks: Vec<Mark<'a>>,
    limits: Vec<(Resource, u64)>,
}

/// What a transaction says about a number.
#[derive(Clone, Copy)]
enum Told {
    Is(u64),
    Changed(i64),
}

struct Mark<'a> {
    folder: &'a str,
    gone: bool,
}

impl Told {
    fn then(before: Option<Told>, by: i64) -> Told {
        match before {
            Some(Told::Is(number)) => Told::Is(number.saturating_add_signed(by)),
            Some(Told::Changed(before)) => Told::Changed(before.saturating_add(by)),
            None => Told::Changed(by),
        }
    }
}

fn is(told: Option<Told>) -> Option<u64> {
    match told {
        Some(Told::Is(number)) => Some(number),
        _ => None,
    }
}

fn changed(told: Option<Told>) -> Option<i64> {
    match told {
        Some(Told::Changed(by)) => Some(by),
        _ => None,
    }
}

impl Keeper for Mailboxes {
    fn look_up(&self, user: &str, key: Key<'_>) -> Option<u64> {
        self.accounting.metrics.dict_lookups.inc();
        let account = self.account(user)?;
        let (total, measured) = {
            let seat = account.lock();
            (seat.total(), seat.measured())
        };
        // Whom nobody has measured, Dovecot counts for itself, and tells us.
        measured?;
        let latest = self.doubts.latest(&account);
        match key {
            Key::Storage => Some(latest.bytes.unwrap_or(total.bytes)),
            Key::Messages => Some(latest.messages.unwrap_or(total.messages)),
            Key::Limit(_) | Key::Status(_) | Key::Other => None,
        }
    }

    fn commit(&self, user: &str, changes: &[Change], peer: &Peer) -> Committed {
        let plan = match plan(changes) {
            Ok(plan) => plan,
            Err(committed) => return committed,
        };
        let Some(account) = self.account(user) else {
            let increased = changed(plan.bytes).or(changed(plan.messages)).is_some();
            return match (plan.limits.is_empty(), increased) {
                (false, _) => Committed::Failed(format!("mailquotad knows no account {user:?}")),
                (true, true) => Committed::NotFound,
                // Most sites have users without a quota, and shared folders.
                (true, false) => Committed::Done,
            };
        };
        self.mark(&account, &plan.marks);
        let committed = self.total(&account, plan.bytes, plan.messages);
        match plan.limits.is_empty() {
            true => committed,
            false => self.limits.set(&account, &plan.limits, self.accounting.settings.load().units, peer),
        }
    }
}

fn plan(changes: &[Change]) -> Result<Plan<'_>, Committed> {
    let mut plan = Plan::default();
    for Change { key, what } in changes {
        let number = |value: &str| {
            let wrong = |_| Committed::Failed(format!("{key}: {value:?} is no number that can be"));
            value.parse::<u64>().map_err(wrong)
        };
        match (Key::read(key), what) {
            (Key::Status(folder), what) => plan.marks.push(Mark { folder, gone: *what == What::Unset }),
            (Key::Storage, What::Set(value)) => plan.bytes = Some(Told::Is(number(value)?)),
            (Key::Messages, What::Set(value)) => plan.messages = Some(Told::Is(number(value)?)),
            (Key::Storage, What::Increase(by)) => plan.bytes = Some(Told::then(plan.bytes, *by)),
            (Key::Messages, What::Increase(by)) => plan.messages = Some(Told::then(plan.messages, *by)),
            // Dovecot unsets a total only to set it in the same transaction.
            (Key::Storage | Key::Messages, What::Unset) => {}
            (Key::Limit(resource), What::Set(value)) => plan.limits.push((resource, number(value)?)),
            (Key::Other, What::Increase(_)) => return Err(Committed::NotFound),
            (Key::Limit(_) | Key::Other, _) | (_, What::Append) => {
                return Err(Committed::Failed(format!("mailquotad keeps nothing of the kind under {key:?}")));
            }
        }
    }
    Ok(plan)
}

impl Mailboxes {
    fn account(&self, user: &str) -> Option<Arc<Account>> {
        let settings = self.accounting.settings.load();
        let found = self.users.account(&self.accounting.book, &settings.delimiter, user);
        if found.is_none() {
            self.accounting.metrics.dict_strangers.inc();
            events::dict_stranger(user);
        }
        found
    }

    fn mark(&self, account: &Arc<Account>, marks: &[Mark<'_>]) {
        self.accounting.metrics.dict_marks.inc_by(marks.len() as u64);
        if self.totals == Totals::Believed {
            return;
        }
        for Mark { folder, gone } in marks {
            let folder = self.folders.in_store(folder);
            // Of a folder that is renamed Dovecot tells, of those below it not.
            if *gone && has_below(&account.lock().cells, &folder) {
                self.hints.account(account);
            } else {
                self.hints.folder(account, &folder);
            }
        }
    }

    fn total(&self, account: &Arc<Account>, bytes: Option<Told>, messages: Option<Told>) -> Committed {
        if bytes.is_none() && messages.is_none() {
            return Committed::Done;
        }
        let (known, base) = {
            let seat = account.lock();
            (seat.measured().is_some(), seat.total())
        };
        let (by, more) = (changed(bytes), changed(messages));
        let delta = Delta { bytes: by.unwrap_or(0), messages: more.unwrap_or(0) };
        if (by.is_some() || more.is_some()) && !known {
            return Committed::NotFound;
        }
        match self.totals {
            Totals::Believed => self.believe(account, is(bytes), is(messages), delta),
            Totals::Checked => {
                if by.is_some() || more.is_some() {
                    self.doubts.note_change(account, base, delta);
                }
                self.doubts.note(account, Theirs { bytes: is(bytes), messages: is(messages) });
            }
        }
        Committed::Done
    }

    /// Takes Dovecot's total for the usage. It says nothing of folders, so all of it is where new mail lands.
    fn believe(&self, account: &Arc<Account>, bytes: Option<u64>, messages: Option<u64>, delta: Delta) {
        let at = self.accounting.clock.now();
        let receipt = self.accounting.with_seat(account, |seat, batch| {
            let before = seat.cells.total().changed(delta);
            let usage = Usage::new(bytes.unwrap_or(before.bytes), messages.unwrap_or(before.messages));
            let cells: Cells = [(CellKey::new(INBOX, None), usage)].into_iter().collect();
            if seat.gone || seat.measured().is_some() && cells == seat.cells {
                return;
            }
            let (account, based_on) = (account.address.clone(), seat.revision);
            batch.push(Op::Measured { account, based_on, cells: cells.clone(), at });
            seat.cells = cells;
            seat.revision += 1;
            seat.set_measured(Some(at));
        });
        self.accounting.metrics.dict_total(Total::Taken);
        let (account, accounting) = (account.clone(), self.accounting.clone());
        // The answer does not wait for the disk: the next total is absolute, and heals what a crash takes.
        self.runtime.spawn(async move {
            let mut receipt = receipt;
            for _ in 0..TRIES {
                let Ok(Outcome::Conflict { present }) = receipt.durable().await else { return };
                receipt = accounting.stored_anew(&account, present);
            }
        });
    }
}

fn has_below(cells: &Cells, folder: &str) -> bool {
    cells.iter().any(|(key, _)| key.folder.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}
