//! Every deviation that `docs/dovecot-deviations.md` lists, shown by an example, and none that it does not.

use std::collections::BTreeSet;

use mailquotad::quota::{Action, Limit, Occasion, Root, Rules, Usage};

use crate::deviations::{ORDER, REFUSALS, has_advisory_behind};
use crate::replay::{Settings, read, setting, settings, verdict};

/// Values that Dovecot 2.3.19 takes (or refuses in other words) and the deviation that each falls under.
const REFUSED: [(&str, &str, &str); 20] = [
    ("trailing", "quota_rule", "*:storage=1Gxyz"),
    ("trailing", "quota_rule", "Trash:storage=+10%x"),
    ("trailing", "quota_rule", "*:storage=1BB"),
    ("trailing", "quota_warning", "storage=80%x w"),
    ("trailing", "quota_grace", "10Mega"),
    ("too-large", "quota_rule", "*:storage=16777216T"),
    ("too-large", "quota_rule", "*:storage=9007199254740992"),
    ("too-large", "quota_rule", "Trash:messages=-9223372036854775807K"),
    ("too-large", "quota_grace", "16777216T"),
    ("large-percentage", "quota_rule", "Trash:storage=+4294967294%"),
    ("large-percentage", "quota_grace", "2147483648%"),
    ("two-signs", "quota_rule", "Trash:storage=+-10M"),
    ("negative-threshold", "quota_warning", "storage=-80% w"),
    ("no-threshold", "quota_warning", " storage=80% w"),
    ("no-threshold", "quota_warning", "- w"),
    ("blank-command", "quota_warning", "storage=80%  "),
    ("negative-grace", "quota_grace", "-10%"),
    ("empty-root", "quota", ""),
    ("grace-words", "quota_grace", "abc"),
    ("grace-words", "quota_grace", "9223372036854775808"),
];

const BEHAVIOUR: [(&str, fn()); 6] = [
    (ORDER, noenforcing_behind),
    ("inbox-spellings", inbox_spellings),
    ("characters", characters),
    ("past-64-bits", past_64_bits),
    ("argument-order", argument_order),
    ("backend-rule", backend_rule),
];

fn with(values: &[(&str, &str)]) -> Settings {
    let mut settings = settings("{}").unwrap();
    settings.extend(values.iter().map(|(name, value)| setting(name, value)));
    settings
}

#[test]
fn refusals() {
    for (name, key, value) in REFUSED {
        let deviation = REFUSALS.iter().find(|deviation| deviation.name == name).unwrap();
        let error = read(&with(&[(key, value)])).expect_err(value);
        assert!((deviation.refused)(&error), "{value}: {error}");
        let text = error.to_string();
        assert!(text.contains("accepted:"), "{text}");
    }
    let shown: BTreeSet<&str> = REFUSED.iter().map(|(name, ..)| *name).collect();
    assert_eq!(shown, REFUSALS.iter().map(|deviation| deviation.name).collect());
}

#[test]
fn what_is_well_formed_falls_under_no_deviation() {
    for (key, value) in [
        ("quota_rule", "*:storage=1GiB:messages=10"),
        ("quota_rule", "Trash:storage=-99%"),
        ("quota_warning", "-storage=100%:messages=90% w x"),
        ("quota_grace", "10MB"),
        ("quota_grace", "0"),
    ] {
        let settings = with(&[(key, value)]);
        assert!(read(&settings).is_ok(), "{value}");
        let error = read(&with(&[("quota", "")])).unwrap_err();
        assert!(crate::deviations::refusal(&settings, &error).is_err(), "{value}");
    }
}

#[test]
fn behaviour() {
    BEHAVIOUR.iter().for_each(|(_, shows)| shows());
}

#[test]
fn the_document_lists_exactly_these() {
    let document = include_str!("../../docs/dovecot-deviations.md");
    let listed: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names = REFUSALS.iter().map(|deviation| deviation.name).chain(BEHAVIOUR.iter().map(|(name, _)| *name));
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names.collect());
}

fn noenforcing_behind() {
    let settings = with(&[("quota_rule", "*:bytes=10"), ("quota2", "dict:UQ::noenforcing:proxy:/run/dict:q")]);
    assert!(has_advisory_behind(&settings));
    let plugin = read(&settings).unwrap();
    assert_eq!(verdict(&plugin, "INBOX", Usage::new(10, 1), 1, Occasion::Delivery).action, Action::Reject);
}

fn inbox_bytes(rules: [&str; 3], folder: &str) -> Option<u64> {
    let rules = Rules::parse(rules).unwrap();
    rules.limit(rules.base(Limit::NONE), folder).bytes
}

fn inbox_spellings() {
    assert_eq!(inbox_bytes(["*:bytes=10", "INBOX:messages=+5", "inbox:bytes=+1"], "INBOX"), Some(11));
}

fn characters() {
    assert_eq!(inbox_bytes(["*:bytes=10", "M?ll:bytes=+1", "M??ll:bytes=+2"], "Müll"), Some(11));
}

fn past_64_bits() {
    let largest = "*:bytes=9223372036854775807";
    let more = ["?:messages=1", "INBOX:bytes=+9223372036854775807"];
    assert_eq!(inbox_bytes([largest, more[0], more[1]], "INBOX"), Some(u64::MAX - 1));
    assert_eq!(inbox_bytes([largest, more[0], "INBOX:bytes=+300%"], "INBOX"), Some(u64::MAX));
}

fn argument_order() {
    let either = |arguments| Root::parse(&format!("count:UQ:{arguments}")).unwrap();
    assert_eq!(either("hidden:ns=Public/"), either("ns=Public/:hidden"));
}

fn backend_rule() {
    let settings = with(&[("quota", "maildir:UQ"), ("quota_rule", "*:backend=1000S")]);
    let error = read(&settings).unwrap_err().to_string();
    assert!(error.contains("backend rule not supported; accepted: storage="), "{error}");
}
