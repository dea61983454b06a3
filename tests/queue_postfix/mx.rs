//! A daemon with queue quotas and a Postfix that asks it, in one folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::port::free_port;
use crate::support::postfix::Postfix;
use crate::support::wait::until;

/// Users that mail is for; what they hold is no matter here.
pub const USERS: [&str; 4] = ["anna@a.example", "ben@a.example", "carla@b.example", "dora@b.example"];

/// How the daemon gets to know the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// showq's socket, and a watch on the folders.
    Socket,
    /// `postqueue -j` alone.
    Command,
}

pub struct Mx {
    // Ends before the folder goes, which is the daemon's.
    pub postfix: Postfix,
    pub daemon: Daemon,
    root: PathBuf,
}

impl Mx {
    /// `quotas` is TOML, `more` lines of main.cf. Nothing is delivered before [`Mx::deliver`].
    pub fn start(quotas: &str, by: By, more: &str) -> Mx {
        // Its users are accounts with room enough: the mailboxes let everything pass.
        let account =
            |user: &&str| format!("\ndn: mail={user}\nobjectClass: inetMailUser\nmail: {user}\nmailQuota: -1\n");
        let ldif = format!("version: 1\n{}", USERS.iter().map(account).collect::<String>());
        let mut daemon = Daemon::prepare(&ldif, "");
        let root = daemon.folder.path().to_owned();
        let source = match by {
            By::Socket => format!("showq = \"{}/postfix/queue/public/showq\"", root.display()),
            By::Command => format!("command = [\"postqueue\", \"-c\", \"{}/postfix/etc\", \"-j\"]", root.display()),
        };
        let file = daemon.path("mailquotad.toml");
        let config = fs::read_to_string(&file).unwrap();
        let queue = format!("{quotas}\n[[queue.source]]\nname = \"mx\"\n{source}\n");
        fs::write(&file, config + &queue).unwrap();
        let policy = format!("check_policy_service inet:127.0.0.1:{}", daemon.port);
        let restrictions = format!(
            "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, {policy}\n\
             smtpd_end_of_data_restrictions = {policy}\n\
             defer_transports = virtual\nvirtual_alias_domains = list.example\n\
             virtual_alias_maps = inline:{{ {{ all@list.example = anna@a.example, ben@a.example }} }}\n\
             smtpd_client_connection_count_limit = 0\n\
             smtpd_soft_error_limit = 100000\nsmtpd_hard_error_limit = 100000\n{more}\n"
        );
        let (port, mail) = (free_port(), daemon.path("mail"));
        let postfix = Postfix::start_with(port, &root, &mail, &USERS, &restrictions);
        // One that can read the queue from the first moment on.
        daemon.run();
        let mx = Mx { daemon, postfix, root };
        mx.until_read(1);
        mx
    }

    fn postfix_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("postfix/etc"));
        command
    }

    /// Every message in the queue, by Postfix's own word.
    pub fn postqueue(&self) -> Vec<Value> {
        let output = self.postfix_command("postqueue").arg("-j").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    pub fn delete(&self, id: &str) {
        let deleted = self.postfix_command("postsuper").args(["-d", id]).output().unwrap();
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    }

    pub fn delete_all<'i>(&self, ids: impl IntoIterator<Item = &'i String>) {
        let mut command = self.postfix_command("postsuper");
        let mut child = command.args(["-d", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut list = child.stdin.take().unwrap();
        ids.into_iter().for_each(|id| writeln!(list, "{id}").unwrap());
        drop(list);
        assert!(child.wait().unwrap().success());
    }

    /// Lets Postfix deliver what waits.
    pub fn deliver(&self) {
        let set = self.postfix_command("postconf").args(["-e", "defer_transports ="]).status().unwrap();
        assert!(set.success());
        assert!(self.postfix_command("postfix").arg("reload").output().unwrap().status.success());
    }

    /// Lines of `mailquotad queue`.
    pub fn report(&self) -> Vec<Value> {
        let output = self.daemon.output(&["queue", "--most", "1000000", "--format", "json"]);
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// Messages and bytes of every group of a quota, by the values of its key.
    pub fn groups(&self, quota: &str) -> BTreeMap<String, (u64, u64)> {
        let mut groups = BTreeMap::new();
        for line in self.report().into_iter().filter(|line| line["quota"] == quota) {
            let values: Vec<_> =
                line["group"].as_object().unwrap().values().map(|value| value.as_str().unwrap()).collect();
            let used = |what: &str| line["used"][what].as_u64().unwrap();
            groups.insert(values.join(" "), (used("messages"), used("bytes")));
        }
        groups
    }

    pub fn messages(&self, quota: &str, group: &str) -> u64 {
        self.groups(quota).get(group).map_or(0, |(messages, _)| *messages)
    }

    /// How often the queue has been read as a whole.
    pub fn readings(&self) -> u64 {
        let text = self.daemon.metrics();
        let complete = |line: &&str| line.starts_with("mailquotad_queue_reads_total") && line.contains("complete");
        text.lines().find(complete).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub fn until_read(&self, times: u64) {
        until("the queue has been read", || self.readings() >= times);
    }

    /// What the queue comes to by recipient, and in all.
    pub fn by_recipient(&self) -> (BTreeMap<String, (u64, u64)>, (u64, u64)) {
        let (mut groups, mut all) = (BTreeMap::<String, (u64, u64)>::new(), (0, 0));
        for message in self.postqueue() {
            let size = message["message_size"].as_u64().unwrap();
            (all.0, all.1) = (all.0 + 1, all.1 + size);
            for recipient in message["recipients"].as_array().unwrap() {
                let group = groups.entry(recipient["address"].as_str().unwrap().to_owned()).or_default();
                (group.0, group.1) = (group.0 + 1, group.1 + size);
            }
        }
        (groups, all)
    }
}

impl Mx {
    /// Hands a message to sendmail(1), which no policy server hears of.
    pub fn sendmail(&self, from: &str, to: &str) {
        let mut command = Command::new("sendmail");
        command.arg("-C").arg(self.root.join("postfix/etc")).args(["-f", from, to]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"Subject: local\n\nhello\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
}
