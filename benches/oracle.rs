//! A large site: 1,000 domains, 100,000 accounts, served by the built daemon. How long `check --enforce` takes that
//! finds nothing to change, and a report of everybody by `imquotacheck`. What is measured is the whole command, from
//! its start to its end. Fails where it takes longer than it may.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mailquotad");
const DOMAINS: usize = 1_000;
const ACCOUNTS: usize = 100_000;
const RUNS: usize = 5;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn organisation() -> String {
    let mut ldif = String::from("version: 1\n");
    for domain in 0..DOMAINS {
        let _ = write!(
            ldif,
            "\ndn: dc=d{domain}.example\nobjectClass: mailDomain\nassociatedDomain: d{domain}.example\nmailDomainStatus: \
             active\nmailDomainDiskQuota: 10G\n"
        );
    }
    for account in 0..ACCOUNTS {
        let domain = account % DOMAINS;
        let _ = write!(
            ldif,
            "\ndn: uid=u{account},dc=d{domain}.example\nobjectClass: inetMailUser\nmail: u{account}@d{domain}.example\n\
             mailUserStatus: active\nmailQuota: 100M;Archive%1G\n"
        );
    }
    ldif
}

fn main() {
    // `cargo test --benches` asks whether it builds; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("mailquotad-bench-{}", std::process::id()));
    fs::create_dir_all(folder.join("mail")).unwrap();
    measure(&folder);
    fs::remove_dir_all(&folder).unwrap();
}

fn measure(folder: &Path) {
    let dir = folder.display();
    fs::write(folder.join("organisation.ldif"), organisation()).unwrap();
    // One Maildir for all accounts of a domain: what they hold is not what is measured here.
    for domain in 0..DOMAINS {
        let maildir = folder.join(format!("mail/d{domain}.example"));
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.join(part)).unwrap();
        }
        fs::write(maildir.join("cur/1,S=5000:2,S"), vec![b'x'; 5000]).unwrap();
    }
    let config = format!(
        "[directory]\nkind = \"ldif\"\nfile = \"{dir}/organisation.ldif\"\npoll_interval = \"1h\"\n\
         [ledger]\npath = \"{dir}/ledger\"\n[mailstore]\npath = \"{dir}/mail/%d\"\n\
         [policy]\nlisten = [\"unix:{dir}/policy.sock\"]\n[http]\nsocket = \"{dir}/api.sock\"\n"
    );
    let file = folder.join("mailquotad.toml");
    fs::write(&file, config).unwrap();
    symlink(PROGRAM, folder.join("imquotacheck")).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let daemon = Command::new(PROGRAM).arg("serve").arg("-c").arg(&file).stderr(log).stdin(Stdio::null()).spawn();
    let _daemon = Killed(daemon.unwrap());
    let begun = Instant::now();
    let run = |program: &Path, args: &[&str]| {
        let begun = Instant::now();
        let output = Command::new(program).args(args).arg("-c").arg(&file).output().unwrap();
        (begun.elapsed(), output)
    };
    let program = Path::new(PROGRAM);
    // Everything is loaded and every mailbox measured before anything is timed.
    let last = format!("u{}@d{}.example", ACCOUNTS - 1, (ACCOUNTS - 1) % DOMAINS);
    while !run(program, &["show", &last]).1.status.success() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", fs::read_to_string(folder.join("log")).unwrap());
    }
    let resync = run(program, &["resync", "--all"]).1;
    assert!(resync.status.success(), "{}", String::from_utf8_lossy(&resync.stderr));
    let mut slow = false;
    for (what, program, args, lines, within) in [
        ("check --enforce --over", program, &["check", "--enforce", "--over"] as &[&str], 1, 500),
        // The same work, and then a table of 201,000 lines.
        ("check --enforce", program, &["check", "--enforce"], ACCOUNTS, 500),
        ("imquotacheck -f", &folder.join("imquotacheck"), &["-f"], 0, 500),
        ("imquotacheck", &folder.join("imquotacheck"), &["-i"], ACCOUNTS, 2000),
    ] {
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let (took, output) = run(program, args);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let told = output.stdout.iter().filter(|byte| **byte == b'\n').count();
                assert!(told >= lines, "{what}: {told} lines");
                took
            })
            .collect();
        times.sort();
        let (best, median) = (times[0], times[RUNS / 2]);
        println!("{what}: median {median:.0?}, best {best:.0?} (at most {within} ms)");
        slow |= median >= Duration::from_millis(within);
    }
    assert!(!slow, "slower than it may be");
}
