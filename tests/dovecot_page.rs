//! docs/dovecot.md, docs/imap.md and docs/warnings.md show the files that we ship, and Dovecot itself reads each of them. (That they do what the page
//! says: `e2e_dovecot*.rs`, `stores/`.)

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shipped(version: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/dovecot").join(version);
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| format!("packaging/dovecot/{version}/{}", entry.unwrap().file_name().display())).collect()
}

#[test]
fn every_block_of_the_pages_is_a_file_and_every_file_is_on_a_page() {
    let page = ["docs/dovecot.md", "docs/imap.md", "docs/warnings.md"].map(text).concat();
    let blocks: BTreeSet<String> =
        page.split("```conf\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    let files: BTreeSet<String> = ["2.3", "2.4"].into_iter().flat_map(shipped).map(|path| text(&path)).collect();
    assert!(files.len() >= 4);
    assert_eq!(blocks, files);
}

#[test]
fn dovecot_2_3_reads_each_of_them() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = folder.path().join("dovecot.conf");
    for path in shipped("2.3") {
        let base = format!(
            "base_dir = {}\nmail_location = maildir:~/Maildir\nprotocols = imap lmtp\nssl = no\n",
            folder.path().display()
        );
        let own = text(&path);
        // It stands beside usage.conf, and has the last word.
        let beside =
            if path.ends_with("setquota.conf") { text("packaging/dovecot/2.3/usage.conf") } else { String::new() };
        fs::write(&config, format!("{base}{beside}{own}")).unwrap();
        let output = Command::new("doveconf").arg("-n").arg("-c").arg(&config).output().expect("dovecot is installed");
        let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success() && errors.is_empty(), "{path}: {errors}");
        // What the file sets is in force.
        for line in own.lines().map(str::trim).filter(|line| line.contains(" = ") && !line.starts_with('#')) {
            let (key, value) = line.split_once(" = ").unwrap();
            let value = value.replace("$mail_plugins ", "");
            let kept = said.lines().any(|said| {
                said.trim()
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with(" = ") && rest.trim_end_matches('"').ends_with(&value))
            });
            assert!(kept, "{path}: {line} is not in force:\n{said}");
        }
    }
}
