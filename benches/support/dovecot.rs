//! Debian's Dovecot as a rival, in a folder of its own: its quota-status service and `doveadm quota recalc`, with
//! the `count` backend, which is the one that its documentation advises.
#![allow(dead_code, reason = "each of them uses another part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// `nobody` owns the mail.
const UID: u32 = 65534;

pub struct Dovecot {
    root: PathBuf,
    master: Child,
}

impl Dovecot {
    /// Starts it below `root` with the mail in `mail/domain/user`. `more` has the userdb. Ready once `listens` is
    /// there, a socket that it makes.
    pub fn start(root: &Path, mail: &Path, more: &str, listens: &Path) -> anyhow::Result<Dovecot> {
        fs::create_dir_all(root.join("homes"))?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
        let config = format!(
            "base_dir = {root}/run\nstate_dir = {root}/state\nlog_path = {root}/log\nprotocols =\n\
             listen = 127.0.0.1\nssl = no\ndefault_login_user = nobody\ndefault_internal_user = nobody\n\
             default_internal_group = nogroup\nmail_location = maildir:{mail}/%d/%n/Maildir\nfirst_valid_uid = 1\n\
             mail_uid = {UID}\nmail_gid = {UID}\nmail_home = {root}/homes/%u\nmail_plugins = quota\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\nservice anvil {{\n  chroot =\n}}\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
             plugin {{\n  quota = count:all\n  quota_vsizes = yes\n}}\n{more}\n",
            root = root.display(),
            mail = mail.display(),
        );
        fs::write(root.join("dovecot.conf"), config)?;
        give(mail)?;
        give(&root.join("homes"))?;
        let master = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(root.join("dovecot.conf"))
            // All of its processes are in it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(root.join("stderr"))?)
            .spawn()
            .context("dovecot")?;
        let mut dovecot = Dovecot { root: root.to_owned(), master };
        let begun = Instant::now();
        while !listens.exists() {
            if let Some(ended) = dovecot.master.try_wait()? {
                bail!("Dovecot ended with {ended}: {}{}", dovecot.said("stderr"), dovecot.said("log"));
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "Dovecot does not listen: {}", dovecot.said("log"));
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(dovecot)
    }

    /// What it has said in one of its files.
    pub fn said(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap_or_default()
    }

    pub fn doveadm(&self, args: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("doveadm").arg("-c").arg(self.root.join("dovecot.conf")).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "doveadm {args:?}: {said}{}", self.said("log"));
        Ok(())
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let group = format!("-{}", self.master.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.master.wait();
    }
}

/// Makes a tree `nobody`'s.
fn give(path: &Path) -> anyhow::Result<()> {
    chown(path, Some(UID), Some(UID)).with_context(|| format!("{}", path.display()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path())?;
        }
    }
    Ok(())
}
