//! The IMAP store: Dovecot 2.3 and 2.4, over TLS and without, with and without what makes it fast.

use std::fs;
use std::time::Duration;

use mailquotad::mailstore::doveadm::DoveadmStore;
use mailquotad::mailstore::imap::{ImapOptions, ImapStore, Login, Tls};
use mailquotad::mailstore::maildir::{MaildirOptions, MaildirStore, SizeKind};
use mailquotad::mailstore::remote::{FolderNames, Server};
use mailquotad::mailstore::{MailStore, MailboxRef};
use mailquotad::secret::Secret;
use mailquotad::wire::content_type::TypeTable;
use mailquotad::wire::template::Template;

use super::contract::{ANNA, BEN, MASTER, Site, holds_to_the_contract, knows_whom_it_does_not_know, mailbox, measured};
use super::doveadm;
use super::support::dovecot_2_4::Dovecot24;
use super::support::imap::message;

const IMAP_MASTER_2_4: &str = include_str!("../../packaging/dovecot/2.4/imap-master.conf");

/// What Dovecot says after a login, without what is to be missing.
fn without(missing: &[&str]) -> String {
    let all = ["LITERAL+", "SASL-IR", "ENABLE", "IDLE", "NAMESPACE", "LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE"];
    let left: Vec<&str> = all.into_iter().filter(|word| !missing.contains(word)).collect();
    format!("imap_capability = IMAP4rev1 {}\n", left.join(" "))
}

pub fn options(port: u16) -> ImapOptions {
    let timeout = Duration::from_secs(30);
    ImapOptions {
        server: Server { host: "127.0.0.1".into(), port, tls: false, ca_file: None, timeout },
        tls: Tls::Never,
        user: Template::name("%u").unwrap(),
        master: MASTER.0.into(),
        password: Secret::Text(MASTER.1.into()),
        login: Login::Auto,
        login_name: "%u*%m".into(),
        names: FolderNames { separator: '/', prefix: "".into(), foreign: Vec::new() },
        types: TypeTable::default(),
    }
}

fn plain(site: &Site) -> ImapOptions {
    options(site.dovecot.imap)
}

fn starttls(site: &Site) -> ImapOptions {
    let mut options = plain(site);
    options.tls = Tls::Required;
    options.server.ca_file = Some(site.folder.path().join("ca.pem"));
    options
}

fn from_the_start(site: &Site) -> ImapOptions {
    let mut options = starttls(site);
    (options.tls, options.server.tls, options.server.port) = (Tls::FromTheStart, true, site.imaps);
    options
}

/// Runs the contract, and checks by which means.
fn contract(format: &str, missing: &[&str], options: impl Fn(&Site) -> ImapOptions, login: &str, sizes: &str) {
    let site = Site::start(format, &without(missing));
    let store = ImapStore::new(options(&site));
    let found = store.look(&mailbox(ANNA)).unwrap();
    assert_eq!(found.login, login);
    assert!(found.sizes.starts_with(sizes), "{found:?}");
    holds_to_the_contract(&site, &store);
    knows_whom_it_does_not_know(&store);
}

#[test]
fn the_whole_mailbox_in_one_question() {
    contract("mdbox", &[], plain, "AUTHENTICATE PLAIN", "LIST-STATUS with STATUS=SIZE");
}

#[test]
fn the_size_of_each_folder_over_starttls() {
    let login = |site: &Site| ImapOptions { login: Login::Login, ..starttls(site) };
    contract("sdbox", &["LIST-STATUS"], login, "LOGIN", "STATUS=SIZE");
}

#[test]
fn the_sizes_of_messages_over_tls_with_the_password_in_a_file() {
    let from_file = |site: &Site| {
        let file = site.folder.path().join("password");
        fs::write(&file, format!("{}\n", MASTER.1)).unwrap();
        ImapOptions { password: Secret::File(file), ..from_the_start(site) }
    };
    contract("maildir", &["STATUS=SIZE"], from_file, "AUTHENTICATE PLAIN", "FETCH of what is new");
}

#[test]
fn the_sizes_of_messages_from_a_server_that_can_do_nothing_else() {
    let missing = ["STATUS=SIZE", "LIST-STATUS", "LIST-EXTENDED", "NAMESPACE", "SASL-IR", "LITERAL+"];
    contract("mdbox", &missing, plain, "AUTHENTICATE PLAIN", "FETCH of what is new");
}

#[test]
fn types_are_those_that_a_reader_of_the_files_sees() {
    let site = Site::start("maildir", "");
    let types = || {
        TypeTable::new([("voice", vec!["multipart/voice-message", "audio/*"]), ("fax", vec!["image/tiff"])]).unwrap()
    };
    let path = format!("{}/mail/%d/%n", site.folder.path().display()).parse().unwrap();
    let files = MaildirOptions { sizes: SizeKind::Virtual, types: types(), ..MaildirOptions::new(path) };
    let files = MaildirStore::new(files);
    let store = ImapStore::new(ImapOptions { types: types(), ..plain(&site) });
    let mut memory = Vec::new();
    let mut same = |what: &str| {
        let found = store.measure(&mailbox(ANNA), &memory).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.cells, files.measure(&mailbox(ANNA), &[]).unwrap().cells, "{what}");
        memory = found.memory;
        found.cells.iter().map(|(key, used)| (key.kind.as_deref().unwrap_or("-").to_owned(), used.messages)).collect()
    };
    let heads = [
        "Content-Type: audio/wav",
        "CONTENT-type:\n\tMultipart/Voice-Message; boundary=x",
        "Content-Type: image/tiff\nContent-Type: audio/wav",
        "Content-Type: (a comment (in it)) audio / wav",
        "Content-Type: audio",
        "Subject: Content-Type: audio/wav",
        "Content-Type: text/plain; name=\"audio/wav\"",
        "Content-Type:",
        "X: y",
    ];
    for (number, head) in heads.into_iter().enumerate() {
        site.save_text("INBOX", &format!("{head}\n\n{}", "x\n".repeat(number)));
    }
    // Longer than what is read of it.
    site.save_text("Long", &format!("Content-Type: audio/wav;{}\n\ntext\n", "\n x=y;".repeat(60_000)));
    let counted: Vec<(String, u64)> = same("all for the first time");
    assert_eq!(counted, [("-", 5), ("fax", 1), ("voice", 3), ("voice", 1)].map(|(kind, n)| (kind.to_owned(), n)));
    same("nothing has changed");
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "INBOX", "1"]);
    assert_eq!(same("a voice message went")[2], ("voice".to_owned(), 2));
    site.save_text("INBOX", "Content-Type: audio/ogg\n\nnew\n");
    assert_eq!(same("another came")[2], ("voice".to_owned(), 3));
    site.dovecot.doveadm_ok(&["expunge", "-u", ANNA, "mailbox", "INBOX", "1:3"]);
    site.save_text("INBOX", "Content-Type: image/tiff\n\nnew\n");
    same("some went and one came");
}

#[test]
fn an_inbox_with_all_other_folders_below_it() {
    // As Courier and Cyrus have it.
    let more = "namespace inbox {\n  separator = .\n  prefix = INBOX.\n}\n";
    let site = Site::start("maildir", more);
    for folder in ["INBOX", "INBOX.Sent", "INBOX.Sent.2025"] {
        site.save(folder, 5);
    }
    let store = ImapStore::new(plain(&site));
    let names: Vec<String> = measured(&store, None).into_keys().collect();
    assert_eq!(names, ["INBOX", "Sent", "Sent/2025"]);
    assert_eq!(
        measured(&store, None),
        measured(&super::maildir::store(&site), None),
        "as a reader of files names them"
    );
    for folder in names {
        assert_eq!(measured(&store, Some(&folder)).len(), 1, "{folder}");
    }
}

/// Folders that Anna sees and that are not hers: public ones, and one that Ben shares with her.
#[test]
fn what_others_share_is_theirs() {
    let more = "mail_plugins = acl\nprotocol imap {\n  mail_plugins = acl imap_acl\n}\n\
                namespace {\n  type = public\n  separator = /\n  prefix = Public/\n  list = yes\n  subscriptions = no\n  \
                location = maildir:@RUN@/mail/public\n}\n\
                namespace {\n  type = shared\n  separator = /\n  prefix = shared/%%u/\n  list = yes\n  \
                subscriptions = no\n  location = maildir:@RUN@/mail/%%d/%%n\n}\n\
                plugin {\n  acl = vfile:@RUN@/acls\n  acl_shared_dict = file:@RUN@/mail/shared.db\n}\n";
    let site = Site::start("maildir", more);
    fs::write(site.folder.path().join("acls"), "Public/* anyone lrwstipekxa\nPublic anyone lrwstipekxa\n").unwrap();
    let mut ben = site.dovecot.login(BEN);
    ben.ok("CREATE Work");
    ben.ok(&format!("SETACL Work {ANNA} lrwstipe"));
    let mut anna = site.dovecot.login(ANNA);
    anna.ok("CREATE Public/News");
    anna.ok("CREATE Publications");
    let shared = format!("shared/{BEN}/Work");
    for (folder, size) in [("INBOX", 1000), ("Publications", 2000), ("Public/News", 4000), (&shared, 8000)] {
        let answer = anna.append(folder, &message(size)).unwrap();
        assert!(answer.contains(" OK"), "{folder}: {answer}");
    }
    let seen = anna.ok("LIST \"\" *");
    assert!(seen.contains("Public/News") && seen.contains(&shared), "she sees them: {seen}");
    let own = || {
        let own = [("INBOX", 1000), ("Publications", 2000)];
        own.into_iter().map(|(folder, size)| (folder.to_owned(), (size, 1))).collect()
    };
    let types = || TypeTable::new([("voice", ["audio/*"])]).unwrap();
    for (way, types) in [("sums", TypeTable::default()), ("messages", types())] {
        let store = ImapStore::new(ImapOptions { types, ..plain(&site) });
        assert_eq!(measured(&store, None), own(), "{way}");
        for not_hers in ["Public/News", &shared] {
            assert!(measured(&store, Some(not_hers)).is_empty(), "{not_hers}");
        }
        let of_ben = store.measure(&mailbox(BEN), &[]).unwrap().cells;
        assert_eq!(of_ben.total(), mailquotad::quota::Usage::new(8000, 1), "what Anna put there is Ben's");
    }
    // doveadm leaves them out by itself, but for those that it is asked for by their names.
    let mut told = doveadm::options(&site, doveadm::key());
    assert_eq!(measured(&DoveadmStore::new(told.clone()), None), own());
    told.names.foreign = vec!["Public/".into(), "shared/".into()];
    let store = DoveadmStore::new(told);
    assert_eq!(measured(&store, None), own());
    for not_hers in ["Public/News", &shared] {
        assert!(measured(&store, Some(not_hers)).is_empty(), "{not_hers}");
    }
}

#[test]
fn dovecot_2_4_tells_the_same() {
    let mut dovecot = Dovecot24::prepare();
    fs::write(dovecot.path("masters"), format!("{}:{{PLAIN}}{}\n", MASTER.0, MASTER.1)).unwrap();
    dovecot.start(&[&IMAP_MASTER_2_4.replace("/etc/dovecot/mailquotad.master", "/run/mailquotad/masters")]);
    let mut imap = dovecot.login(ANNA);
    for (folder, size) in [("INBOX", 1000), ("Entw&APw-rfe", 2000), ("Sub", 500), ("Sub/below", 700)] {
        imap.ask(&format!("CREATE {folder}")).unwrap();
        assert!(imap.append(folder, &message(size)).unwrap().contains(" OK"));
    }
    imap.ok("CREATE Empty");
    let store = ImapStore::new(options(dovecot.imap));
    let sizes = store.look(&mailbox(ANNA)).unwrap().sizes;
    assert!(sizes.starts_with("LIST-STATUS with STATUS=SIZE"), "{sizes}");
    let expected = [("Entwürfe", 2000), ("INBOX", 1000), ("Sub", 500), ("Sub/below", 700)];
    let expected = expected.into_iter().map(|(folder, size)| (folder.to_owned(), (size, 1))).collect();
    assert_eq!(measured(&store, None), expected);
    // Byte for byte what is counted message by message.
    let types = TypeTable::new([("voice", ["audio/*"])]).unwrap();
    let counting = ImapStore::new(ImapOptions { types, ..options(dovecot.imap) });
    assert_eq!(measured(&counting, None), expected);
    assert_eq!(measured(&store, Some("Entwürfe")).len(), 1);
}

#[test]
fn whoever_is_not_let_in_hears_why_and_nothing_looks_empty() {
    let site = Site::start("sdbox", "disable_plaintext_auth = yes\nlogin_trusted_networks =\n");
    site.save("INBOX", 1);
    let said = |options: ImapOptions, user: &str| {
        let mailbox = MailboxRef { address: user.into(), attributes: Default::default() };
        ImapStore::new(options).measure(&mailbox, &[]).unwrap_err().to_string()
    };
    let wrong = said(ImapOptions { password: Secret::Text("wrong".into()), ..from_the_start(&site) }, ANNA);
    assert!(wrong.contains("AUTHENTICATIONFAILED") && wrong.contains(ANNA) && wrong.contains("quota"), "{wrong}");
    assert!(!wrong.contains("wrong"), "passwords are not shown: {wrong}");
    let unknown = said(from_the_start(&site), "nobody@example.org");
    assert!(unknown.contains("AUTHORIZATIONFAILED"), "{unknown}");
    let missing = said(ImapOptions { password: Secret::File("/nowhere/key".into()), ..from_the_start(&site) }, ANNA);
    assert!(missing.contains("/nowhere/key"), "{missing}");
    let mut stranger = from_the_start(&site);
    stranger.server.ca_file = None;
    assert!(said(stranger, ANNA).contains("certificate"), "an authority that nobody knows");
    let mut plain_on_tls = plain(&site);
    plain_on_tls.server.port = site.imaps;
    plain_on_tls.server.timeout = Duration::from_secs(2);
    let silent = said(plain_on_tls, ANNA);
    assert!(silent.contains("no answer in time"), "{silent}");
    let mut tls_on_plain = from_the_start(&site);
    tls_on_plain.server.port = site.dovecot.imap;
    assert!(!said(tls_on_plain, ANNA).is_empty());
}
