//! The built daemon in a folder of its own, and the commands that talk to it.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::port::free_port;
use super::wait::until;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mailquotad");

pub struct Daemon {
    pub folder: TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// Lays out a folder with `organisation.ldif` and a configuration that ends with `more`, in which `DIR` is that
    /// folder; starts nothing.
    pub fn prepare(ldif: &str, more: &str) -> Daemon {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        // Postfix's processes pass through here as another user.
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(root.join("mail")).unwrap();
        fs::write(root.join("organisation.ldif"), ldif).unwrap();
        let port = free_port();
        let config = format!(
            "[directory]\nkind = \"ldif\"\nfile = \"{dir}/organisation.ldif\"\n\
             [ledger]\npath = \"{dir}/ledger\"\n\
             [mailstore]\npath = \"{dir}/mail/%d/%n\"\nmeasure_after_delivery = \"100ms\"\n\
             watch = \"off\"\n\
             [policy]\nlisten = [\"127.0.0.1:{port}\", \"unix:{dir}/policy.sock\"]\n\
             [http]\nsocket = \"{dir}/api.sock\"\n{more}\n",
            dir = root.display(),
            more = more.replace("DIR", &root.display().to_string()),
        );
        fs::write(root.join("mailquotad.toml"), config).unwrap();
        Daemon { folder, port, child: None }
    }

    /// Puts something else in the place of a piece of the configuration.
    pub fn configure(&self, piece: &str, other: &str) {
        let file = self.path("mailquotad.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(piece), "{piece} is not in\n{text}");
        fs::write(&file, text.replacen(piece, other, 1)).unwrap();
    }

    pub fn start(ldif: &str, more: &str) -> Daemon {
        let mut daemon = Daemon::prepare(ldif, more);
        daemon.run();
        daemon
    }

    /// One that hears Dovecot at `dict.sock`, and counts sizes as Dovecot does; starts nothing.
    pub fn hearing_dovecot(ldif: &str, more: &str) -> Daemon {
        let listen = "[dovecot]\nlisten = \"unix:DIR/dict.sock\"\nmode = \"0666\"\n";
        let daemon = Daemon::prepare(ldif, &format!("{listen}{more}"));
        daemon.configure("[policy]", "sizes = \"virtual\"\n[policy]");
        daemon
    }

    /// Starts `serve` and returns when it says that it is well.
    pub fn run(&mut self) {
        self.run_until("the daemon is ready", |health| health["status"] == "ok");
    }

    /// Starts `serve` and returns when it answers, however it is.
    pub fn run_unwell(&mut self) {
        self.run_until("the daemon answers", |_| true);
    }

    /// Starts `serve` by another program that is given the arguments, and returns when it says that it is well.
    pub fn run_by(&mut self, program: &Path) {
        self.run_program(program, "the daemon is ready", |health| health["status"] == "ok");
    }

    fn run_until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) {
        self.run_program(Path::new(PROGRAM), what, holds);
    }

    fn run_program(&mut self, program: &Path, what: &str, holds: impl Fn(&Value) -> bool) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let child = self.command_of(program, &["serve"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        until(what, || {
            if let Some(ended) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the daemon ended with {ended}:\n{}", self.log());
            }
            self.health().is_some_and(|health| holds(&health))
        });
    }

    /// What the API says; nothing where it does not answer.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let url = format!("http://mailquotad{path}");
        let socket = self.path("api.sock");
        Command::new("curl").args(["-s", "--unix-socket"]).arg(socket).arg(url).output().unwrap().stdout
    }

    pub fn health(&self) -> Option<Value> {
        serde_json::from_slice(&self.get("/v1/health")).ok()
    }

    pub fn metrics(&self) -> String {
        String::from_utf8(self.get("/metrics")).unwrap()
    }

    /// The value of a series of the metrics, which is named as it is written; `None` as long as there is none.
    pub fn metric(&self, series: &str) -> Option<u64> {
        let value = |line: &str| Some(line.strip_prefix(series)?.strip_prefix(' ')?.parse().expect("a whole number"));
        self.metrics().lines().find_map(value)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it with `signal` and waits for the end.
    pub fn stop(&mut self, signal: &str) -> std::process::ExitStatus {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), args)
    }

    fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).arg("-c").arg(self.path("mailquotad.toml")).stdin(Stdio::null());
        command
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed; what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code();
        assert_eq!(code, Some(0), "{args:?}: {shown}{}", String::from_utf8_lossy(&output.stderr));
        shown
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    pub fn ldif(&self) -> String {
        fs::read_to_string(self.path("organisation.ldif")).unwrap()
    }

    /// Puts another text in the place of the LDIF, as an editor does.
    pub fn edit_ldif(&self, edit: impl FnOnce(String) -> String) {
        let new = edit(self.ldif());
        fs::write(self.path("new.ldif"), new).unwrap();
        fs::rename(self.path("new.ldif"), self.path("organisation.ldif")).unwrap();
    }

    /// The Maildir of `user@domain`, with its three folders.
    pub fn maildir(&self, domain: &str, user: &str) -> PathBuf {
        let maildir = self.path("mail").join(domain).join(user);
        make_maildir(&maildir);
        maildir
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}

/// An active account of example.org in LDIF, with that `mailQuota`.
pub fn user(name: &str, quota: &str) -> String {
    format!(
        "\ndn: uid={name},dc=example.org\nobjectClass: inetMailUser\nmail: {name}@example.org\nmailUserStatus: active\n\
         mailQuota: {quota}\n"
    )
}

pub fn make_maildir(maildir: &Path) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(part)).unwrap();
    }
}

/// Puts a message of `size` bytes into `folder/cur`.
pub fn put_message(folder: &Path, name: &str, size: usize, head: &str) {
    make_maildir(folder);
    let mut text = format!("{head}\n\n").into_bytes();
    assert!(text.len() <= size);
    text.resize(size, b'x');
    fs::write(folder.join("cur").join(format!("{name},S={size}:2,S")), text).unwrap();
}
