//! Replies in the words of Dovecot's quota-status: the site's, and those of accounts that have their own.

mod support {
    pub mod asked;
    pub mod counting;
    pub mod site;
}

use mailquotad::account::Entry;
use mailquotad::service::admission::{Admission, Message};
use mailquotad::service::report;
use mailquotad::wire::policy::Request;
use support::asked;
use support::site::{Site, account, domain};

const SETTINGS: &str = "\
[quota]
max_message_size = \"50K\"
recipient_delimiter = \"+-\"
[enforcement]
allowance = \"none\"
grace_period = \"0s\"
[policy.quota_status]
enabled = true
success = \"DUNNO\"
nouser = \"REJECT Nobody of that name\"
overquota = \"552 5.2.2 Full\"
toolarge = \"552 5.3.4 Too large\"
[policy.quota_status_attributes]
success = \"quotaStatusSuccess\"
overquota = \"quotaStatusOverquota\"
toolarge = \"quotaStatusToolarge\"
exceeded_message = \"quotaExceededMessage\"
";

fn with(entry: Entry, attributes: &[(&str, &str)]) -> Entry {
    let Entry::Account(mut entry) = entry else { return entry };
    entry.attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Entry::Account(entry)
}

fn site() -> Site {
    site_of(SETTINGS)
}

fn site_of(settings: &str) -> Site {
    let mut site = Site::new(settings);
    let own = [("quotaStatusSuccess", "OK"), ("quotaStatusOverquota", "450 4.2.2 On holiday, come back")];
    site.load([
        domain(1, "example.org", ""),
        account(2, "roomy@example.org", "10K"),
        account(3, "full@example.org", "10K"),
        with(account(4, "own@example.org", "10K"), &own),
        with(account(5, "ownroomy@example.org", "10K"), &own),
        // Neither is an action that Postfix would take as it is meant: the site's words stand.
        with(account(6, "bad@example.org", "10K"), &[("quotaStatusOverquota", "552")]),
        with(account(7, "text@example.org", "10K"), &[("quotaExceededMessage", "Mine is full")]),
    ]);
    for full in ["full", "own", "bad", "text"] {
        site.holds(&format!("{full}@example.org"), 20_000, 2);
    }
    site
}

fn ask(admission: &Admission, state: &str, recipient: &str, size: u64, out: &mut Vec<u8>) -> u64 {
    let text = format!(
        "request=smtpd_access_policy\nprotocol_state={state}\nrecipient={recipient}\nsize={size}\ninstance=1.2.3\n\n"
    );
    asked::ask(admission, &text, out)
}

const ANSWERS: [(&str, &str, u64, &str); 14] = [
    ("RCPT", "roomy@example.org", 1_000, "DUNNO"),
    ("RCPT", "roomy+box@example.org", 1_000, "DUNNO"),
    ("RCPT", "roomy-box@example.org", 1_000, "DUNNO"),
    ("RCPT", "nobody@example.org", 1_000, "REJECT Nobody of that name"),
    ("RCPT", "full@example.org", 1_000, "552 5.2.2 Full"),
    ("RCPT", "full@example.org", 15_000, "552 5.3.4 Too large"),
    ("RCPT", "roomy@example.org", 60_000, "552 5.3.4 Too large"),
    ("RCPT", "own@example.org", 1_000, "450 4.2.2 On holiday, come back"),
    ("RCPT", "ownroomy@example.org", 1_000, "OK"),
    ("RCPT", "bad@example.org", 1_000, "552 5.2.2 Full"),
    ("RCPT", "text@example.org", 1_000, "552 5.2.2 Full"),
    // The real size, which was not announced at RCPT.
    ("END-OF-MESSAGE", "roomy@example.org", 15_000, "552 5.3.4 Too large"),
    ("END-OF-MESSAGE", "roomy@example.org", 1_000, "DUNNO"),
    // Who passed at RCPT is not unknown at the end.
    ("END-OF-MESSAGE", "", 1_000, "DUNNO"),
];

#[test]
fn every_reply_has_the_words_of_the_account_else_of_the_site_and_costs_no_allocation() {
    let site = site();
    let admission = site.admission();
    let mut out = Vec::with_capacity(4096);
    for (state, recipient, size, expected) in ANSWERS {
        let counted = ask(&admission, state, recipient, size, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("action={expected}\n\n"), "{state} {recipient} {size}");
        assert_eq!(counted, 0, "{state} {recipient} {size}");
        if state == "RCPT" {
            let request = Request { recipient, size, ..Request::default() };
            let message = Message { size, folder: "INBOX", kind: None };
            let told = report::explain(&admission, &site.accounting, &request, message);
            assert_eq!(told.reply, expected, "explain says what the policy server says");
        }
    }
}

#[test]
fn without_words_of_the_site_the_accounts_message_stands_behind_dovecots_code() {
    let settings = SETTINGS.replace("overquota = \"552 5.2.2 Full\"\ntoolarge = \"552 5.3.4 Too large\"\n", "");
    let site = site_of(&settings);
    let admission = site.admission();
    for (recipient, expected) in [
        ("text@example.org", "554 5.2.2 Mine is full"),
        ("full@example.org", "554 5.2.2 Quota exceeded (mailbox for user is full)"),
    ] {
        let mut out = Vec::new();
        ask(&admission, "RCPT", recipient, 1, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("action={expected}\n\n"));
    }
}

#[test]
fn what_dovecot_has_no_word_for_keeps_ours() {
    let site = site_of(&SETTINGS.replace("grace_period = \"0s\"", "grace_period = \"5h\""));
    let mut out = Vec::new();
    ask(&site.admission(), "RCPT", "full@example.org", 1, &mut out);
    assert!(out.starts_with(b"action=452 4.2.2 "), "in the grace period mail is put off");
}
