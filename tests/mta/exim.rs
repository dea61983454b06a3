//! Exim: the ACL that we ship.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

fn exim(folder: &Path) -> Command {
    let mut command = Command::new(unpacked("exim4-daemon-light/usr/sbin/exim4"));
    command.arg("-C").arg(folder.join("exim.conf")).current_dir("/");
    wrapped(&mut command, folder);
    command
}

/// A configuration as an admin has it, which includes our file at the place that it names.
fn configure(folder: &Path, port: u16) {
    let acl = folder.join("mailquotad.acl");
    fs::write(&acl, shipped("exim/mailquotad.acl", port)).unwrap();
    let (spool, acl) = (folder.join("spool"), acl.display());
    fs::create_dir_all(&spool).unwrap();
    let config = format!(
        "primary_hostname = mx.example.test\nspool_directory = {spool}\nlog_file_path = {spool}/%slog\n\
         exim_user = nobody\nexim_group = nogroup\n\
         domainlist local_domains = example.org : closed.example\nacl_smtp_rcpt = acl_check_rcpt\n\
         begin acl\nacl_check_rcpt:\n  require message = relay not permitted\n          domains = +local_domains\n\
         .include {acl}\n  accept\n\
         begin routers\nall:\n  driver = accept\n  transport = none\n\
         begin transports\nnone:\n  driver = appendfile\n  file = /dev/null\n",
        spool = spool.display(),
    );
    fs::write(folder.join("exim.conf"), config).unwrap();
}

#[test]
fn the_acl_refuses_whom_mailquotad_refuses() {
    let (mut daemon, port) = daemon();
    let folder = daemon.folder.path().to_owned();
    configure(&folder, port);
    let printed = exim(&folder).args(["-bP", "acl_smtp_rcpt"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), "acl_smtp_rcpt = acl_check_rcpt\n", "{printed:?}");

    let mut dialog = Dialog::start(exim(&folder).args(["-bh", "192.0.2.1"]));
    assert!(dialog.say("MAIL FROM:<a@elsewhere.example> SIZE=3000").starts_with("250"));
    for (recipient, expected) in [
        ("room@example.org", "250 Accepted"),
        ("full@example.org", "552 5.2.3 Message is larger than the mailbox may hold"),
        ("off+lists@example.org", "550 5.2.1 Mailbox is disabled"),
        ("any@closed.example", "450 4.2.1 Mailbox is inactive, try again later"),
        ("nobody@example.org", "250 Accepted"),
        ("x@elsewhere.example", "550 relay not permitted"),
    ] {
        assert_eq!(dialog.say(&format!("RCPT TO:<{recipient}>")), expected, "{recipient}");
    }
    dialog.say("RSET");
    assert!(dialog.say("MAIL FROM:<>").starts_with("250"));
    let full = "452 4.2.2 Mailbox is full, try again later";
    assert_eq!(dialog.say("RCPT TO:<full@example.org>"), full, "without a size");

    // While nobody answers, mail comes in.
    daemon.stop("TERM");
    assert_eq!(dialog.say("RCPT TO:<off@example.org>"), "250 Accepted");
}
