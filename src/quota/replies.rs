//! Verdicts in the words of Dovecot's quota-status service, for sites that have those settings already.

use std::fmt;

use super::{Action, Reason, Verdict};

/// Dovecot's default for `quota_exceeded_message`.
pub const EXCEEDED: &str = "Quota exceeded (mailbox for user is full)";

/// The answer where the settings of an account cannot be used.
pub const UNUSABLE: &str = "DEFER_IF_PERMIT Temporary internal error";

const LARGER_THAN_SITE: &str = "Mail size is larger than the maximum size allowed by server configuration";

/// The settings as an admin writes them. What an account sets itself goes before what the site sets: see
/// [`Texts::or`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    pub success: Option<&'a str>,
    pub nouser: Option<&'a str>,
    pub overquota: Option<&'a str>,
    pub toolarge: Option<&'a str>,
    pub exceeded: Option<&'a str>,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// An action as it stands.
    Whole(&'a str),
    /// A text behind the codes that Dovecot refuses with.
    Refused(&'a str),
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Whole(action) => f.write_str(action),
            Said::Refused(why) => write!(f, "554 5.2.2 {why}"),
        }
    }
}

impl<'a> Texts<'a> {
    /// These, and where one is not set, that of `site`.
    pub fn or(self, site: Texts<'a>) -> Texts<'a> {
        Texts {
            success: self.success.or(site.success),
            nouser: self.nouser.or(site.nouser),
            overquota: self.overquota.or(site.overquota),
            toolarge: self.toolarge.or(site.toolarge),
            exceeded: self.exceeded.or(site.exceeded),
        }
    }

    /// `None` where Dovecot has no word for it: what is deferred in a grace period, and what a status
    /// that is not active refuses. The caller's own texts stand then.
    pub fn reply(self, verdict: Verdict) -> Option<Said<'a>> {
        let exceeded = Said::Refused(self.exceeded.unwrap_or(EXCEEDED));
        let too_large = self.toolarge.or(self.overquota).map(Said::Whole);
        match (verdict.reason, verdict.action) {
            (Reason::Unknown, _) => Some(Said::Whole(self.nouser.unwrap_or("REJECT Unknown user"))),
            (_, Action::Pass) => Some(Said::Whole(self.success.unwrap_or("OK"))),
            (Reason::Status(_) | Reason::LargerThanQueue | Reason::QueueFull, _) | (_, Action::Defer) => None,
            (Reason::LargerThanSite, Action::Reject) => Some(too_large.unwrap_or(Said::Refused(LARGER_THAN_SITE))),
            (Reason::LargerThanLimit, Action::Reject) => Some(too_large.unwrap_or(exceeded)),
            (_, Action::Reject) => Some(self.overquota.map_or(exceeded, Said::Whole)),
        }
    }
}

/// The settings of a site, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    success: Option<Box<str>>,
    nouser: Option<Box<str>>,
    overquota: Option<Box<str>>,
    toolarge: Option<Box<str>>,
    exceeded: Option<Box<str>>,
}

impl Replies {
    pub fn new(texts: Texts) -> Result<Replies, ReplyError> {
        let line = |name, text: Option<&str>| match text {
            // A text that Dovecot reads from a file keeps the newline at its end.
            Some(text) => {
                let text = text.trim_end_matches(['\r', '\n']);
                let broken = text.chars().any(char::is_control);
                if broken { Err(ReplyError { name }) } else { Ok(Some(Box::from(text))) }
            }
            None => Ok(None::<Box<str>>),
        };
        Ok(Replies {
            success: line("quota_status_success", texts.success)?,
            nouser: line("quota_status_nouser", texts.nouser)?,
            overquota: line("quota_status_overquota", texts.overquota)?,
            toolarge: line("quota_status_toolarge", texts.toolarge)?,
            exceeded: line("quota_exceeded_message", texts.exceeded)?,
        })
    }

    pub fn texts(&self) -> Texts<'_> {
        Texts {
            success: self.success.as_deref(),
            nouser: self.nouser.as_deref(),
            overquota: self.overquota.as_deref(),
            toolarge: self.toolarge.as_deref(),
            exceeded: self.exceeded.as_deref(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: a control character would break the reply; accepted: one line of text")]
pub struct ReplyError {
    pub name: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Status;

    const REASONS: [Reason; 6] = [
        Reason::Unknown,
        Reason::LargerThanSite,
        Reason::LargerThanLimit,
        Reason::Over,
        Reason::NoRoom,
        Reason::DomainOver,
    ];

    fn rejections(texts: Texts) -> Vec<String> {
        let replies = Replies::new(texts).unwrap();
        let reply = |reason| replies.texts().reply(Verdict { action: Action::Reject, reason }).unwrap().to_string();
        REASONS.into_iter().map(reply).collect()
    }

    #[test]
    fn what_is_not_set_falls_back_in_dovecots_order() {
        let full = "554 5.2.2 Quota exceeded (mailbox for user is full)";
        let site = "554 5.2.2 Mail size is larger than the maximum size allowed by server configuration";
        assert_eq!(rejections(Texts::default()), ["REJECT Unknown user", site, full, full, full, full]);
        let overquota = Texts { overquota: Some("full"), ..Texts::default() };
        assert_eq!(rejections(overquota), ["REJECT Unknown user", "full", "full", "full", "full", "full"]);
        let all = Texts { toolarge: Some("big"), nouser: Some("who"), ..overquota };
        assert_eq!(rejections(all), ["who", "big", "big", "full", "full", "full"]);
        let message = Texts { exceeded: Some("Nope\n"), ..Texts::default() };
        assert_eq!(rejections(message)[1..3], [site, "554 5.2.2 Nope"]);
        let own = Texts { exceeded: Some("Mine"), ..Texts::default() };
        assert_eq!(own.or(message).exceeded, Some("Mine"), "an account's own words go first");
    }

    #[test]
    fn passing_is_success_and_what_dovecot_does_not_know_is_left_to_others() {
        let reply = |action, reason| Texts::default().reply(Verdict { action, reason }).map(|said| said.to_string());
        assert_eq!(reply(Action::Pass, Reason::Room).as_deref(), Some("OK"));
        assert_eq!(reply(Action::Pass, Reason::Unknown).as_deref(), Some("REJECT Unknown user"));
        assert_eq!(reply(Action::Defer, Reason::Over), None);
        assert_eq!(reply(Action::Reject, Reason::Status(Status::Disabled)), None);
    }

    #[test]
    fn a_reply_stays_one_line() {
        let error = Replies::new(Texts { overquota: Some("552 no\naction=OK"), ..Texts::default() }).unwrap_err();
        assert!(error.to_string().starts_with("quota_status_overquota: "));
    }
}
