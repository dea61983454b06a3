//! Replies in the words of Dovecot's quota-status service, for a site that has such settings and accounts that
//! override them by attributes of their directory entries.

use std::collections::BTreeMap;

use super::account::Account;
use crate::quota::Verdict;
use crate::quota::replies::{Replies, Said, Texts};
use crate::wire::policy::{Code, Reply};

/// The attributes in which an account may have words of its own; `None` where there is no such attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnWords {
    pub success: Option<Box<str>>,
    pub overquota: Option<Box<str>>,
    pub toolarge: Option<Box<str>>,
    pub exceeded: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaStatus {
    pub site: Replies,
    pub own: OwnWords,
}

/// What Dovecot refuses with where only a text is set.
const REFUSED: Code = Code::new(554, 2, 2).expect("a code that refuses");

impl QuotaStatus {
    /// Whether there was something to say. On the hot path: allocates nothing.
    pub fn say(&self, verdict: Verdict, account: Option<&Account>, reply: &mut Reply<'_>) -> bool {
        if let Some(account) = account {
            let seat = account.lock();
            let own = self.own.of(seat.attributes());
            if own != Texts::default() && speak(own.or(self.site.texts()), verdict, reply) {
                return true;
            }
        }
        speak(self.site.texts(), verdict, reply)
    }
}

/// An account's words that cannot be sent count as none.
fn speak(texts: Texts<'_>, verdict: Verdict, reply: &mut Reply<'_>) -> bool {
    match texts.reply(verdict) {
        Some(Said::Whole(action)) => reply.act(action).is_ok(),
        Some(Said::Refused(why)) => {
            reply.refuse(REFUSED, why);
            true
        }
        None => false,
    }
}

impl OwnWords {
    fn of<'a>(&self, attributes: &'a BTreeMap<Box<str>, Box<str>>) -> Texts<'a> {
        let value = |name: &Option<Box<str>>| attributes.get(name.as_ref()?).map(|value| &**value);
        Texts {
            success: value(&self.success),
            // Nobody has no words of his own.
            nouser: None,
            overquota: value(&self.overquota),
            toolarge: value(&self.toolarge),
            exceeded: value(&self.exceeded),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.success, &self.overquota, &self.toolarge, &self.exceeded].into_iter().filter_map(Option::as_deref)
    }
}
