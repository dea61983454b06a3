//! A real slapd in a folder of its own: mdb, syncprov, our schema and the access rules that we ship.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::port::free_port;
use super::wait::until;

pub const SUFFIX: &str = "dc=example,dc=org";
pub const ADMIN: &str = "cn=admin,dc=example,dc=org";
pub const DAEMON: &str = "cn=mailquotad,ou=Services,dc=example,dc=org";
pub const PASSWORD: &str = "secret";

const SCHEMAS: &str = "/etc/ldap/schema";

/// As `docs/openldap.md` advises.
pub const SYNCPROV: &str = "overlay syncprov\nsyncprov-sessionlog 100000\nsyncprov-reloadhint TRUE\n";

pub struct Slapd {
    pub folder: TempDir,
    pub port: u16,
    child: Option<Child>,
}

/// The shipped rules in the words of slapd.conf.
fn access() -> String {
    let rules = include_str!("../../ldif/access.ldif").replace("\n ", "");
    let line = |line: &str| {
        if let Some(rule) = line.strip_prefix("olcAccess: ") {
            return Some(format!("access {}\n", rule.split_once('}')?.1));
        }
        Some(format!("limits {}\n", line.strip_prefix("olcLimits: ")?))
    };
    rules.lines().filter_map(line).collect()
}

impl Slapd {
    /// With the entries that every test needs; runs.
    pub fn start() -> Slapd {
        let mut slapd = Slapd::stopped();
        slapd.run();
        slapd
    }

    /// The same, yet to be run.
    pub fn stopped() -> Slapd {
        let slapd = Slapd::prepare("", SYNCPROV);
        slapd.add_offline(&frame());
        slapd
    }

    /// Lays out a folder; `global` and `database` are further lines of slapd.conf.
    pub fn prepare(global: &str, database: &str) -> Slapd {
        assert!(Path::new("/usr/sbin/slapd").exists(), "slapd is not installed; `make test` does that");
        let folder = TempDir::new().unwrap();
        let slapd = Slapd { folder, port: free_port(), child: None };
        fs::create_dir(slapd.path("data")).unwrap();
        fs::write(slapd.path("mailquotad.schema"), include_str!("../../schema/mailquotad.schema")).unwrap();
        let root = slapd.folder.path().display();
        let access = access();
        assert!(access.matches("access to").count() == 3 && access.contains("limits dn.exact"), "{access}");
        let config = format!(
            "include {SCHEMAS}/core.schema\ninclude {SCHEMAS}/cosine.schema\ninclude {SCHEMAS}/inetorgperson.schema\n\
             include {root}/mailquotad.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload syncprov\n\
             pidfile {root}/slapd.pid\nsizelimit 1000\n{global}\
             database mdb\nsuffix \"{SUFFIX}\"\nrootdn \"{ADMIN}\"\nrootpw {PASSWORD}\ndirectory {root}/data\n\
             maxsize 4294967296\ndbnosync\nindex objectClass,entryUUID,entryCSN,mail eq\n{access}\
             access to attrs=userPassword by anonymous auth by * none\naccess to * by * none\n{database}"
        );
        fs::write(slapd.path("slapd.conf"), config).unwrap();
        slapd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Loads entries while slapd does not run.
    pub fn add_offline(&self, ldif: &str) {
        let file = self.path("load.ldif");
        fs::write(&file, ldif).unwrap();
        let mut command = Command::new("/usr/sbin/slapadd");
        well(command.args(["-q", "-f"]).arg(self.path("slapd.conf")).arg("-l").arg(file));
    }

    pub fn run(&mut self) {
        let listen = self.url();
        self.run_on(&listen);
    }

    pub fn run_on(&mut self, listen: &str) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("slapd.log")).unwrap();
        let child = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", listen, "-f"])
            .arg(self.path("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let port = self.port;
        until("slapd listens", || {
            if let Some(ended) = self.child.as_mut().unwrap().try_wait().unwrap() {
                let log = fs::read_to_string(self.path("slapd.log")).unwrap_or_default();
                panic!("slapd ended with {ended}: {log}");
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Where nobody looks for it.
    pub fn move_to_a_free_port(&mut self) {
        self.port = free_port();
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap().success()
        );
    }

    /// Ends it with `signal` and waits.
    pub fn stop(&mut self, signal: &str) {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap();
    }

    /// Runs changes as the admin, by the tool that admins use.
    pub fn modify(&self, ldif: &str) {
        let output = self.try_modify(ADMIN, ldif);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn try_modify(&self, who: &str, ldif: &str) -> Output {
        let mut command = Command::new("ldapmodify");
        let mut child = command
            .args(["-x", "-H", &self.url(), "-D", who, "-w", PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(ldif.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What the server holds, as LDIF.
    pub fn search(&self, filter: &str, attributes: &[&str]) -> Vec<u8> {
        let mut command = Command::new("ldapsearch");
        command.args(["-x", "-LLL", "-o", "ldif-wrap=no", "-H", &self.url(), "-D", ADMIN, "-w", PASSWORD]);
        command.args(["-b", SUFFIX, "-E", "pr=1000/noprompt", filter]).args(attributes);
        well(&mut command).stdout
    }

    pub fn backup(&self) -> Vec<u8> {
        let mut command = Command::new("/usr/sbin/slapcat");
        well(command.arg("-f").arg(self.path("slapd.conf"))).stdout
    }

    /// Puts the content of a backup in the place of everything, while slapd does not run.
    pub fn restore(&self, backup: &[u8]) {
        fs::remove_dir_all(self.path("data")).unwrap();
        fs::create_dir(self.path("data")).unwrap();
        self.add_offline(std::str::from_utf8(backup).unwrap());
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn well(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The suffix, its units, and the daemon's own entry.
pub fn frame() -> String {
    let unit = |name: &str| format!("dn: ou={name},{SUFFIX}\nobjectClass: organizationalUnit\nou: {name}\n\n");
    format!(
        "dn: {SUFFIX}\nobjectClass: domain\nobjectClass: domainRelatedObject\nobjectClass: inetDomain\n\
         objectClass: mailDomain\ndc: example\nassociatedDomain: example.org\nmailQuota: 50M\n\n\
         {}{}{}{}dn: {DAEMON}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: mailquotad\n\
         userPassword: {PASSWORD}\n\n",
        unit("People"),
        unit("Groups"),
        unit("Services"),
        unit("Elsewhere"),
    )
}

pub fn dn(uid: &str) -> String {
    format!("uid={uid},ou=People,{SUFFIX}")
}

/// An account; `more` are further lines.
pub fn user(uid: &str, more: &str) -> String {
    format!(
        "dn: {}\nobjectClass: inetOrgPerson\nobjectClass: inetUser\nobjectClass: inetMailUser\nuid: {uid}\n\
         cn: {uid}\nsn: {uid}\nmail: {uid}@example.org\n{more}\n",
        dn(uid)
    )
}

/// `changetype: modify` that puts `attribute` to `value`.
pub fn set(uid: &str, attribute: &str, value: &str) -> String {
    format!("dn: {}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n\n", dn(uid))
}

/// An entry as a change record.
pub fn add(entry: &str) -> String {
    entry.replacen('\n', "\nchangetype: add\n", 1)
}
