//! A request of the policy protocol: what its two places, RCPT and END-OF-MESSAGE, know, and what is remembered from
//! the one to the other.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Admission, INBOX, Judged, Message, folder_of, put_in_words};
use crate::quota::verdict::{Recipient, Untold, decide};
use crate::quota::{Action, Moment, Reason};
use crate::service::account::Account;
use crate::service::exempt::kind_of;
use crate::service::policy::Answer;
use crate::service::settings::{OnFailure, Settings};
use crate::service::socket::Peer;
use crate::service::transactions::Names;
use crate::telemetry::events;
use crate::wire::policy::{Reply, Request, State};

/// Whom a message is for.
struct Whom<'a> {
    accounts: &'a [Arc<Account>],
    others: bool,
    /// By an address with an extension.
    extended: bool,
}

impl<'a> Message<'a> {
    /// What is known of a message while it comes in: its size, its type where the client tells, and its folder
    /// where the address does.
    fn of(request: &'a Request<'_>, extended: bool, settings: &'a Settings) -> Message<'a> {
        let folder = folder_of(settings, request.recipient, extended);
        Message { size: request.size, folder, kind: kind_of(&settings.typed, request) }
    }
}

impl Answer for Admission {
    fn answer(&self, request: &Request<'_>, peer: &Peer, reply: &mut Reply<'_>) {
        let settings = self.accounting.settings.load();
        let now = self.accounting.clock.now();
        if request.state == State::EndOfMessage && self.is_left_over(request, &settings) {
            let text = &settings.texts.unavailable;
            events::notice_left_over(request.recipient);
            return reply.refuse(text.code, &text.words);
        }
        let Judged { verdict, account } = match request.state {
            State::EndOfMessage => self.end_of_message(request, peer, &settings, now),
            _ => self.rcpt(request, peer, &settings, now),
        };
        self.metrics.policy_requests.inc();
        self.metrics.verdict(verdict);
        if verdict.reason == Reason::Unknown && settings.on_failure == OnFailure::Defer && !self.accounting.loaded() {
            let text = &settings.texts.unavailable;
            events::not_loaded(request.recipient, text);
            return reply.refuse(text.code, &text.words);
        }
        // Of whom nothing was remembered at the end of a message is not unknown.
        if verdict.reason == Reason::Unknown && request.state == State::EndOfMessage {
            return reply.dunno();
        }
        put_in_words(&settings, verdict, account.as_deref(), reply);
        match verdict.action {
            Action::Pass => events::passed(request.recipient, request.sender, request.size, verdict),
            _ => events::refused(request.recipient, request.sender, request.size, verdict, &reply.action()),
        }
    }
}

impl Admission {
    fn rcpt(&self, request: &Request<'_>, peer: &Peer, settings: &Settings, now: Moment) -> Judged {
        let found = self.expand(settings, request.recipient);
        let whom = Whom { accounts: &found.accounts, others: found.others, extended: found.extended };
        let mailbox = self.judge_all(&whom, request, settings, now, None);
        self.look_again(mailbox.verdict, &found.accounts, now);
        let limited = self.queues.are_limited();
        let judged = match limited && !self.is_stopped_by_nothing(request, &found.accounts, settings, now) {
            true => mailbox.beside(self.queues.at_rcpt(request, &settings.policy, &mut Untold)),
            false => mailbox,
        };
        if judged.verdict.action == Action::Pass
            && let Some(key) = self.transactions.key((host(peer), request.server_address), request.instance)
        {
            // At the end of a message for several nobody says who had which folder: nothing is refused for those.
            let elsewhere = folder_of(settings, request.recipient, found.extended) != INBOX;
            let recipient = limited.then_some(request.recipient);
            self.transactions.add(key, &found.accounts, found.others || elsewhere, recipient);
        }
        judged
    }

    fn end_of_message(&self, request: &Request<'_>, peer: &Peer, settings: &Settings, now: Moment) -> Judged {
        let key = self.transactions.key((host(peer), request.server_address), request.instance);
        let remembered = key.and_then(|key| self.transactions.take(key));
        let mut recipients = Names::default();
        let (accounts, others, extended): (SmallVec<[Arc<Account>; 4]>, bool, bool) = if request.recipient.is_empty() {
            let transaction = remembered.unwrap_or_default();
            recipients = transaction.recipients;
            // Fewer were remembered than Postfix accepted: the rest, whoever it is, must get its mail.
            let others = transaction.others || transaction.addresses < request.recipient_count;
            (transaction.accounts.into_iter().collect(), others, false)
        } else {
            let found = self.expand(settings, request.recipient);
            if self.queues.are_limited() {
                recipients.add(request.recipient);
            }
            (found.accounts, found.others, found.extended)
        };
        let until = now.after(settings.reservation);
        let exempt = self.is_stopped_by_nothing(request, &accounts, settings, now);
        // The queue first: what it counted is easily taken back.
        let queue = self.queues.at_end(request, peer, recipients.iter(), &settings.policy, exempt);
        let hold = (queue.action == Action::Pass).then_some(until);
        let mailbox = self.judge_all(&Whom { accounts: &accounts, others, extended }, request, settings, now, hold);
        self.look_again(mailbox.verdict, &accounts, now);
        if mailbox.verdict.action != Action::Pass {
            self.queues.take_back(request, peer);
        }
        let judged = mailbox.beside(queue);
        let verdict = judged.verdict;
        if verdict.action == Action::Pass {
            self.announce(&accounts);
        }
        judged
    }

    /// As [`Admission::judge_found`], for whoever is not exempt.
    fn judge_all(
        &self,
        whom: &Whom<'_>,
        request: &Request<'_>,
        settings: &Settings,
        now: Moment,
        hold: Option<Moment>,
    ) -> Judged {
        let Whom { accounts, others, extended } = *whom;
        let message = Message::of(request, extended, settings);
        if !accounts.is_empty() && self.is_exempt(request, accounts, settings, now) {
            if let Some(until) = hold {
                accounts.iter().for_each(|account| account.lock().reserve(message.size.max(1), until));
            }
            let verdict = decide(request.size, &Recipient::Exempt, &settings.policy, now, &mut Untold);
            return Judged { verdict, account: accounts.first().cloned() };
        }
        self.judge_found(accounts, others, message, settings, now, hold)
    }

    fn is_left_over(&self, request: &Request<'_>, settings: &Settings) -> bool {
        settings.notify.is_own(request.sender, request.size) && self.accounting.notices.is_left_over(request.recipient)
    }
}

/// What tells the hosts apart whose instances might look alike.
fn host(peer: &Peer) -> Option<std::net::IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(address.ip()),
        Peer::Unix(_) => None,
    }
}
