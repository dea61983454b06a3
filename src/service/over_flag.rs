//! The over-quota flag: a directory attribute that says whether an account is over, for whoever reads the
//! directory instead of asking us (Dovecot's `quota_over_flag`, other servers, address books).
//!
//! It goes the way of the statuses: what is wanted follows from the standing under the account's lock, the wish to
//! write it is stored with the change, and the directory is asked to compare and set. What differs: nobody but us
//! has a say in this attribute, so a value that somebody else has written is drift, and is put right.

use std::sync::Arc;

use super::account::{Account, Seat};
use super::accounting::Accounting;
use super::outbox::Subject;
use super::settings::Settings;
use crate::account::Writable;
use crate::directory::{Directory, DirectoryError, Wish};
use crate::quota::Level;
use crate::quota::overflag::OverFlag;
use crate::telemetry::events;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub attribute: Box<str>,
    /// Which values say "over".
    pub says: OverFlag,
    /// What is written while an account is over, which is one of those.
    pub value: Box<str>,
    /// What is written while it is not; `None` takes the attribute away.
    pub clear: Option<Box<str>>,
    /// From which level on an account is over.
    pub from: Level,
}

impl Flag {
    /// What is to be written, if the account's flag is wrong at this level.
    pub fn wish(&self, seat: &Seat, level: Level) -> Option<Wish> {
        let found = seat.attributes().get(&self.attribute).map(|value| &**value);
        let over = level >= self.from;
        self.says.is_wrong(found, over).then(|| Wish {
            dn: seat.dn.clone(),
            attribute: Writable::OverFlag,
            from: found.map(Into::into),
            to: if over { Some(self.value.clone()) } else { self.clear.clone() },
        })
    }

    /// Takes in what the directory has now.
    pub fn found(&self, seat: &mut Seat, value: Option<&str>) {
        let mut attributes = seat.attributes().clone();
        match value {
            Some(value) => drop(attributes.insert(self.attribute.clone(), value.into())),
            None => drop(attributes.remove(&self.attribute)),
        }
        seat.set_attributes(attributes);
    }
}

/// The wish about an account's flag as it is now.
pub fn wish_of(accounting: &Accounting, seat: &Seat, settings: &Settings) -> Option<Wish> {
    settings.over_flag.as_ref()?.wish(seat, accounting.level(seat, settings))
}

/// Compares the flags of all accounts with their standings; whatever is wrong is wished right. The flags of
/// those that are over, or are said to be, are read anew: there a change that nobody told us of would do harm.
pub async fn compare(accounting: Arc<Accounting>, directory: Arc<dyn Directory>) {
    let settings = accounting.settings.load_full();
    let Some(flag) = settings.over_flag.as_ref().filter(|_| accounting.loaded()) else { return };
    let mut doubtful = Vec::new();
    accounting.book.for_each_account(|account| {
        drop(accounting.settle(account));
        let seat = account.lock();
        let said = flag.says.says_over(seat.attributes().get(&flag.attribute).map(|value| &**value));
        // A flag that is being written is looked at by the outbox.
        if (said || accounting.level(&seat, &settings) >= flag.from) && !seat.flag_wished {
            doubtful.push((account.clone(), seat.dn.clone(), seat.heard));
        }
    });
    for (account, dn, heard) in doubtful {
        match directory.read(&dn, Writable::OverFlag).await {
            Ok(value) => take_in(&accounting, flag, &account, value.as_deref(), heard),
            Err(DirectoryError::Away(why)) => {
                events::flag_unread(&account.address, &why);
                return;
            }
            Err(DirectoryError::Refused(why)) => events::flag_unread(&account.address, &why),
        }
    }
}

fn take_in(accounting: &Accounting, flag: &Flag, account: &Arc<Account>, value: Option<&str>, heard: u32) {
    drop(accounting.with_seat(account, |seat, _| {
        // The directory has told of the entry meanwhile: what was read is older, or the same.
        if seat.heard == heard && !seat.flag_wished {
            flag.found(seat, value);
        }
    }));
}

/// The subject under which the wish about a flag is stored.
pub fn subject(address: &str) -> Subject {
    Subject::Flag(address.into())
}
