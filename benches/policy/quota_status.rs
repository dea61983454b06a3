//! Dovecot's quota-status with the users in LDAP: what most sites ask today.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;

use anyhow::ensure;
use mailquotad::service::socket::Stream;
use mailquotad::wire::endpoint::Endpoint;

use super::contender::Contender;
use super::dovecot::Dovecot;
use super::port::free_port;
use super::slapd::{DAEMON, PASSWORD, SUFFIX, Slapd, frame, user};

/// As many as it takes for none to be asked twice in a row; what a lookup costs there does not depend on it.
const ACCOUNTS: u32 = 10_000;

pub struct QuotaStatus {
    pub contender: Contender,
    _dovecot: Dovecot,
    _slapd: Slapd,
}

impl QuotaStatus {
    pub fn start(folder: &Path) -> anyhow::Result<QuotaStatus> {
        let mut slapd = Slapd::prepare("", "");
        let mut ldif = frame();
        for number in 0..ACCOUNTS {
            // A third has no room for the message that the clients ask about.
            let limit = if number % 3 == 0 { "10K" } else { "2G" };
            std::write!(ldif, "{}", user(&format!("user{number:07}"), &format!("mailQuota: {limit}\n")))?;
        }
        slapd.add_offline(&ldif);
        slapd.run();
        let root = folder.join("dovecot");
        std::fs::create_dir_all(folder.join("mail"))?;
        std::fs::create_dir_all(&root)?;
        let ldap = format!(
            "uris = {}\ndn = {DAEMON}\ndnpass = {PASSWORD}\nbase = {SUFFIX}\nscope = subtree\n\
             user_filter = (mail=%u)\nuser_attrs = mailQuota=quota_rule=*:storage=%$\n",
            slapd.url()
        );
        std::fs::write(root.join("ldap.conf"), ldap)?;
        let socket = folder.join("quota-status.sock");
        let port = free_port();
        let more = format!(
            "userdb {{\n  driver = ldap\n  args = {}\n}}\nplugin {{\n  quota_status_success = DUNNO\n}}\n\
             service quota-status {{\n  executable = quota-status -p postfix\n  client_limit = 1\n  \
             unix_listener {} {{\n    mode = 0666\n  }}\n  inet_listener {{\n    address = 127.0.0.1\n    \
             port = {port}\n  }}\n}}\n",
            root.join("ldap.conf").display(),
            socket.display(),
        );
        let dovecot = Dovecot::start(&root, &folder.join("mail"), &more, &socket)?;
        let unix = Endpoint::Unix(socket);
        for (number, expected) in [(0, "action=554 "), (1, "action=DUNNO")] {
            let said = answer(&unix, number)?;
            ensure!(said.starts_with(expected), "quota-status said {said:?} of {number}: {}", dovecot.said("log"));
        }
        let tcp = Endpoint::Tcp { host: "127.0.0.1".into(), port };
        let contender = Contender { name: "quota-status", tcp, unix, accounts: ACCOUNTS };
        Ok(QuotaStatus { contender, _dovecot: dovecot, _slapd: slapd })
    }
}

/// That it decides, and does not merely fail fast.
fn answer(at: &Endpoint, number: u32) -> anyhow::Result<String> {
    let stream = Stream::connect(at)?;
    let request = format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient=user{number:07}@example.org\nsize=12345\n\n"
    );
    (&stream).write_all(request.as_bytes())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    Ok(line)
}
