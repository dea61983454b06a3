//! The vectors of Oracle Messaging Server's manual, exempt senders, types by client, and a user who is over quota for
//! the whole grace period: the real service with a clock that stands where it is put.

mod support {
    pub mod organisation;
    pub mod site;
}

use std::sync::Arc;

use mailquotad::directory::Directory;
use mailquotad::directory::entry::{EntryReader, Preset};
use mailquotad::directory::ldif::{LdifDirectory, LdifOptions};
use mailquotad::quota::{CellKey, Delta, Moment};
use mailquotad::service::outbox;
use mailquotad::service::report;
use mailquotad::wire::policy::{Request, State};
use support::organisation::Organisation;

const M: i64 = 1 << 20;
const HOUR: u64 = 3_600_000;
const ANNA: &str = "anna@example.org";
const VECTOR: &str = "20M;#text%10M;#voice%10M;Archive%100M";

fn put(organisation: &Organisation, folder: &str, kind: Option<&str>, bytes: i64, messages: i64) {
    organisation.change(ANNA, vec![(CellKey::new(folder, kind), Delta { bytes, messages })]);
}

/// Bucket, megabytes, messages.
fn buckets(organisation: &Organisation) -> Vec<(String, u64, u64)> {
    let account = organisation.accounting.book.account(ANNA).unwrap();
    let report = report::account(&organisation.accounting, &account);
    report.buckets.into_iter().map(|b| (b.name, b.used.bytes / M as u64, b.used.messages)).collect()
}

fn named(rows: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    rows.iter().map(|(name, bytes, messages)| ((*name).to_owned(), *bytes, *messages)).collect()
}

#[test]
fn a_message_is_counted_once_and_its_type_beats_its_folder() {
    let organisation = Organisation::new("", Moment(HOUR));
    organisation.account(ANNA, VECTOR);
    put(&organisation, "INBOX", None, 3 * M, 3);
    put(&organisation, "Archive/2024", None, 50 * M, 10);
    put(&organisation, "Archive", Some("text"), 2 * M, 2);
    // Eight voice messages in a folder of their own: in the type's bucket, in no other.
    put(&organisation, "memos", Some("voice"), 8 * M, 8);
    let expected = [("default", 3, 3), ("#text", 2, 2), ("#voice", 8, 8), ("Archive", 50, 10)];
    assert_eq!(buckets(&organisation), named(&expected));
    assert_eq!(expected.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), 63, "the buckets add up to all mail");
}

#[test]
fn switched_off_kinds_of_buckets_count_in_the_rest() {
    for (keys, expected) in [
        ("type_quotas = false", vec![("default", 11, 11), ("Archive", 52, 12)]),
        ("folder_quotas = false", vec![("default", 53, 13), ("#text", 2, 2), ("#voice", 8, 8)]),
        ("type_quotas = false\nfolder_quotas = false", vec![("default", 63, 23)]),
    ] {
        let organisation = Organisation::new(&format!("[quota]\n{keys}\n"), Moment(HOUR));
        organisation.account(ANNA, VECTOR);
        put(&organisation, "INBOX", None, 3 * M, 3);
        put(&organisation, "Archive/2024", None, 50 * M, 10);
        put(&organisation, "Archive", Some("text"), 2 * M, 2);
        put(&organisation, "memos", Some("voice"), 8 * M, 8);
        assert_eq!(buckets(&organisation), named(&expected), "{keys}");
    }
}

const CLIENTS: &str = "[exempt]\nclients = [\"192.0.2.0/24\"]\nsenders = [\"@pbx.example\"]\n\
                       [quota.types]\nvoice = [\"audio/*\"]\n[[quota.client]]\ntype = \"voice\"\nlogins = [\"voicemail\"]\n";

#[test]
fn exempt_clients_pass_and_are_counted_all_the_same() {
    let organisation = Organisation::new(CLIENTS, Moment(HOUR));
    organisation.account(ANNA, "1M");
    put(&organisation, "INBOX", None, 2 * M, 1);
    let request = Request { state: State::Rcpt, recipient: ANNA, size: 1000, instance: "i", ..Request::default() };
    assert_eq!(organisation.answer(&request), "452 4.2.2");
    let exempt = Request { client_address: "192.0.2.7", ..request };
    assert_eq!(organisation.answer(&exempt), "DUNNO");
    assert_eq!(organisation.answer(&Request { sender: "any@pbx.example", ..request }), "DUNNO");
    let account = organisation.accounting.book.account(ANNA).unwrap();
    let reserved = || account.lock().reserved(Moment(HOUR)).bytes;
    assert_eq!(reserved(), 0);
    assert_eq!(organisation.answer(&Request { state: State::EndOfMessage, recipient: "", ..exempt }), "DUNNO");
    assert_eq!(reserved(), 1000, "room is held for it like for any other");
}

#[test]
fn a_voicemail_gateway_is_judged_by_the_bucket_of_its_type() {
    let organisation = Organisation::new(CLIENTS, Moment(HOUR));
    organisation.account(ANNA, "10M;#voice%1M");
    put(&organisation, "INBOX", Some("voice"), M, 4);
    let request = Request { state: State::Rcpt, recipient: ANNA, size: 1000, ..Request::default() };
    assert_eq!(organisation.answer(&request), "DUNNO");
    assert_eq!(organisation.answer(&Request { sasl_username: "voicemail", ..request }), "452 4.2.2");
}

#[test]
fn our_own_notices_pass_where_one_is_expected_and_nowhere_else() {
    let notify = "[notify]\nenabled = true\nfrom = \"quota@example.org\"\n";
    let organisation = Organisation::new(notify, Moment(HOUR));
    organisation.account(ANNA, "1M");
    let ours =
        Request { state: State::Rcpt, recipient: ANNA, size: 1000, sender: "Quota@Example.org", ..Request::default() };
    organisation.account("ben@example.org", "0");
    put(&organisation, "INBOX", None, 2 * M, 1);
    assert_eq!(organisation.accounting.notices.waiting().len(), 2, "ben may have no mail at all and is told so");
    assert_eq!(organisation.answer(&ours), "DUNNO");
    assert_eq!(organisation.answer(&Request { size: 100_000, ..ours }), "452 4.2.2", "no notice is that large");
    assert_eq!(organisation.answer(&Request { sender: "x@example.org", ..ours }), "452 4.2.2");
    // A forged sender gets nothing into a mailbox that no notice is on its way to: this one was full before
    // anybody was told of anything.
    let quiet = Organisation::new("[notify]\nfrom = \"quota@example.org\"\n", Moment(HOUR));
    quiet.account(ANNA, "1M");
    put(&quiet, "INBOX", None, 2 * M, 1);
    assert_eq!(quiet.answer(&ours), "452 4.2.2");
}

#[tokio::test]
async fn a_user_over_quota_for_the_whole_grace_period_is_deferred_then_refused_then_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("organisation.ldif");
    let ldif = format!(
        "version: 1\n\ndn: mail={ANNA},o=site\nobjectClass: inetMailUser\nmail: {ANNA}\nmailUserStatus: active\nmailQuota: 1M\n"
    );
    std::fs::write(&file, &ldif).unwrap();
    let directory: Arc<dyn Directory> =
        Arc::new(LdifDirectory::new(LdifOptions::new(&file, EntryReader::new(Preset::Sun))));
    let organisation = Organisation::new("[enforcement]\ngrace_period = \"120h\"\n", Moment(HOUR));
    organisation.account(ANNA, "1M");
    let status = async || {
        outbox::work_once(&organisation.accounting, &directory).await;
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().find_map(|line| line.strip_prefix("mailUserStatus: ")).unwrap().to_owned()
    };
    put(&organisation, "INBOX", None, M, 1);
    for hours in [0, 60, 59] {
        organisation.pass(hours * HOUR);
        assert_eq!(organisation.rcpt(ANNA, 1000), "452 4.2.2", "after {hours} hours more");
        assert_eq!(status().await, "active");
    }
    organisation.pass(HOUR - 1);
    assert_eq!(organisation.rcpt(ANNA, 1000), "452 4.2.2", "the last moment");
    organisation.pass(1);
    assert_eq!(organisation.rcpt(ANNA, 1000), "552 5.2.2");
    assert_eq!(status().await, "overquota");
    assert_eq!(organisation.rcpt(ANNA, 1000), "552 5.2.2");
    put(&organisation, "INBOX", None, -M, -1);
    assert_eq!(status().await, "active");
    assert_eq!(organisation.rcpt(ANNA, 1000), "DUNNO");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ldif, "and no other byte has changed");
}
