//! A virtual machine with Debian's kernel, because the kernel of a container or a developer's machine often has no
//! quota formats: real file systems, a real rpc.rquotad and the built program, in software emulation.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Emulated, on a busy machine, it takes a minute or so.
const PATIENCE: Duration = Duration::from_secs(300);

/// Of Debian's kernel, in the order in which they need one another.
const MODULES: [&str; 10] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "libcrc32c",
    "xfs",
    "quota_tree",
    "quota_v2",
];

const PROGRAMS: [&str; 5] = [
    "busybox-static/bin/busybox",
    "quota/usr/sbin/setquota",
    "quota/usr/sbin/rpc.rquotad",
    "rpcbind/sbin/rpcbind",
    "rpcbind/usr/sbin/rpcinfo",
];

const CONFIG: &str = r#"
[directory]
kind = "ldif"
file = "/organisation.ldif"
[ledger]
path = "/tmp/ledger"
[mailstore]
path = "/tmp/mail/%d/%n"
[policy]
listen = ["127.0.0.1:12340"]
[http]
socket = "/tmp/api.sock"
[unix_quota]
domains = ["example.org"]
file_systems = ["/ext4", "/xfs", "/plain", "nfs://127.0.0.1/ext4"]
kinds = ["user", "group"]
limit = "hard"
rquota_transport = "udp"
"#;

const FILES: [(&str, &str); 8] = [
    ("mailquotad.toml", CONFIG),
    ("init", include_str!("init.sh")),
    (
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh\nben:x:1001:1000::/:/bin/sh\n_rpc:x:100:100::/run/rpcbind:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\nmail:x:1000:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nservices: files\nprotocols: files\n"),
    ("etc/services", "sunrpc 111/tcp rpcbind\nsunrpc 111/udp rpcbind\n"),
    ("etc/protocols", "tcp 6 TCP\nudp 17 UDP\n"),
    (
        "etc/netconfig",
        "udp tpi_clts v inet udp - -\ntcp tpi_cots_ord v inet tcp - -\nlocal tpi_cots_ord - loopback - - -\n",
    ),
];

fn user(address: &str) -> String {
    format!("dn: mail={address}\nobjectClass: inetMailUser\nmail: {address}\n\n")
}

fn unpacked(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers").join(path);
    assert!(path.exists(), "{}: is not there; `make test` gets it", path.display());
    path
}

fn well(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every file below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

fn put(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// A program with the libraries that it is linked to.
fn put_program(program: &Path, root: &Path) {
    put(program, &root.join("bin").join(program.file_name().unwrap()));
    // ldd fails for what is linked statically.
    let linked = Command::new("ldd").arg(program).output().unwrap().stdout;
    let linked = String::from_utf8(linked).unwrap();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        put(Path::new(library), &root.join(&library[1..]));
    }
}

/// Where everything for the machine lies, and what it is told to run with.
pub struct Machine {
    folder: TempDir,
    kernel: PathBuf,
}

impl Machine {
    pub fn build() -> Machine {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("root");
        for part in ["bin", "proc", "sys", "dev", "tmp", "modules", "etc", "lib"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        let kernel = below(&unpacked("linux-image-cloud"));
        for module in MODULES {
            let file = format!("{module}.ko");
            let found = kernel.iter().find(|path| path.file_name().is_some_and(|name| *name == *file));
            put(found.unwrap_or_else(|| panic!("the kernel has no {file}")), &root.join("modules").join(&file));
        }
        fs::write(root.join("modules/order"), MODULES.join("\n") + "\n").unwrap();
        for program in PROGRAMS {
            put_program(&unpacked(program), &root);
        }
        let small = folder.path().join("mailquotad");
        well(Command::new("strip").arg("-o").arg(&small).arg(env!("CARGO_BIN_EXE_mailquotad")));
        put_program(&small, &root);
        for (name, text) in FILES {
            fs::write(root.join(name), text).unwrap();
        }
        let users = ["anna@example.org", "ben@example.org", "carl@example.org", "anna@elsewhere.example"];
        fs::write(root.join("organisation.ldif"), users.map(user).concat()).unwrap();
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/bin/busybox", root.join("bin/sh")).unwrap();
        let kernel = kernel.into_iter().find(|path| path.display().to_string().contains("/boot/vmlinuz-"));
        let machine = Machine { kernel: kernel.expect("a kernel"), folder };
        machine.pack();
        machine.make_disks();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pack(&self) {
        let archive = fs::File::create(self.path("initramfs")).unwrap();
        let mut names =
            Command::new("find").arg(".").current_dir(self.path("root")).stdout(Stdio::piped()).spawn().unwrap();
        let mut cpio = Command::new(unpacked("busybox-static/bin/busybox"));
        let cpio = cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(self.path("root"));
        let packed = cpio.stdin(names.stdout.take().unwrap()).stdout(archive).stderr(Stdio::null()).status();
        assert!(packed.unwrap().success() && names.wait().unwrap().success());
    }

    fn make_disks(&self) {
        // XFS takes no less than 300 MB; the file has holes.
        for (name, size) in [("ext4", 16 << 20), ("xfs", 300 << 20), ("results", 1 << 20)] {
            fs::File::create(self.path(name)).unwrap().set_len(size).unwrap();
        }
        let mut ext4 = Command::new("/usr/sbin/mke2fs");
        ext4.args(["-q", "-t", "ext4", "-O", "quota", "-E", "quotatype=usrquota:grpquota"]);
        well(ext4.arg(self.path("ext4")));
        well(Command::new(unpacked("xfsprogs/sbin/mkfs.xfs")).arg("-q").arg(self.path("xfs")));
    }

    /// Runs it to its end; what it told, by name, and what it said besides.
    pub fn run(&self) -> (BTreeMap<String, Value>, String) {
        let console = self.path("console");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args("-M q35 -accel tcg -cpu max -m 512 -nodefaults -display none -no-reboot".split(' '));
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(self.path("initramfs"));
        qemu.args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check"]);
        for disk in ["ext4", "xfs", "results"] {
            qemu.arg("-drive").arg(format!("file={},if=virtio,format=raw", self.path(disk).display()));
        }
        let begun = Instant::now();
        let mut machine = Running(qemu.stdin(Stdio::null()).spawn().expect("qemu is installed; `make test` does that"));
        while machine.0.try_wait().unwrap().is_none() {
            let said = || String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
            assert!(begun.elapsed() < PATIENCE, "the machine hangs:\n{}", said());
            std::thread::park_timeout(Duration::from_millis(50));
        }
        println!("the machine ran for {:.1} s", begun.elapsed().as_secs_f64());
        let said = String::from_utf8_lossy(&fs::read(console).unwrap()).into_owned();
        let results = fs::read(self.path("results")).unwrap();
        let results = String::from_utf8(results).unwrap();
        let told = results.trim_end_matches('\0').lines().map(|line| {
            let (name, told) = line.split_once('\t').unwrap_or_else(|| panic!("{line}\n{said}"));
            (name.to_owned(), serde_json::from_str(told).unwrap_or_else(|_| Value::from(told)))
        });
        (told.collect(), said)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
