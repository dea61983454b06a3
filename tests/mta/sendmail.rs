//! Sendmail: the m4 file that we ship, made into a sendmail.cf by its own m4 files.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

fn configure(folder: &Path, port: u16) {
    let ours = folder.join("mailquotad.m4");
    fs::write(&ours, shipped("sendmail/mailquotad.m4", port)).unwrap();
    fs::create_dir_all(folder.join("mqueue")).unwrap();
    fs::write(folder.join("switch"), "hosts files\naliases files\n").unwrap();
    let (cf, here) = (unpacked("sendmail-cf/usr/share/sendmail/cf"), folder.display());
    let mc = format!(
        "include(`{cf}/m4/cf.m4')dnl\nOSTYPE(`linux')dnl\n\
         define(`confPID_FILE', `{here}/sendmail.pid')dnl\ndefine(`confSERVICE_SWITCH_FILE', `{here}/switch')dnl\n\
         define(`QUEUE_DIR', `{here}/mqueue')dnl\ndefine(`STATUS_FILE', `{here}/statistics')dnl\n\
         define(`HELP_FILE', `')dnl\ndefine(`ALIAS_FILE', `')dnl\n\
         define(`confDOMAIN_NAME', `mx.example.test')dnl\ndefine(`confDONT_PROBE_INTERFACES', `True')dnl\n\
         FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\n\
         LOCAL_DOMAIN(`example.org closed.example')dnl\n\
         MAILER(`local')dnl\nMAILER(`smtp')dnl\ninclude(`{ours}')dnl\n",
        cf = cf.display(),
        ours = ours.display(),
    );
    fs::write(folder.join("sendmail.mc"), mc).unwrap();
    let made = Command::new("m4")
        .arg(format!("-D_CF_DIR_={}/", cf.display()))
        .arg(folder.join("sendmail.mc"))
        .output()
        .expect("m4 is installed; `make test` does that");
    assert!(made.status.success() && made.stderr.is_empty(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(folder.join("sendmail.cf"), made.stdout).unwrap();
}

fn sendmail(folder: &Path) -> Command {
    let mut command = Command::new(unpacked("sendmail-bin/usr/libexec/sendmail/sendmail"));
    command.arg("-C").arg(folder.join("sendmail.cf")).current_dir("/");
    wrapped(&mut command, folder);
    command
}

#[test]
fn the_ruleset_refuses_whom_mailquotad_refuses() {
    let (mut daemon, port) = daemon();
    let folder = daemon.folder.path().to_owned();
    configure(&folder, port);

    let mut dialog = Dialog::start(sendmail(&folder).arg("-bs"));
    assert!(dialog.say("MAIL FROM:<a@elsewhere.example> SIZE=3000").starts_with("250"));
    for (recipient, expected) in [
        ("root@example.org", "250 2.1.5 <root@example.org>... Recipient ok (will queue)"),
        ("full@example.org", "552 5.2.3 Message is larger than the mailbox may hold"),
        ("off+lists@example.org", "550 5.2.1 <off+lists@example.org>... Mailbox is disabled"),
        // Sendmail takes a comma for a sign of its own and leaves out the space behind it.
        ("any@closed.example", "450 4.2.1 <any@closed.example>... Mailbox is inactive,try again later"),
    ] {
        let reply = dialog.say(&format!("RCPT TO:<{recipient}>"));
        assert!(reply == expected || reply == expected.replace(&format!("<{recipient}>... "), ""), "{reply}");
    }
    dialog.say("RSET");
    assert!(dialog.say("MAIL FROM:<>").starts_with("250"));
    let reply = dialog.say("RCPT TO:<full@example.org>");
    assert!(reply.starts_with("452 4.2.2") && reply.contains("Mailbox is full,try again later"), "{reply}");

    // A lookup that fails lets mail in. Each connection looks anew.
    daemon.stop("TERM");
    let mut dialog = Dialog::start(sendmail(&folder).arg("-bs"));
    assert!(dialog.say("MAIL FROM:<>").starts_with("250"));
    assert!(dialog.say("RCPT TO:<root@closed.example>").starts_with("250"));
}
