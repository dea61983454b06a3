//! Verdicts in the words of Dovecot's quota-status service, for sites that have those settings already.

use super::{Action, Reason, Verdict};

/// Dovecot's default for `quota_exceeded_message`.
pub const EXCEEDED: &str = "Quota exceeded (mailbox for user is full)";

/// The answer where the settings of an account cannot be used.
pub const UNUSABLE: &str = "DEFER_IF_PERMIT Temporary internal error";

const LARGER_THAN_SITE: &str = "Mail size is larger than the maximum size allowed by server configuration";

/// The four replies, ready to be sent. All but `nouser` may differ from account to account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replies {
    success: Box<str>,
    nouser: Box<str>,
    overquota: Box<str>,
    larger_than_limit: Box<str>,
    larger_than_site: Box<str>,
}

/// The settings as an admin writes them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    pub success: Option<&'a str>,
    pub nouser: Option<&'a str>,
    pub overquota: Option<&'a str>,
    pub toolarge: Option<&'a str>,
    pub exceeded: Option<&'a str>,
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
        let exceeded = line("quota_exceeded_message", texts.exceeded)?.unwrap_or_else(|| EXCEEDED.into());
        let overquota = line("quota_status_overquota", texts.overquota)?;
        let too_large = line("quota_status_toolarge", texts.toolarge)?.or_else(|| overquota.clone());
        let refused = |why: &str| Box::from(format!("554 5.2.2 {why}"));
        Ok(Replies {
            success: line("quota_status_success", texts.success)?.unwrap_or_else(|| "OK".into()),
            nouser: line("quota_status_nouser", texts.nouser)?.unwrap_or_else(|| "REJECT Unknown user".into()),
            overquota: overquota.unwrap_or_else(|| refused(&exceeded)),
            larger_than_limit: too_large.clone().unwrap_or_else(|| refused(&exceeded)),
            larger_than_site: too_large.unwrap_or_else(|| refused(LARGER_THAN_SITE)),
        })
    }

    /// `None` where Dovecot has no word for it: what is deferred in a grace period, and what a status
    /// that is not active refuses. The caller's own texts stand then.
    pub fn reply(&self, verdict: Verdict) -> Option<&str> {
        match (verdict.reason, verdict.action) {
            (Reason::Unknown, _) => Some(&self.nouser),
            (_, Action::Pass) => Some(&self.success),
            (Reason::Status(_), _) | (_, Action::Defer) => None,
            (Reason::LargerThanSite, Action::Reject) => Some(&self.larger_than_site),
            (Reason::LargerThanLimit, Action::Reject) => Some(&self.larger_than_limit),
            (_, Action::Reject) => Some(&self.overquota),
        }
    }
}

impl Default for Replies {
    fn default() -> Replies {
        Replies {
            success: "OK".into(),
            nouser: "REJECT Unknown user".into(),
            overquota: format!("554 5.2.2 {EXCEEDED}").into(),
            larger_than_limit: format!("554 5.2.2 {EXCEEDED}").into(),
            larger_than_site: format!("554 5.2.2 {LARGER_THAN_SITE}").into(),
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
        let reply = |reason| replies.reply(Verdict { action: Action::Reject, reason }).unwrap().to_owned();
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
        assert_eq!(Replies::new(Texts::default()), Ok(Replies::default()));
    }

    #[test]
    fn passing_is_success_and_what_dovecot_does_not_know_is_left_to_others() {
        let reply = |action, reason| Replies::default().reply(Verdict { action, reason }).map(str::to_owned);
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
