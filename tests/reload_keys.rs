//! What is said to need a restart, key by key, beside what a reload changes in what the service works with.

use std::collections::BTreeSet;
use std::path::Path;

use mailquotad::config::{Config, Variables};

/// Where the directory is not what it is about.
const LDIF: &str = "directory.kind = 'ldif'\ndirectory.file = '/srv/x.ldif'\n";
const LDAP: &str = "directory.base = 'dc=x'\n";
const DOVEADM: &str = "mailstore.kind = 'doveadm'\n";
const KEY: &str = "mailstore.kind = 'doveadm'\nmailstore.doveadm_api_key = 'k'\n";
const IMAP: &str = "mailstore.kind = 'imap'\nmailstore.imap_master = 'm'\n";
const MASTER: &str = "mailstore.kind = 'imap'\nmailstore.imap_master = 'm'\nmailstore.imap_password = 'p'\n";
const LOGIN: &str = "notify.login = 'x'\nnotify.tls = 'required'\n";
const FLAG: &str = "over_flag.attribute = 'flag'\n";
const TYPES: &str = "quota.types = { voice = 'audio/*' }\n";
const TOKEN: &str = "http.token_file = '/x'\n";
const FILES: &str = "log.directory = '/x'\n";

/// A key, what else is configured, and the lines of the file that make the difference, before and after.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    ("directory.kind", "", "directory.kind = 'ldif'\ndirectory.file = '/x'", "directory.base = 'dc=x'"),
    ("directory.file", "directory.kind = 'ldif'\n", "directory.file = '/x'", "directory.file = '/y'"),
    ("directory.base", "", "directory.base = 'dc=x'", "directory.base = 'dc=y'"),
    ("directory.urls", LDAP, "", "directory.urls = ['ldaps://x']"),
    ("directory.bind_dn", LDAP, "", "directory.bind_dn = 'cn=x'\ndirectory.bind_password_file = '/x'"),
    ("directory.bind_password_file", LDAP, "", "directory.bind_dn = 'cn=x'\ndirectory.bind_password_file = '/x'"),
    (
        "directory.bind_password",
        "directory.base = 'dc=x'\ndirectory.bind_dn = 'cn=x'\n",
        "directory.bind_password = 'a'",
        "directory.bind_password = 'b'",
    ),
    ("directory.sasl_external", LDAP, "", "directory.sasl_external = true"),
    ("directory.certificate_file", LDAP, "", "directory.certificate_file = '/x'\ndirectory.key_file = '/y'"),
    ("directory.key_file", LDAP, "", "directory.certificate_file = '/x'\ndirectory.key_file = '/y'"),
    ("directory.ca_file", LDAP, "", "directory.ca_file = '/x'"),
    ("directory.start_tls", LDAP, "", "directory.start_tls = true"),
    ("directory.timeout", LDAP, "", "directory.timeout = '1s'"),
    ("directory.follow", LDAP, "", "directory.follow = 'poll'"),
    ("directory.compare_interval", LDAP, "", "directory.compare_interval = '1s'"),
    ("directory.writes_per_second", LDAP, "", "directory.writes_per_second = 1"),
    ("directory.poll_interval", LDAP, "", "directory.poll_interval = '1s'"),
    ("directory.user_filter", LDAP, "", "directory.user_filter = '(a=b)'"),
    ("directory.domain_filter", LDAP, "", "directory.domain_filter = '(a=b)'"),
    ("directory.group_filter", LDAP, "", "directory.group_filter = '(a=b)'"),
    ("directory.attributes", LDAP, "", "directory.attributes.quota = ['a']"),
    ("ledger.path", "", "", "ledger.path = '/x'"),
    ("ledger.cache", "", "", "ledger.cache = '1M'"),
    ("ledger.keep_gone", "", "", "ledger.keep_gone = '9d'"),
    ("mailstore.kind", "", "", "mailstore.kind = 'reported'"),
    ("mailstore.path", "", "", "mailstore.path = '/var/mail/%{home}'"),
    ("mailstore.layout", "", "", "mailstore.layout = 'fs'"),
    ("mailstore.sizes", "", "", "mailstore.sizes = 'virtual'"),
    ("mailstore.threads", "", "", "mailstore.threads = 7"),
    ("mailstore.measure_after_delivery", "", "", "mailstore.measure_after_delivery = '1s'"),
    ("mailstore.measure_after_change", "", "", "mailstore.measure_after_change = '1s'"),
    ("mailstore.watch", "", "", "mailstore.watch = 'off'"),
    ("mailstore.watch_paths", "", "", "mailstore.watch_paths = ['/x']"),
    ("mailstore.doveadm_url", KEY, "", "mailstore.doveadm_url = 'https://x'"),
    ("mailstore.doveadm_api_key", DOVEADM, "mailstore.doveadm_api_key = 'a'", "mailstore.doveadm_api_key = 'b'"),
    (
        "mailstore.doveadm_api_key_file",
        DOVEADM,
        "mailstore.doveadm_api_key = 'a'",
        "mailstore.doveadm_api_key_file = '/x'",
    ),
    ("mailstore.doveadm_password", DOVEADM, "mailstore.doveadm_password = 'a'", "mailstore.doveadm_password = 'b'"),
    (
        "mailstore.doveadm_password_file",
        DOVEADM,
        "mailstore.doveadm_password = 'a'",
        "mailstore.doveadm_password_file = '/x'",
    ),
    ("mailstore.doveadm_ca_file", KEY, "", "mailstore.doveadm_ca_file = '/x'"),
    ("mailstore.doveadm_timeout", KEY, "", "mailstore.doveadm_timeout = '1s'"),
    ("mailstore.imap_server", MASTER, "", "mailstore.imap_server = 'x:1'"),
    ("mailstore.imap_tls", MASTER, "", "mailstore.imap_tls = 'required'"),
    ("mailstore.imap_ca_file", MASTER, "", "mailstore.imap_ca_file = '/x'"),
    ("mailstore.imap_user", MASTER, "", "mailstore.imap_user = '%n'"),
    (
        "mailstore.imap_master",
        "mailstore.kind = 'imap'\nmailstore.imap_password = 'p'\n",
        "mailstore.imap_master = 'a'",
        "mailstore.imap_master = 'b'",
    ),
    ("mailstore.imap_password", IMAP, "mailstore.imap_password = 'a'", "mailstore.imap_password = 'b'"),
    ("mailstore.imap_password_file", IMAP, "mailstore.imap_password = 'a'", "mailstore.imap_password_file = '/x'"),
    ("mailstore.imap_login", MASTER, "", "mailstore.imap_login = 'plain'"),
    ("mailstore.imap_login_name", MASTER, "", "mailstore.imap_login_name = '%u'"),
    ("mailstore.imap_timeout", MASTER, "", "mailstore.imap_timeout = '1s'"),
    ("quota.default_mailbox", "", "", "quota.default_mailbox = '1G'"),
    ("quota.default_messages", "", "", "quota.default_messages = '9'"),
    // Sizes stay what they were, so that those of the directory and of the file are in the same units.
    (
        "quota.units",
        "quota.default_mailbox = '1G'\nquota.max_message_size = '1M'\nenforcement.allowance = '1M'\n\
      queue.quota = [{ name = 'x', size = '1M' }]\n",
        "",
        "quota.units = 'decimal'",
    ),
    ("quota.zero", "", "quota.default_mailbox = '0'", "quota.default_mailbox = '0'\nquota.zero = 'unlimited'"),
    ("quota.rules", "", "", "quota.rules = ['*:storage=1G']"),
    ("quota.max_message_size", "", "", "quota.max_message_size = '1M'"),
    ("quota.recipient_delimiter", "", "", "quota.recipient_delimiter = '-'"),
    ("quota.extension_folders", "", "", "quota.extension_folders = true"),
    ("quota.folder_quotas", "", "", "quota.folder_quotas = false"),
    ("quota.type_quotas", "", "", "quota.type_quotas = false"),
    ("quota.types", "", "", TYPES),
    ("quota.root", "", "", "quota.root = [{ name = 'x', rules = ['*:storage=1G'] }]"),
    ("quota.client", TYPES, "", "quota.client = [{ type = 'voice', clients = ['127.0.0.1'] }]"),
    ("exempt.clients", "", "", "exempt.clients = ['127.0.0.1']"),
    ("exempt.policy_contexts", "", "", "exempt.policy_contexts = ['x']"),
    ("exempt.logins", "", "", "exempt.logins = ['x']"),
    ("exempt.senders", "", "", "exempt.senders = ['@x']"),
    ("enforcement.enabled", "", "", "enforcement.enabled = false"),
    ("enforcement.grace_period", "", "", "enforcement.grace_period = '1s'"),
    ("enforcement.grace_starts", "", "", "enforcement.grace_starts = 'warned'"),
    ("enforcement.threshold", "", "", "enforcement.threshold = 7"),
    ("enforcement.status", "", "", "enforcement.status = 'never'"),
    ("enforcement.blocks", "", "", "enforcement.blocks = 'any-bucket'"),
    ("enforcement.domain_grace_period", "", "", "enforcement.domain_grace_period = '1s'"),
    ("enforcement.domain_threshold", "", "", "enforcement.domain_threshold = 7"),
    ("enforcement.allowance", "", "", "enforcement.allowance = 'none'"),
    ("enforcement.reservation_timeout", "", "", "enforcement.reservation_timeout = '1s'"),
    ("policy.listen", "", "", "policy.listen = ['127.0.0.1:1']"),
    ("policy.mode", "", "", "policy.mode = '0600'"),
    ("policy.group", "", "", "policy.group = 'x'"),
    ("policy.max_connections", "", "", "policy.max_connections = 7"),
    ("policy.idle_timeout", "", "", "policy.idle_timeout = '1s'"),
    ("policy.request_timeout", "", "", "policy.request_timeout = '1s'"),
    ("policy.on_failure", "", "", "policy.on_failure = 'defer'"),
    ("policy.texts", "", "", "policy.texts.over = '552 5.2.2 Voll'"),
    ("policy.quota_status", "", "", "policy.quota_status.enabled = true"),
    (
        "policy.quota_status_attributes",
        "policy.quota_status.enabled = true\nmailstore.path = '/m/%{own}'\n",
        "",
        "policy.quota_status_attributes.success = 'own'",
    ),
    ("lookup.listen", "", "", "lookup.listen = ['127.0.0.1:1']"),
    ("lookup.mode", "", "", "lookup.mode = '0600'"),
    ("lookup.group", "", "", "lookup.group = 'x'"),
    ("lookup.max_connections", "", "", "lookup.max_connections = 7"),
    ("lookup.idle_timeout", "", "", "lookup.idle_timeout = '1s'"),
    ("lookup.request_timeout", "", "", "lookup.request_timeout = '1s'"),
    ("dovecot.listen", "", "", "dovecot.listen = ['127.0.0.1:1']"),
    ("dovecot.mode", "", "", "dovecot.mode = '0600'"),
    ("dovecot.group", "", "", "dovecot.group = 'x'"),
    ("dovecot.max_connections", "", "", "dovecot.max_connections = 7"),
    ("dovecot.default_domain", "", "", "dovecot.default_domain = 'x'"),
    ("dovecot.separator", "", "", "dovecot.separator = '.'"),
    ("dovecot.prefix", "", "", "dovecot.prefix = 'INBOX/'"),
    ("dovecot.foreign", "", "", "dovecot.foreign = ['Public/']"),
    ("dovecot.limit_setters", "", "", "dovecot.limit_setters = ['x']"),
    ("unix_quota.domains", "", "", "unix_quota.domains = ['x']"),
    ("unix_quota.user_attribute", "", "", "unix_quota.user_attribute = 'uid'"),
    ("unix_quota.file_systems", "", "", "unix_quota.file_systems = ['/x']"),
    ("unix_quota.kinds", "", "", "unix_quota.kinds = ['group']"),
    ("unix_quota.limit", "", "", "unix_quota.limit = 'soft'"),
    ("unix_quota.interval", "", "", "unix_quota.interval = '1s'"),
    ("unix_quota.max_age", "", "", "unix_quota.max_age = '2h'"),
    ("unix_quota.timeout", "", "", "unix_quota.timeout = '1s'"),
    ("unix_quota.rquota_transport", "", "", "unix_quota.rquota_transport = 'tcp'"),
    ("queue.read", "", "", "queue.read = false"),
    ("queue.interval", "", "", "queue.interval = '1s'"),
    ("queue.timeout", "", "", "queue.timeout = '1s'"),
    ("queue.settle", "", "", "queue.settle = '1s'"),
    ("queue.decay", "", "", "queue.decay = '1s'"),
    ("queue.stale", "", "", "queue.stale = '1s'"),
    ("queue.warn_interval", "", "", "queue.warn_interval = '1s'"),
    ("queue.quota", "", "", "queue.quota = [{ name = 'x', messages = 1 }]"),
    ("queue.source", "", "", "queue.source = [{ name = 'x', command = ['/x'] }]"),
    ("notify.enabled", "", "notify.from = 'x <x@y>'", "notify.from = 'x <x@y>'\nnotify.enabled = true"),
    ("notify.from", "", "", "notify.from = 'x <x@y>'"),
    ("notify.sender", "", "", "notify.sender = '<>'"),
    ("notify.thresholds", "", "", "notify.thresholds = [7]"),
    ("notify.interval", "", "", "notify.interval = '1s'"),
    ("notify.postmaster", "", "", "notify.postmaster = 'nobody'"),
    ("notify.copies", "", "", "notify.copies = true"),
    ("notify.admins", "", "", "notify.admins = ['x@y']"),
    ("notify.template", "", "", "notify.template = 'Subject: x$$y'"),
    ("notify.language_attribute", "", "", "notify.language_attribute = 'x'"),
    ("notify.transport", "", "", "notify.transport = 'lmtp'"),
    ("notify.server", "", "", "notify.server = 'x:1'"),
    ("notify.hello", "", "", "notify.hello = 'x'"),
    ("notify.timeout", "", "", "notify.timeout = '1s'"),
    ("notify.tls", "", "", "notify.tls = 'required'"),
    ("notify.ca_file", "", "", "notify.ca_file = '/x'"),
    ("notify.login", "notify.password = 'p'\nnotify.tls = 'required'\n", "notify.login = 'a'", "notify.login = 'b'"),
    ("notify.password", LOGIN, "notify.password = 'a'", "notify.password = 'b'"),
    ("notify.password_file", LOGIN, "notify.password = 'a'", "notify.password_file = '/x'"),
    ("over_flag.attribute", "", "", FLAG),
    ("over_flag.value", FLAG, "", "over_flag.value = 'X'"),
    ("over_flag.mask", FLAG, "", "over_flag.mask = 'T*'"),
    ("over_flag.clear", FLAG, "", "over_flag.clear = 'FALSE'"),
    ("over_flag.from", FLAG, "", "over_flag.from = 'blocked'"),
    ("warnings.which", "", "", "warnings.which = 'all'"),
    ("warnings.rule", "", "", "warnings.rule = [{ when = 'storage=95%', run = ['/x'] }]"),
    ("warnings.at_once", "", "", "warnings.at_once = 7"),
    ("warnings.timeout", "", "", "warnings.timeout = '1s'"),
    ("warnings.ca_file", "", "", "warnings.ca_file = '/x'"),
    ("warnings.listen", "", "", "warnings.listen = ['127.0.0.1:1']"),
    ("warnings.mode", "", "", "warnings.mode = '0600'"),
    ("warnings.group", "", "", "warnings.group = 'x'"),
    ("http.listen", TOKEN, "", "http.listen = ['127.0.0.1:1']"),
    ("http.token_file", "", "", TOKEN),
    ("http.socket", "", "", "http.socket = '/x'"),
    ("http.mode", "", "", "http.mode = '0600'"),
    ("http.group", "", "", "http.group = 'x'"),
    ("jobs.enforce", "", "", "jobs.enforce = 'never'"),
    ("jobs.enforce_domains", "", "", "jobs.enforce_domains = 'never'"),
    ("jobs.resync", "", "", "jobs.resync = 'never'"),
    ("jobs.digest", "", "", "jobs.digest = 'never'"),
    ("jobs.compare_flags", "", "", "jobs.compare_flags = 'never'"),
    ("log.level", "", "", "log.level = 'debug'"),
    ("log.format", "", "", "log.format = 'json'"),
    ("log.directory", "", "", FILES),
    ("log.rotation", FILES, "", "log.rotation = 'never'"),
    ("log.keep", FILES, "", "log.keep = 7"),
    ("log.journald", "", "", "log.journald = 'never'"),
];

fn read(started: Option<&Config>, lines: &str) -> Config {
    let text = if lines.contains("directory.") { lines.to_owned() } else { format!("{LDIF}{lines}") };
    let read = match started {
        None => Config::read("x.toml", &text, &Variables::new()),
        Some(started) => started.read_again("x.toml", &text, &Variables::new()),
    };
    read.unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// What a reload changes while the daemon runs, but for what it reads from other files.
fn in_force(config: &Config) -> String {
    format!("{:?} {:?}", config.settings(), config.log.level)
}

fn started_and_reloaded(given: &str, before: &str, after: &str) -> (Config, Config) {
    let started = read(None, &format!("{given}{before}"));
    let reloaded = read(Some(&started), &format!("{given}{after}"));
    (started, reloaded)
}

#[test]
fn a_key_is_in_force_at_once_or_is_said_to_need_a_restart() {
    for (key, given, before, after) in CHANGES {
        let (started, reloaded) = started_and_reloaded(given, before, after);
        let named = started.needs_restart(&reloaded);
        match in_force(&started) == in_force(&reloaded) {
            true => {
                assert!(named.iter().any(|named| named == key), "{key} changes nothing, and is not named: {named:?}")
            }
            false => assert!(named.is_empty(), "{key} is in force, and a restart is said to be needed for {named:?}"),
        }
        assert!(started.needs_restart(&started).is_empty());
    }
}

#[test]
fn no_key_is_left_out() {
    let changed: BTreeSet<&str> = CHANGES.iter().map(|(key, ..)| *key).collect();
    // There is one engine; templates are in files, and have a test of their own.
    let elsewhere = BTreeSet::from(["ledger.kind", "notify.templates"]);
    let known = Config::known_keys();
    let known: BTreeSet<&str> = known.iter().filter(|key| key.split('.').count() == 2).map(String::as_str).collect();
    let left_out: Vec<_> = known.difference(&changed).filter(|key| !elsewhere.contains(**key)).collect();
    assert!(left_out.is_empty() && changed.is_subset(&known), "{left_out:?}");
}

/// The directory is asked for no more than it was asked for at the start.
#[test]
fn what_takes_another_attribute_of_each_account_needs_a_restart() {
    let own = "policy.quota_status.enabled = true\npolicy.quota_status_attributes.success = 'a'\n";
    for (given, before, after, named) in [
        ("", "", "notify.templates.de = '/x'", &["notify.templates"][..]),
        ("notify.templates.de = '/x'\n", "", "notify.templates.fr = '/y'", &[]),
        ("notify.templates.de = '/x'\n", "", "notify.language_attribute = 'x'", &["notify.language_attribute"]),
        ("", "notify.templates.de = '/x'", "", &[]),
        (own, "", "policy.quota_status_attributes.toolarge = 'a'", &[]),
        (own, "", "policy.quota_status_attributes.toolarge = 'b'", &["policy.quota_status_attributes"]),
        (
            "policy.quota_status_attributes.success = 'a'\n",
            "",
            "policy.quota_status.enabled = true",
            &["policy.quota_status"],
        ),
    ] {
        let (started, reloaded) = started_and_reloaded(given, before, after);
        assert_eq!(started.needs_restart(&reloaded), named, "{given}{after}");
    }
}

#[test]
fn secrets_are_compared_and_never_shown() {
    let login = "notify.login = 'x'\nnotify.tls = 'required'\n";
    let (started, reloaded) = started_and_reloaded(login, "notify.password = 'sesame'", "notify.password = 'simsim'");
    assert_eq!(started.needs_restart(&reloaded), ["notify.password"]);
    for shown in [format!("{reloaded:?}"), format!("{reloaded:#?}"), reloaded.print()] {
        assert!(!shown.contains("simsim"), "{shown}");
    }
}

#[test]
fn the_documents_say_what_is_in_force_at_once() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/known-issues.md")).unwrap();
    let (_, about) = page.split_once("### A SIGHUP says").unwrap();
    let (about, _) = about.split_once("\n## ").unwrap();
    let missing: Vec<_> = Config::at_once().iter().filter(|key| !about.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/known-issues.md: {missing:?}");
}
