//! Virtual machines with Debian's kernel, because the kernel of a container or a developer's machine often has no
//! quota formats and no NFS: real file systems, a real rpc.rquotad and the built program, in software emulation.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Emulated, it takes a minute, and several on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// What one of the machines runs, and what it needs for that beside what they all have.
pub struct Plan {
    pub script: &'static str,
    /// `[unix_quota]`, and what else there is to say.
    pub config: &'static str,
    /// Of Debian's kernel; what they need themselves comes along.
    pub modules: &'static [&'static str],
    pub programs: &'static [&'static str],
}

const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "quota_v2"];

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
"#;

const FILES: [(&str, &str); 8] = [
    ("begin", include_str!("machine/begin.sh")),
    (
        "etc/passwd",
        "root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/:/bin/sh\nben:x:1001:1000::/:/bin/sh\n_rpc:x:100:100::/run/rpcbind:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\nmail:x:1000:\n"),
    ("etc/hosts", "127.0.0.1 localhost vm\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"),
    ("etc/services", "sunrpc 111/tcp rpcbind\nsunrpc 111/udp rpcbind\nnfs 2049/tcp\nnfs 2049/udp\n"),
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

/// What a module says that it needs: it stands in it as `depends=one,two`.
fn needs(module: &Path) -> Vec<String> {
    let bytes = fs::read(module).unwrap();
    let key = b"\0depends=";
    let at = bytes.windows(key.len()).position(|part| part == key);
    let at = at.unwrap_or_else(|| panic!("{} does not say what it needs", module.display())) + key.len();
    let end = bytes[at..].iter().position(|byte| *byte == 0).unwrap();
    let names = str::from_utf8(&bytes[at..at + end]).unwrap().split(',');
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Adds a module to those that are loaded, behind what it needs.
fn add_module(kernel: &[PathBuf], name: &str, loaded: &mut Vec<PathBuf>) {
    let file = format!("{name}.ko");
    let found = kernel.iter().find(|path| path.file_name().is_some_and(|name| *name == *file));
    let found = found.unwrap_or_else(|| panic!("the kernel has no {file}"));
    if !loaded.contains(found) {
        needs(found).iter().for_each(|needed| add_module(kernel, needed, loaded));
        loaded.push(found.clone());
    }
}

/// Where everything for the machine lies, and what it is told to run with.
pub struct Machine {
    folder: TempDir,
    kernel: PathBuf,
}

impl Machine {
    pub fn build(plan: &Plan) -> Machine {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("root");
        for part in ["bin", "proc", "sys", "dev", "tmp", "modules", "etc", "lib"] {
            fs::create_dir_all(root.join(part)).unwrap();
        }
        let kernel = below(&unpacked("linux-image-cloud"));
        let mut modules = Vec::new();
        MODULES.iter().chain(plan.modules).for_each(|name| add_module(&kernel, name, &mut modules));
        let mut order = String::new();
        for module in modules {
            let name = module.file_name().unwrap();
            put(&module, &root.join("modules").join(name));
            order.push_str(&format!("{}\n", name.display()));
        }
        fs::write(root.join("modules/order"), order).unwrap();
        for program in PROGRAMS.iter().chain(plan.programs) {
            put_program(&unpacked(program), &root);
        }
        let small = folder.path().join("mailquotad");
        well(Command::new("strip").arg("-o").arg(&small).arg(env!("CARGO_BIN_EXE_mailquotad")));
        put_program(&small, &root);
        let config = [CONFIG, plan.config].concat();
        for (name, text) in FILES.into_iter().chain([("init", plan.script), ("mailquotad.toml", &config)]) {
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
        let told: BTreeMap<_, _> = told.collect();
        assert!(told.contains_key("end"), "it did not come to its end: {told:?}\n{said}");
        (told, said)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
