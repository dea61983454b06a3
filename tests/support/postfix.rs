//! Debian's Postfix in a folder of its own, on loopback, with virtual(8) delivering into Maildirs.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::port::free_port;
use super::wait::until;

/// `nobody` owns the mail of the tests.
const UID: u32 = 65534;

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
";

pub struct Postfix {
    root: PathBuf,
    pub port: u16,
    master: Child,
}

impl Postfix {
    /// Delivers mail for `users` (`user@domain`) into `mail/domain/user/` and asks `policy`, an endpoint as
    /// check_policy_service names it, at RCPT and at the end of the message.
    pub fn start(root: &Path, mail: &Path, users: &[&str], policy: &str) -> Postfix {
        Postfix::start_on(free_port(), root, mail, users, policy)
    }

    /// The same on a port that somebody else knows already; in a folder that has been used, it goes on with the queue.
    pub fn start_on(port: u16, root: &Path, mail: &Path, users: &[&str], policy: &str) -> Postfix {
        Postfix::start_with(port, root, mail, users, &asking(policy))
    }

    /// Hands mail for `users` to an LMTP server on a port of this machine instead.
    pub fn start_lmtp(root: &Path, mail: &Path, users: &[&str], policy: &str, lmtp: u16) -> Postfix {
        let lines =
            format!("{}recipient_delimiter = +\nvirtual_transport = lmtp:inet:127.0.0.1:{lmtp}\n", asking(policy));
        Postfix::start_with(free_port(), root, mail, users, &lines)
    }

    /// The same with other lines of main.cf in the place of those that ask mailquotad.
    pub fn start_with(port: u16, root: &Path, mail: &Path, users: &[&str], restrictions: &str) -> Postfix {
        Postfix::start_with_services(port, root, mail, users, restrictions, "")
    }

    /// The same with further services in master.cf.
    pub fn start_with_services(
        port: u16,
        root: &Path,
        mail: &Path,
        users: &[&str],
        main: &str,
        master: &str,
    ) -> Postfix {
        let root = root.join("postfix");
        for part in ["etc", "queue", "data"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        let owner = user_id("postfix");
        chown(root.join("data"), Some(owner), None).unwrap();
        fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o700)).unwrap();
        let mut domains: Vec<&str> = users.iter().map(|user| user.split_once('@').unwrap().1).collect();
        domains.dedup();
        let etc = root.join("etc");
        let main_cf = format!(
            "compatibility_level = 3.6\n\
             queue_directory = {root}/queue\n\
             data_directory = {root}/data\n\
             command_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\nsetgid_group = postdrop\n\
             maillog_file = {root}/maillog\nmaillog_file_prefixes = {root}\n\
             myhostname = mx.example.test\nmydestination =\nalias_maps =\nlocal_recipient_maps =\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 192.0.2.0/24\n\
             virtual_mailbox_domains = {domains}\n\
             virtual_mailbox_base = {mail}\n\
             virtual_mailbox_maps = texthash:{etc}/users\n\
             virtual_mailbox_limit = 0\nmailbox_size_limit = 0\nmessage_size_limit = 0\n\
             virtual_uid_maps = static:{UID}\nvirtual_gid_maps = static:{UID}\nvirtual_minimum_uid = 100\n{main}",
            root = root.display(),
            domains = domains.join(" "),
            mail = mail.display(),
            etc = etc.display(),
        );
        fs::write(etc.join("main.cf"), main_cf).unwrap();
        fs::write(etc.join("master.cf"), format!("127.0.0.1:{port} inet n - n - - smtpd\n{master}{SERVICES}")).unwrap();
        let place = |user: &&str| {
            let (name, domain) = user.split_once('@').unwrap();
            format!("{user} {domain}/{name}/\n")
        };
        fs::write(etc.join("users"), users.iter().map(place).collect::<String>()).unwrap();
        give(mail, UID);
        let process = Command::new("postfix")
            .arg("-c")
            .arg(&etc)
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postfix is installed; `make test` does that");
        let mut postfix = Postfix { root, port, master: process };
        until("Postfix listens", || {
            if let Some(ended) = postfix.master.try_wait().unwrap() {
                panic!("Postfix ended with {ended}:\n{}", postfix.log());
            }
            std::net::TcpStream::connect(("127.0.0.1", postfix.port)).is_ok()
        });
        postfix
    }

    /// What Postfix finds for `key` in a table; nothing where there is nothing.
    pub fn look_up(&self, key: &str, table: &str) -> String {
        let mut command = Command::new("postmap");
        let output = command.arg("-c").arg(self.root.join("etc")).args(["-q", key, table]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.is_empty(), "{key} in {table}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("maillog")).unwrap_or_default()
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join("etc"));
        command
    }

    pub fn queue(&self) -> PathBuf {
        self.root.join("queue")
    }

    /// Puts `count` messages on hold, copies of the one that waits, which goes along; `edit` may change the file of each,
    /// by its number.
    pub fn hold_copies(&self, count: usize, edit: impl Fn(usize, &mut [u8])) {
        let listed = self.command("postqueue").arg("-j").output().unwrap().stdout;
        let message: serde_json::Value = serde_json::from_slice(&listed).expect("one message waits");
        let id = message["queue_id"].as_str().unwrap();
        assert!(self.command("postsuper").args(["-h", id]).output().unwrap().status.success());
        let hold = self.queue().join("hold");
        let (text, owner) = (fs::read(hold.join(id)).unwrap(), fs::metadata(hold.join(id)).unwrap());
        for number in 0..count {
            let (copy, mut text) = (hold.join(format!("{number:010X}")), text.clone());
            edit(number, &mut text);
            fs::write(&copy, &text).unwrap();
            chown(&copy, Some(owner.uid()), Some(owner.gid())).unwrap();
            // Executable means complete.
            fs::set_permissions(&copy, owner.permissions()).unwrap();
        }
    }

    /// Tries the whole queue now.
    pub fn flush(&self) {
        let flushed = Command::new("postqueue").arg("-c").arg(self.root.join("etc")).arg("-f").status().unwrap();
        assert!(flushed.success());
    }
}

/// The lines of main.cf that ask a policy server at RCPT and at the end of the message.
fn asking(policy: &str) -> String {
    format!(
        "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, check_policy_service {policy}\n\
         smtpd_end_of_data_restrictions = check_policy_service {policy}\n\
         smtpd_policy_service_default_action = 451 4.3.5 no answer from the policy server\n"
    )
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.root.join("queue/pid/master.pid")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<u32>() {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let _ = self.master.wait();
        if std::thread::panicking() {
            eprintln!("--- Postfix's log\n{}", self.log());
        }
    }
}

fn user_id(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find(|line| line.starts_with(&format!("{name}:")));
    user.expect("Postfix's user exists once it is installed").split(':').nth(2).unwrap().parse().unwrap()
}

/// Makes `uid` the owner of everything below.
pub fn give(folder: &Path, uid: u32) {
    chown(folder, Some(uid), Some(uid)).unwrap();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}
