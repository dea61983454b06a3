//! Debian's Dovecot in a folder of its own, on loopback: LMTP and IMAP over Maildirs.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::imap::Imap;
use super::port::free_port;
use super::postfix::give;
use super::wait::until;

/// `nobody` owns the mail of the tests.
pub const UID: u32 = 65534;

pub const PASSWORD: &str = "correct-horse";

pub struct Dovecot {
    root: PathBuf,
    pub imap: u16,
    pub lmtp: u16,
    master: Option<Child>,
}

impl Dovecot {
    /// Serves `users` (`user@domain`) with their mail in `mail/domain/user`. `blocks` are the configuration that we
    /// ship, whose sockets are looked for in `run` instead of /run/mailquotad; `more` comes last.
    pub fn start(run: &Path, mail: &Path, users: &[&str], blocks: &[&str], more: &str) -> Dovecot {
        let root = run.join("dovecot");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let (imap, lmtp) = (free_port(), free_port());
        let entry =
            |user: &&str| format!("{user}:{{PLAIN}}{PASSWORD}:{UID}:{UID}::{}/homes/{user}::\n", root.display());
        fs::write(root.join("users"), users.iter().map(entry).collect::<String>()).unwrap();
        fs::create_dir(root.join("homes")).unwrap();
        let ours = blocks.iter().map(|block| block.replace("/run/mailquotad", &run.display().to_string()));
        let config = format!(
            "base_dir = {root}/run\nstate_dir = {root}/state\nlog_path = {root}/log\nlog_timestamp = \"%F %T \"\n\
             protocols = imap lmtp\nlisten = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\n\
             default_login_user = nobody\ndefault_internal_user = nobody\ndefault_internal_group = nogroup\n\
             mail_location = maildir:{mail}/%d/%n\nfirst_valid_uid = 1\nmail_fsync = never\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             passdb {{\n  driver = passwd-file\n  args = username_format=%u {root}/users\n}}\n\
             userdb {{\n  driver = passwd-file\n  args = username_format=%u {root}/users\n}}\n\
             service imap-login {{\n  chroot =\n  process_min_avail = 1\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
             service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {lmtp}\n  }}\n}}\n\
             service anvil {{\n  chroot =\n}}\n\
             lmtp_save_to_detail_mailbox = yes\nrecipient_delimiter = +\nlda_mailbox_autocreate = yes\n\
             {ours}\n{more}\n",
            root = root.display(),
            mail = mail.display(),
            ours = ours.collect::<String>(),
        );
        fs::write(root.join("dovecot.conf"), config).unwrap();
        give(mail, UID);
        give(&root.join("homes"), UID);
        let mut dovecot = Dovecot { root, imap, lmtp, master: None };
        dovecot.run();
        dovecot
    }

    pub fn run(&mut self) {
        let master = Command::new("dovecot")
            .arg("-F")
            .arg("-c")
            .arg(self.root.join("dovecot.conf"))
            // All of its processes are in it, also those whose parent is dead.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.root.join("stderr")).unwrap())
            .spawn()
            .expect("dovecot is installed; `make test` does that");
        self.master = Some(master);
        until("Dovecot listens", || {
            if let Some(ended) = self.master.as_mut().unwrap().try_wait().unwrap() {
                let said = fs::read_to_string(self.root.join("stderr")).unwrap_or_default();
                panic!("Dovecot ended with {ended}:\n{said}{}", self.log());
            }
            [self.imap, self.lmtp].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    /// Ends it as a crash of the machine would: all at once.
    pub fn kill(&mut self) {
        let Some(mut master) = self.master.take() else { return };
        let group = format!("-{}", master.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = master.wait();
        // The others die a moment later, and hold their sockets until then.
        until("Dovecot is gone", || {
            [self.imap, self.lmtp].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err())
        });
        // What it leaves behind would make the next one believe that it runs.
        let _ = fs::remove_dir_all(self.root.join("run"));
    }

    pub fn login(&self, user: &str) -> Imap {
        let mut imap = Imap::connect(self.imap);
        imap.ok(&format!("LOGIN {user} {PASSWORD}"));
        imap
    }

    /// Makes a user an admin, from a login in a moment on: Dovecot looks at the file once a second.
    pub fn allow_admin(&self, user: &str) {
        let file = self.root.join("users");
        let line = |line: &str| match line.starts_with(&format!("{user}:")) {
            true => format!("{line} userdb_admin=y\n"),
            false => format!("{line}\n"),
        };
        let users: String = fs::read_to_string(&file).unwrap().lines().map(line).collect();
        fs::write(&file, users).unwrap();
        // Another second than that of the file before, which is what Dovecot goes by.
        let later = fs::metadata(&file).unwrap().modified().unwrap() + std::time::Duration::from_secs(10);
        fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
    }

    pub fn doveadm(&self, args: &[&str]) -> Output {
        Command::new("doveadm").arg("-c").arg(self.root.join("dovecot.conf")).args(args).output().unwrap()
    }

    pub fn doveadm_ok(&self, args: &[&str]) -> String {
        let output = self.doveadm(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "doveadm {args:?}: {said}{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }
}

/// Configuration of a socket at which everybody may talk to a service.
pub fn listener(service: &str, socket: &Path) -> String {
    format!("service {service} {{\n  unix_listener {} {{\n    mode = 0666\n  }}\n}}\n", socket.display())
}

pub fn until_listening(socket: &Path) {
    until("Dovecot listens", || UnixStream::connect(socket).is_ok());
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(6000);
            eprintln!("--- Dovecot's log\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}
