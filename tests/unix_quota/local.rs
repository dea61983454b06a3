//! Quotas of this host, on ext4 and XFS, and of itself as a file server.

use super::vm::{Machine, Plan};
use super::{FINE, FULL, NO_ROOM, step, verdict};

const PLAN: Plan = Plan {
    script: include_str!("machine/local.sh"),
    config: r#"
[unix_quota]
domains = ["example.org"]
file_systems = ["/ext4", "/xfs", "/plain", "nfs://127.0.0.1/ext4"]
kinds = ["user", "group"]
limit = "hard"
rquota_transport = "udp"
"#,
    modules: &["xfs"],
    programs: &[],
};

#[test]
fn ext4_xfs_and_rquotad_decide_as_the_kernel_does() {
    let (told, said) = Machine::build(&PLAN).run();
    let verdict = |name: &str| verdict(&told[name]);

    // 1500 KiB of soft 1000 and hard 2000; whichever way they are read, they are the same.
    assert_eq!(verdict("hard"), NO_ROOM, "{said}");
    let shown = step(&told["hard"]);
    for place in ["/ext4", "/xfs", "nfs://127.0.0.1/ext4"] {
        let figures = "1536000 bytes, soft limit 1024000, hard limit 2048000; 1 files, hard limit 10";
        assert!(shown.contains(&format!("file system {place}: {figures}")), "{shown}");
        let group = "1536000 bytes, hard limit 1638400; 1 files, unlimited";
        assert!(shown.contains(&format!("file system {place} (group): {group}")), "{shown}");
    }
    assert!(!shown.contains("/plain"), "a file system without quotas has no opinion: {shown}");
    assert_eq!(verdict("hard-fits"), FINE);

    // Ben has no limit of his own, but his group has.
    assert_eq!(verdict("group"), NO_ROOM);
    assert!(
        step(&told["group"]).contains("file system /xfs: 0 bytes, unlimited")
            || !step(&told["group"]).contains("file system /xfs:")
    );
    // No user of the system, and a user's name in a foreign domain.
    for name in ["no-unix-user", "foreign"] {
        assert_eq!((verdict(name), step(&told[name])), (FINE, String::new()), "{name}");
    }
    let roots = told["show"]["roots"].as_array().unwrap();
    let ext4 = roots.iter().find(|root| root["name"] == "file system /ext4").unwrap();
    assert_eq!((&ext4["used"]["bytes"], &ext4["limit"]["bytes"]), (&1_536_000.into(), &2_048_000.into()));

    assert_eq!(verdict("soft"), FULL);
    assert_eq!(verdict("grace"), FINE, "in the grace period of the file system");
    assert_eq!(told["kernel-in-grace"], "taken", "{said}");
    assert_eq!(verdict("grace-over"), FULL, "when the kernel refuses, so do we");
    assert_eq!((&told["kernel-below-hard"], &told["kernel-at-hard"]), (&"taken".into(), &"Disk quota exceeded".into()));
    assert_eq!(verdict("at-hard"), FULL);
    assert_eq!(told["problems"], 0, "{said}");

    assert_eq!(verdict("tcp"), FULL, "{}\n{said}", told["tcp"]);
    // rpc.rquotad says of XFS that its quotas are not active, and tells their figures all the same.
    for figures in
        ["ext4: 1536000 bytes, soft limit 1024000, hard limit 2048000", "xfs: 1536000 bytes, hard limit 1536000"]
    {
        assert!(step(&told["tcp"]).contains(&format!("file system nfs://127.0.0.1/{figures}")), "{}", told["tcp"]);
    }
    assert_eq!(verdict("server-gone"), FULL, "its last word stands");
    let problem = told["problem"].as_str().unwrap();
    assert!(problem.contains("place=nfs://127.0.0.1/ext4") && problem.contains("level=warn"), "{problem}");
}
