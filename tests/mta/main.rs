//! The configuration that we ship for MTAs, loaded into the real ones, which then ask the built daemon.

mod exim;
mod postfix;
mod sendmail;

#[path = "../support"]
mod support {
    pub mod daemon;
    pub mod port;
    pub mod postfix;
    pub mod slapd;
    pub mod smtp;
    pub mod wait;
}

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::daemon::{Daemon, put_message};
use support::port::free_port;

/// Users for what an MTA may hear of them. Mail of full@ fills the whole quota.
const LDIF: &str = "\
dn: dc=example.org
objectClass: mailDomain
associatedDomain: example.org

dn: dc=closed.example
objectClass: mailDomain
associatedDomain: closed.example
mailDomainStatus: inactive

dn: uid=room,dc=example.org
objectClass: inetMailUser
mail: room@example.org
mailQuota: 1M

dn: uid=full,dc=example.org
objectClass: inetMailUser
mail: full@example.org
mailQuota: 2K

dn: uid=off,dc=example.org
objectClass: inetMailUser
mail: off@example.org
mailUserStatus: disabled

dn: uid=any,dc=closed.example
objectClass: inetMailUser
mail: any@closed.example
";

const USERS: [&str; 4] = ["room@example.org", "full@example.org", "off@example.org", "any@closed.example"];

/// The daemon with these users, and the port of its lookups.
fn daemon() -> (Daemon, u16) {
    let port = free_port();
    let lookups = format!("[lookup]\nlisten = [\"127.0.0.1:{port}\"]\n");
    let mut daemon = Daemon::prepare(LDIF, &lookups);
    put_message(&daemon.maildir("example.org", "full"), "1", 2048, "From: x");
    daemon.run();
    support::wait::until("the mailbox is measured", || {
        daemon.json(&["show", "full@example.org"])["buckets"][0]["used"]["bytes"] == 2048
    });
    (daemon, port)
}

/// A file that we ship, with the daemon's port in it.
fn shipped(file: &str, port: u16) -> String {
    let text = fs::read_to_string(root().join("packaging").join(file)).unwrap();
    assert!(["12340", "12344"].iter().any(|shipped| text.contains(shipped)), "{file}");
    text.replace("12340", &port.to_string()).replace("12344", &port.to_string())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `tests/install-packages` has unpacked.
fn unpacked(path: &str) -> PathBuf {
    let path = root().join("target/peers").join(path);
    assert!(path.exists(), "{}: is not there; `make test` gets it", path.display());
    path
}

/// An SMTP server on its standard input and output.
struct Dialog {
    child: Child,
    replies: BufReader<std::process::ChildStdout>,
}

impl Dialog {
    fn start(command: &mut Command) -> Dialog {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut dialog = Dialog { replies: BufReader::new(child.stdout.take().unwrap()), child };
        let greeting = dialog.reply();
        assert!(greeting.starts_with("220 "), "{greeting}");
        assert!(dialog.say("EHLO client.example").starts_with("250"));
        dialog
    }

    /// The last line of a reply.
    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.replies.read_line(&mut line).unwrap(), 0, "it ended");
            let is_reply = line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
            if is_reply && &line[3..4] == " " {
                return line.trim_end().to_owned();
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.child.stdin.as_mut().unwrap().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nss_wrapper: programs that are not installed look for a user and for the host's name in files of ours.
fn wrapped(command: &mut Command, folder: &Path) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let files = [
        (
            "PASSWD",
            "passwd",
            "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nDebian-exim:x:65534:65534::/:/bin/sh\n".into(),
        ),
        ("GROUP", "group", "root:x:0:\nnogroup:x:65534:\nDebian-exim:x:65534:\n".into()),
        ("HOSTS", "hosts", format!("127.0.0.1 mx.example.test {} localhost\n", host.trim())),
    ];
    for (variable, name, text) in files {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        command.env(format!("NSS_WRAPPER_{variable}"), file);
    }
    command.env("LD_PRELOAD", "libnss_wrapper.so").env("RES_OPTIONS", "timeout:1 attempts:1");
}
