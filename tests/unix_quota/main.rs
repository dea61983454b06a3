//! Unix file-system quotas: on a real ext4, a real XFS and by a real rpc.rquotad in a virtual machine, and what a
//! server on loopback can do wrong.

mod rquota;
mod vm;

#[path = "../support"]
mod support {
    pub mod daemon;
    pub mod wait;
}

use serde_json::Value;

/// What the step about file systems says; nothing where there is none.
fn step(told: &Value) -> String {
    let steps = told["steps"].as_array().unwrap_or_else(|| panic!("{told}"));
    let step = steps.iter().find(|step| step["rule"] == "file-system quotas");
    step.map(|step| step["why"].as_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn ext4_xfs_and_rquotad_decide_as_the_kernel_does() {
    let (told, said) = vm::Machine::build().run();
    assert!(told.contains_key("end"), "it did not come to its end: {told:?}\n{said}");
    let verdict = |name: &str| {
        let told = &told[name];
        (told["verdict"].as_str().unwrap_or_default(), told["reply"].as_str().unwrap_or_default())
    };
    let full = ("defer", "452 4.2.2 Mailbox is full, try again later");
    let no_room = ("defer", "452 4.2.2 Mailbox has no room for this message, try again later");
    let fine = ("pass", "DUNNO");

    // 1500 KiB of soft 1000 and hard 2000; whichever way they are read, they are the same.
    assert_eq!(verdict("hard"), no_room, "{said}");
    let shown = step(&told["hard"]);
    for place in ["/ext4", "/xfs", "nfs://127.0.0.1/ext4"] {
        let figures = "1536000 bytes, soft limit 1024000, hard limit 2048000; 1 files, hard limit 10";
        assert!(shown.contains(&format!("file system {place}: {figures}")), "{shown}");
        let group = "1536000 bytes, hard limit 1638400; 1 files, unlimited";
        assert!(shown.contains(&format!("file system {place} (group): {group}")), "{shown}");
    }
    assert!(!shown.contains("/plain"), "a file system without quotas has no opinion: {shown}");
    assert_eq!(verdict("hard-fits"), fine);

    // Ben has no limit of his own, but his group has.
    assert_eq!(verdict("group"), no_room);
    assert!(
        step(&told["group"]).contains("file system /xfs: 0 bytes, unlimited")
            || !step(&told["group"]).contains("file system /xfs:")
    );
    // No user of the system, and a user's name in a foreign domain.
    for name in ["no-unix-user", "foreign"] {
        assert_eq!((verdict(name), step(&told[name])), (fine, String::new()), "{name}");
    }
    let roots = told["show"]["roots"].as_array().unwrap();
    let ext4 = roots.iter().find(|root| root["name"] == "file system /ext4").unwrap();
    assert_eq!((&ext4["used"]["bytes"], &ext4["limit"]["bytes"]), (&1_536_000.into(), &2_048_000.into()));

    assert_eq!(verdict("soft"), full);
    assert_eq!(verdict("grace"), fine, "in the grace period of the file system");
    assert_eq!(verdict("grace-over"), full, "when the kernel refuses, so do we");
    assert_eq!(told["kernel-at-hard"], "refused");
    assert_eq!(verdict("at-hard"), full);
    assert_eq!(told["problems"], 0, "{said}");

    assert_eq!(verdict("tcp"), full, "{}\n{said}", told["tcp"]);
    // rpc.rquotad says of XFS that its quotas are not active, and tells their figures all the same.
    for figures in
        ["ext4: 1536000 bytes, soft limit 1024000, hard limit 2048000", "xfs: 1536000 bytes, hard limit 1536000"]
    {
        assert!(step(&told["tcp"]).contains(&format!("file system nfs://127.0.0.1/{figures}")), "{}", told["tcp"]);
    }
    assert_eq!(verdict("server-gone"), full, "its last word stands");
    let problem = told["problem"].as_str().unwrap();
    assert!(problem.contains("place=nfs://127.0.0.1/ext4") && problem.contains("level=warn"), "{problem}");
}
