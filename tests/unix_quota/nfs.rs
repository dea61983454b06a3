//! Mounts of a real NFS server. The daemon is told paths; that a server must be asked, and which, and about what, it
//! finds in /proc/self/mountinfo.

use super::vm::{Machine, Plan};
use super::{FINE, NO_ROOM, step, verdict};

const PLAN: Plan = Plan {
    script: include_str!("machine/nfs.sh"),
    config: r#"
[unix_quota]
domains = ["example.org"]
file_systems = ["/mnt/mail box/spool", "/mnt/v4", "/mnt/root"]
limit = "hard"
interval = "1s"
max_age = "1h"
timeout = "2s"
"#,
    modules: &["nfsv3", "nfsv4", "nfsd"],
    programs: &[
        "nfs-kernel-server/usr/sbin/exportfs",
        "nfs-kernel-server/usr/sbin/rpc.nfsd",
        "nfs-kernel-server/usr/sbin/rpc.mountd",
        "nfs-common/sbin/mount.nfs",
    ],
};

const DEFERRED: &str = "action=452 4.2.2 Mailbox has no room for this message, try again later";

/// What is shown of Anna on one of the file systems, with so many bytes in use.
fn figures(place: &str, bytes: u64) -> String {
    format!("file system {place}: {bytes} bytes, soft limit 1024000, hard limit 2048000; 1 files, hard limit 10")
}

#[test]
fn a_mount_is_found_its_server_asked_and_a_server_that_is_away_refuses_nobody() {
    let (told, said) = Machine::build(&PLAN).run();
    let verdict = |name: &str| verdict(&told[name]);
    let shown = |name: &str| step(&told[name]);
    let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{name}: {}\n{said}", told[name]));

    assert_eq!(told["kernel-below"], "taken", "{said}");
    assert_eq!((verdict("unmounted"), shown("unmounted")), (FINE, String::new()), "{said}");
    let mounts = text("mounts");
    assert!(mounts.contains(" - nfs 127.0.0.1:/ext4/mail\\040box "), "{mounts}\n{said}");
    assert!(mounts.contains(" - nfs4 127.0.0.1:/ext4 "), "{mounts}\n{said}");

    // Found between two readings, by both versions, and the same as the server's own.
    assert_eq!(verdict("mounted"), NO_ROOM, "{}\n{said}", told["mounted"]);
    for place in ["/mnt/mail box/spool", "/mnt/v4"] {
        assert!(shown("mounted").contains(&figures(place, 1_536_000)), "{}", shown("mounted"));
        assert!(shown("written").contains(&figures(place, 1_638_400)), "{}", shown("written"));
    }
    assert!(!shown("mounted").contains("/mnt/root"), "{}", shown("mounted"));
    assert_eq!(verdict("fits"), FINE);
    assert_eq!(told["policy"], DEFERRED);
    let figures_of_doctor = "/mnt/v4: user quota of anna: 1536000 bytes, soft limit 1024000, hard limit 2048000";
    assert!(text("doctor").contains(figures_of_doctor), "{}", told["doctor"]);

    // What the server refuses is refused, and what it takes is not.
    assert_eq!((text("kernel-over-nfs"), verdict("written")), ("taken", FINE));
    assert_eq!((text("kernel-at-hard"), verdict("no-room").0), ("Disk quota exceeded", "defer"));

    assert_eq!(verdict("silent"), verdict("no-room"), "its last word stands");
    assert_eq!((verdict("silent-for-long"), text("silent-policy")), (FINE, "action=DUNNO"));
    assert!(shown("silent-for-long").contains("too old to count"), "{}", shown("silent-for-long"));
    assert_eq!((verdict("never-heard"), text("never-heard-policy")), (FINE, "action=DUNNO"), "{said}");
    assert!(text("silent-event").contains("level=warn"), "{}", text("silent-event"));
    assert_eq!(told["silent-events"], 2, "it is said once of each, whoever else is looked up: {said}");
    assert_eq!(verdict("back").0, "defer", "{said}");
    assert!(told["back-event"].as_u64() >= Some(2), "{said}");

    assert_eq!((verdict("gone"), text("gone-policy")), (FINE, "action=DUNNO"), "{said}");
    for place in ["/mnt/root", "/mnt/v4", "/mnt/mail box/spool"] {
        assert!(shown("rooted").contains(&format!("file system {place}: ")), "{}\n{said}", told["rooted"]);
    }

    assert!(text("hanging-policy").starts_with("action=452 4.2.2 "), "its last word stands: {said}");
    assert_eq!(told["hanging-from-the-start"], "action=DUNNO");
    assert!(text("hanging-event").contains("place=any"), "{}", text("hanging-event"));
    assert_eq!(told["hanging-end"], 0, "a mount that hangs does not keep the daemon: {said}");
    assert_eq!(verdict("served-again").0, "defer", "{said}");
}
