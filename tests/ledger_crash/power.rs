//! The power fails: what has not reached the disk is gone.
//!
//! Two proofs, of which a machine must allow at least one. As root, the ledger lies on a file system in an image
//! file; while the writer is stopped in the middle of its work the image is copied, and the copy is what a disk
//! would hold after a cut: all that was sent to it and nothing that was still in the page cache. Where that
//! is not permitted, strace shows that a sync of the data comes between every write and its acknowledgement.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mailquotad::ledger::{Ledger, SledLedger};
use rustix::process::{Pid, Signal, kill_process};

use super::load::{Expected, acknowledged, random};
use super::writer::{Writer, child, write_on};

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    if let Some(folders) = child() {
        return write_on(folders, 1, 100);
    }
    let cuts = cut_the_power();
    let trace = trace_the_syncs();
    println!("power cuts: {cuts:?}, trace: {trace:?}");
    assert!(cuts.is_ok() || trace.is_ok(), "neither proof can be made here: {cuts:?}; {trace:?}");
}

/// Two disks, each cut six times over. Answers why there can be no such test.
fn cut_the_power() -> Result<u32, String> {
    let mut cuts = 0;
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let (image, after) = (folder.path().join("disk"), folder.path().join("disk.after"));
        fs::File::create(&image).and_then(|file| file.set_len(128 << 20)).unwrap();
        run("mkfs.ext4", &["-q", "-F", &text(&image)])?;
        let mut expected = Expected::default();
        for most in [0, 0, 8, 60, 400, 2000] {
            let before: u64 = acknowledged(folder.path()).iter().sum();
            let disk = Mount::new(&image, folder.path().join("mnt"))?;
            let mut writer = Writer::start(&disk.0.join("ledger"), folder.path());
            if most == 0 {
                writer.wait_for_some_moment();
            } else {
                let enough = before + random(most);
                writer.wait_until(folder.path(), |now| now.iter().sum::<u64>() >= enough);
            }
            stop(&writer);
            fs::copy(&image, &after).unwrap();
            let acknowledged = acknowledged(folder.path());
            drop(writer);
            drop(disk);
            fs::rename(&after, &image).unwrap();

            let disk = Mount::new(&image, folder.path().join("mnt"))?;
            let ledger = SledLedger::open(&disk.0.join("ledger")).unwrap();
            expected.check(&ledger, &acknowledged);
            ledger.close().unwrap();
            cuts += 1;
        }
    }
    Ok(cuts)
}

/// Stops all threads of the child. A write that is in the kernel is not held up, but the writer, which would
/// acknowledge it, is.
fn stop(writer: &Writer) {
    let pid = Pid::from_child(&writer.0);
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    };
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    while !fs::read_dir(&tasks).unwrap().all(|task| stopped(task.unwrap())) {
        std::thread::yield_now();
    }
}

struct Mount(PathBuf);

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Result<Mount, String> {
        fs::create_dir_all(&at).unwrap();
        // The journal must not come to help: by default it writes everything out every five seconds.
        run("mount", &["-o", "loop,commit=600", &text(image), &text(&at)])?;
        Ok(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &[&text(&self.0)]) {
            eprintln!("{why}");
            let _ = run("umount", &["-l", &text(&self.0)]);
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// Counts the acknowledgements in a trace that has a sync before each. Answers why there can be no trace.
fn trace_the_syncs() -> Result<u32, String> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let wrapper = ["strace", "-f", "-y", "-e", "trace=pwrite64,write,fdatasync", "-o", &text(&trace)];
    let child = "power::power_cuts_lose_nothing_acknowledged";
    let mut command = Writer::command(&wrapper, child, &folder.path().join("ledger"), folder.path());
    let output = command.output().map_err(|error| format!("strace: {error}"))?;
    if !output.status.success() {
        return Err(format!("strace: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let traced = fs::read_to_string(&trace).unwrap();
    let mut calls = Calls::default();
    traced.lines().for_each(|line| calls.read(line));
    assert_eq!(calls.acknowledged, 100, "every batch was acknowledged in the trace");
    Ok(calls.acknowledged)
}

/// Follows a trace: what was written and not yet synced.
#[derive(Default)]
struct Calls {
    acknowledged: u32,
    /// There is data that no finished sync covers.
    unsynced: bool,
    /// A sync has begun, and no data was written since.
    covering: bool,
    synced: u32,
    /// Calls that have begun, by thread.
    begun: HashMap<String, String>,
}

impl Calls {
    fn read(&mut self, line: &str) {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            self.begins(begun);
            self.begun.insert(thread.into(), begun.into());
        } else if call.starts_with("<... ") {
            let begun = self.begun.remove(thread).unwrap_or_default();
            self.ends(&begun, call);
        } else {
            self.begins(call);
            self.ends(call, call);
        }
    }

    fn begins(&mut self, call: &str) {
        if call.starts_with("pwrite64(") && call.contains("/ledger/db>") {
            (self.unsynced, self.covering) = (true, false);
        } else if call.starts_with("fdatasync(") && call.contains("/ledger/db>") {
            self.covering = true;
        } else if call.starts_with("write(") && call.contains("/acknowledged.") {
            assert!(!self.unsynced, "acknowledged before it was synced: {call}");
            assert!(self.synced > 0, "acknowledged without a sync: {call}");
            self.acknowledged += 1;
            self.synced = 0;
        }
    }

    fn ends(&mut self, begun: &str, end: &str) {
        if begun.starts_with("pwrite64(") && begun.contains("/ledger/db>") {
            (self.unsynced, self.covering) = (true, false);
        } else if begun.starts_with("fdatasync(") && end.trim_end().ends_with("= 0") {
            self.unsynced &= !self.covering;
            self.synced += u32::from(self.covering);
        }
    }
}
