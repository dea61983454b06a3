//! Debian 13's Dovecot 2.4, in a root of its own that tests/install-packages makes: LMTP and IMAP over Maildirs.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::imap::Imap;
use super::port::free_port;
use super::wait::until;

/// `nobody` owns the mail of the tests.
const UID: u32 = 65534;

/// Where tests/install-packages puts Debian 13 with its Dovecot.
fn system() -> PathBuf {
    let place = std::env::var_os("DOVECOT_2_4_ROOT").unwrap_or("/var/cache/mailquotad-tests/dovecot-2.4".into());
    let system = PathBuf::from(place);
    assert!(
        system.join("usr/sbin/dovecot").exists(),
        "there is no Dovecot 2.4 at {}; tests/install-packages makes it",
        system.display()
    );
    system
}

/// A command within that system.
fn inside(program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(system()).arg(program).stdin(Stdio::null());
    command
}

pub struct Dovecot24 {
    /// Lies within the system, where it is known by a shorter name.
    folder: TempDir,
    pub imap: u16,
    pub lmtp: u16,
    master: Option<Child>,
}

impl Dovecot24 {
    /// Lays out a folder for mail, sockets and configuration; `start` does the rest.
    pub fn prepare() -> Dovecot24 {
        let folder = TempDir::new_in(system().join("tmp")).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for part in ["mail", "homes"] {
            fs::create_dir(folder.path().join(part)).unwrap();
            chown(folder.path().join(part), Some(UID), Some(UID)).unwrap();
        }
        Dovecot24 { folder, imap: free_port(), lmtp: free_port(), master: None }
    }

    /// Outside of its system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn within(&self) -> String {
        let name = self.folder.path().file_name().unwrap().to_str().unwrap();
        format!("/tmp/{name}")
    }

    /// Serves everybody, with the configuration that we ship, whose sockets are looked for in the folder.
    pub fn start(&mut self, blocks: &[&str]) {
        let here = self.within();
        let ours: String = blocks.iter().map(|block| block.replace("/run/mailquotad", &here)).collect();
        let config = format!(
            "dovecot_config_version = 2.4.1\ndovecot_storage_version = 2.4.1\n\
             base_dir = {here}/run\nstate_dir = {here}/state\nlog_path = {here}/log\n\
             protocols {{\n  imap = yes\n  lmtp = yes\n}}\nlisten = 127.0.0.1\nssl = no\nauth_allow_cleartext = yes\n\
             default_login_user = nobody\ndefault_internal_user = nobody\ndefault_internal_group = nogroup\n\
             mail_driver = maildir\nmail_path = {here}/mail/%{{user | domain}}/%{{user | username}}\n\
             mail_home = {here}/homes/%{{user}}\nmail_uid = {UID}\nmail_gid = {UID}\nfirst_valid_uid = 1\n\
             passdb static {{\n  password = secret\n}}\nuserdb static {{\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {imap}\n  }}\n  inet_listener imaps {{\n    port = 0\n  }}\n}}\n\
             service lmtp {{\n  inet_listener lmtp {{\n    listen = 127.0.0.1\n    port = {lmtp}\n  }}\n}}\n\
             service anvil {{\n  chroot =\n}}\nservice stats {{\n  chroot =\n}}\n{ours}",
            imap = self.imap,
            lmtp = self.lmtp,
        );
        fs::write(self.path("dovecot.conf"), config).unwrap();
        let said = fs::File::create(self.path("stderr")).unwrap();
        let mut command = inside("dovecot");
        command.args(["-F", "-c", &format!("{here}/dovecot.conf")]).process_group(0);
        self.master = Some(command.stdout(Stdio::null()).stderr(said).spawn().unwrap());
        until("Dovecot listens", || {
            if let Some(ended) = self.master.as_mut().unwrap().try_wait().unwrap() {
                let said = fs::read_to_string(self.path("stderr")).unwrap_or_default();
                panic!("Dovecot ended with {ended}:\n{said}{}", self.log());
            }
            [self.imap, self.lmtp].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    pub fn login(&self, user: &str) -> Imap {
        let mut imap = Imap::connect(self.imap);
        imap.ok(&format!("LOGIN {user} secret"));
        imap
    }

    /// A program of Dovecot's with this configuration.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        inside(program).args(["-c", &format!("{}/dovecot.conf", self.within())]).args(args).output().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn maildir(&self, domain: &str, user: &str) -> PathBuf {
        Path::new(&self.path("mail")).join(domain).join(user)
    }
}

impl Drop for Dovecot24 {
    fn drop(&mut self) {
        if let Some(mut master) = self.master.take() {
            let group = format!("-{}", master.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = master.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- Dovecot's log\n{}", self.log());
        }
    }
}
