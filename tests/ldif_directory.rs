//! The LDIF directory on real files: following changes, keeping the last state when the file breaks,
//! and writing beside an admin who edits the same file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use mailquotad::account::{Entry, EntryId, Status, Writable};
use mailquotad::directory::entry::{EntryReader, Preset, id_of_dn};
use mailquotad::directory::ldif::{LdifDirectory, LdifOptions};
use mailquotad::directory::{Change, Directory, DirectoryError, Wish, Written};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SAMPLE: &str = include_str!("../ldif/sample.ldif");
const ANN: &str = "uid=ann,ou=People,dc=example,dc=org";
const FRANK: &str = "uid=frank,ou=People,dc=example,dc=org";

/// A site that follows its file and keeps what it hears, as the service does.
struct Site {
    folder: TempDir,
    directory: Arc<LdifDirectory>,
    changes: mpsc::Receiver<Change>,
    stop: CancellationToken,
    following: JoinHandle<Result<(), DirectoryError>>,
    known: BTreeMap<EntryId, Entry>,
}

/// What one load brought.
#[derive(Debug, Default)]
struct Load {
    entries: Vec<Entry>,
    present: usize,
    bad: Vec<String>,
}

impl Site {
    fn start(text: &str) -> Site {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("org.ldif"), text).unwrap();
        let mut options = LdifOptions::new(folder.path().join("org.ldif"), EntryReader::new(Preset::Sun));
        options.poll = Duration::from_millis(20);
        let directory = Arc::new(LdifDirectory::new(options));
        let (sender, changes) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let following = tokio::spawn({
            let (directory, stop) = (Arc::clone(&directory), stop.clone());
            async move { directory.follow(None, sender, stop).await }
        });
        Site { folder, directory, changes, stop, following, known: BTreeMap::new() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("org.ldif")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    async fn change(&mut self) -> Change {
        tokio::time::timeout(Duration::from_secs(60), self.changes.recv()).await.expect("a change").expect("a sender")
    }

    /// The next load, from `Begin` to `Complete`.
    async fn load(&mut self) -> Load {
        let mut load = Load::default();
        let mut named = Vec::new();
        assert_eq!(self.change().await, Change::Begin);
        loop {
            match self.change().await {
                Change::Entry(entry) => {
                    named.push(entry.id());
                    self.known.insert(entry.id(), entry.clone());
                    load.entries.push(entry);
                }
                Change::Present(id) => {
                    named.push(id);
                    load.present += 1;
                }
                Change::Bad { why, .. } => load.bad.push(why),
                Change::Complete => break,
                other => panic!("{other:?} within a load"),
            }
        }
        self.known.retain(|id, _| named.contains(id));
        load
    }

    async fn lost(&mut self) -> String {
        match self.change().await {
            Change::Lost { why } => why,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, dn: &str) -> Option<Status> {
        match self.known.get(&id_of_dn(dn))? {
            Entry::Account(account) => Some(account.mail_status),
            other => panic!("{other:?}"),
        }
    }

    /// Loads until `dn` has `status`.
    async fn hear(&mut self, dn: &str, status: Status) {
        while self.status(dn) != Some(status) {
            self.load().await;
        }
    }
}

fn wish(dn: &str, from: Option<&str>, to: Option<&str>) -> Wish {
    Wish { dn: dn.into(), attribute: Writable::UserStatus, from: from.map(Into::into), to: to.map(Into::into) }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// As editors save: a new file takes the name.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn the_sample_organisation_loads() {
    let mut site = Site::start(SAMPLE);
    let load = site.load().await;
    let count = |wanted: fn(&Entry) -> bool| load.entries.iter().filter(|entry| wanted(entry)).count();
    assert_eq!(count(|entry| matches!(entry, Entry::Account(_))), 8);
    assert_eq!(count(|entry| matches!(entry, Entry::Domain(_))), 2);
    assert_eq!(count(|entry| matches!(entry, Entry::Group(_))), 1);
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert_eq!(site.status(FRANK), Some(Status::Inactive));
    site.stop.cancel();
    site.following.await.unwrap().unwrap();
}

#[tokio::test]
async fn only_what_changed_is_sent_again() {
    let mut site = Site::start(SAMPLE);
    let all = site.load().await.entries.len();

    replace(&site.file(), &SAMPLE.replace("mailQuota: 10M\n\n# A small", "mailQuota: 99M\n\n# A small"));
    let load = site.load().await;
    assert_eq!((load.entries.len(), load.present), (1, all - 1));
    let Entry::Account(ann) = &load.entries[0] else { panic!("{load:?}") };
    assert_eq!((&*ann.address, &ann.quota), ("ann@example.org", &Ok(Some("99M".into()))));

    // In place, as a shell redirection does it; a comment alone is no change of an entry.
    fs::write(site.file(), format!("{}\n# the end\n", site.text())).unwrap();
    let load = site.load().await;
    assert_eq!((load.entries.len(), load.present), (0, all));

    let without_bob = site.text().replace("mail: bob@example.org\n", "").replace("uid=bob", "uid=rob");
    replace(&site.file(), &without_bob);
    let load = site.load().await;
    assert_eq!(load.bad.len(), 1, "{load:?}");
    assert!(load.bad[0].contains("org.ldif:") && load.bad[0].contains("no address"), "{load:?}");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_says_where() {
    let mut site = Site::start(SAMPLE);
    site.load().await;
    let before = site.known.clone();

    replace(&site.file(), &SAMPLE.replace("uid: carol\n", "uid carol\n"));
    let why = site.lost().await;
    let line = SAMPLE.lines().position(|line| line == "uid: carol").unwrap() + 1;
    assert!(why.contains(&format!("org.ldif:{line}: no `:` in the line")), "{why}");
    let refused = site.directory.write(&wish(ANN, None, Some("overquota"))).await.unwrap_err();
    assert!(matches!(&refused, DirectoryError::Away(why) if why.contains(&format!("org.ldif:{line}:"))), "{refused}");

    fs::write(site.file(), "").unwrap();
    assert!(site.lost().await.contains("there is no entry in the file"));
    fs::remove_file(site.file()).unwrap();
    assert!(site.lost().await.contains("No such file"));
    assert_eq!(site.known, before);

    fs::write(site.file(), SAMPLE).unwrap();
    let load = site.load().await;
    assert_eq!((load.entries.len(), load.present), (0, before.len()));
    assert_eq!(site.known, before);
}

/// It is tried again at every look, because rights are no part of what a look sees.
#[tokio::test]
async fn a_file_that_is_there_and_cannot_be_read_is_told_of_once() {
    let mut site = Site::start(SAMPLE);
    site.load().await;
    fs::remove_file(site.file()).unwrap();
    site.lost().await;
    fs::create_dir(site.file()).unwrap();
    assert!(site.lost().await.contains("Is a directory"));
    let again = tokio::time::timeout(Duration::from_secs(1), site.changes.recv()).await;
    assert!(again.is_err(), "fifty looks later: {again:?}");
    fs::remove_dir(site.file()).unwrap();
    fs::write(site.file(), SAMPLE).unwrap();
    while let Change::Lost { why } = site.change().await {
        assert!(why.contains("No such file"), "{why}");
    }
}

#[tokio::test]
async fn a_file_that_is_missing_at_the_start_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("late.ldif");
    let mut options = LdifOptions::new(&file, EntryReader::new(Preset::Sun));
    options.poll = Duration::from_millis(20);
    let (sender, mut changes) = mpsc::channel(100);
    let directory = LdifDirectory::new(options);
    let stop = CancellationToken::new();
    let following = directory.follow(None, sender, stop.clone());
    let seeing = async {
        assert!(matches!(changes.recv().await, Some(Change::Lost { .. })));
        fs::write(&file, SAMPLE).unwrap();
        assert_eq!(changes.recv().await, Some(Change::Begin));
        stop.cancel();
        // Takes what is left, so that stopping does not wait for room.
        while changes.recv().await.is_some() {}
    };
    let (followed, ()) = tokio::join!(following, seeing);
    followed.unwrap();
}

#[tokio::test]
async fn an_entry_that_stands_twice_counts_once() {
    let twice = "dn: uid=a,dc=x\nobjectClass: inetMailUser\nmail: a@x\n\n\
                 dn: UID=A, dc=x\nobjectClass: inetMailUser\nmail: b@x\n";
    let mut site = Site::start(twice);
    let load = site.load().await;
    assert_eq!(load.entries.len(), 1);
    assert!(load.bad[0].contains("org.ldif:5: the entry stands in the file before"), "{load:?}");
}

#[tokio::test]
async fn a_write_touches_one_value_and_is_heard_of() {
    let mut site = Site::start(SAMPLE);
    site.load().await;
    fs::set_permissions(site.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let owner = (fs::metadata(site.file()).unwrap().uid(), fs::metadata(site.file()).unwrap().gid());

    let written = site.directory.write(&wish(ANN, Some("active"), Some("overquota"))).await.unwrap();
    assert_eq!(written, Written::Done);
    let quota = "mailAlternateAddress: sales@example.org\nmailQuota: 10M\n";
    let expected = SAMPLE.replace(quota, &format!("{quota}mailUserStatus: overquota\n"));
    assert_eq!(site.text(), expected);
    site.hear(ANN, Status::OverQuota).await;

    let metadata = fs::metadata(site.file()).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o640, owner.0, owner.1));
    assert_eq!(names(site.folder.path()), ["org.ldif"]);

    let written = site.directory.write(&wish(&ANN.to_uppercase(), Some("overquota"), Some("active"))).await.unwrap();
    assert_eq!(written, Written::Done);
    assert_eq!(site.text(), expected.replace("overquota\n", "active\n"));
    site.hear(ANN, Status::Active).await;
}

#[tokio::test]
async fn an_admin_is_never_overwritten() {
    let site = Site::start(SAMPLE);
    let overruled = site.directory.write(&wish(FRANK, Some("active"), Some("overquota"))).await.unwrap();
    assert_eq!(overruled, Written::Overruled { found: Some("inactive".into()) });
    let gone = site.directory.write(&wish("uid=nobody,dc=example,dc=org", None, Some("overquota"))).await.unwrap();
    assert_eq!(gone, Written::NoEntry);
    // What is so already counts as done: the daemon may have died between the write and its record.
    let done = site.directory.write(&wish(ANN, Some("overquota"), Some("active"))).await.unwrap();
    assert_eq!(done, Written::Done);
    assert_eq!(site.text(), SAMPLE);
}

#[tokio::test]
async fn quotas_are_set_changed_and_removed() {
    let site = Site::start(SAMPLE);
    let wish = |from: Option<&str>, to: Option<&str>| Wish {
        attribute: Writable::Quota,
        ..wish("uid=bob,ou=People,dc=example,dc=org", from, to)
    };
    assert_eq!(site.directory.write(&wish(Some("1M"), Some("2G;Archive%1G"))).await.unwrap(), Written::Done);
    assert!(site.text().contains("mail: bob@example.org\nmailQuota: 2G;Archive%1G\n\n"));
    let other = site.directory.write(&wish(Some("2G;archive%1G"), None)).await.unwrap();
    assert_eq!(other, Written::Overruled { found: Some("2G;Archive%1G".into()) });
    assert_eq!(site.directory.write(&wish(Some("2G;Archive%1G"), None)).await.unwrap(), Written::Done);
    assert!(site.text().contains("mail: bob@example.org\n\n"));
}

#[tokio::test]
async fn a_value_is_looked_up_as_it_is_spelled() {
    let site = Site::start(SAMPLE);
    assert_eq!(site.directory.read(FRANK, Writable::UserStatus).await.unwrap().as_deref(), Some("inactive"));
    assert_eq!(site.directory.read(ANN, Writable::UserStatus).await.unwrap(), None);
    let refused = site.directory.read("uid=nobody", Writable::Quota).await.unwrap_err();
    assert!(matches!(&refused, DirectoryError::Refused(why) if why.contains("there is no entry")), "{refused}");
}

#[tokio::test]
async fn two_statuses_and_an_unmapped_attribute_are_refused() {
    let twice = "dn: uid=a\nobjectClass: inetMailUser\nmail: a@x\nmailUserStatus: active\nmailUserStatus: hold\n";
    let mut site = Site::start(twice);
    site.load().await;
    let refused = site.directory.write(&wish("uid=a", Some("active"), Some("overquota"))).await.unwrap_err();
    assert!(matches!(&refused, DirectoryError::Refused(why) if why.contains("has several values")), "{refused}");

    let mut reader = EntryReader::new(Preset::QuotaBytes);
    reader.map.set("user_status", [""; 0]).unwrap();
    let directory = LdifDirectory::new(LdifOptions::new(site.file(), reader));
    let refused = directory.write(&wish("uid=a", Some("active"), Some("overquota"))).await.unwrap_err();
    assert!(matches!(&refused, DirectoryError::Refused(why) if why.contains("no attribute is mapped")), "{refused}");
    assert_eq!(site.text(), twice);
}

#[tokio::test]
async fn a_link_stays_a_link() {
    let folder = TempDir::new().unwrap();
    let (real, link) = (folder.path().join("real.ldif"), folder.path().join("link.ldif"));
    fs::write(&real, SAMPLE).unwrap();
    symlink(&real, &link).unwrap();
    let directory = LdifDirectory::new(LdifOptions::new(&link, EntryReader::new(Preset::Sun)));
    directory.write(&wish(ANN, None, Some("overquota"))).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("mailUserStatus: overquota"));
}

fn crowd(size: usize) -> String {
    let user = |n| format!("dn: uid=u{n},dc=x\nobjectClass: inetMailUser\nmail: u{n}@x\ndescription: 0\n");
    (0..size).map(user).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn wishes_in_flight_together_share_a_rewrite() {
    let mut site = Site::start(&crowd(1000));
    site.load().await;
    let writes = (0..1000).map(|n| {
        let directory = Arc::clone(&site.directory);
        let wish = wish(&format!("uid=u{n},dc=x"), Some("active"), Some("overquota"));
        tokio::spawn(async move { directory.write(&wish).await })
    });
    for write in writes.collect::<Vec<_>>() {
        assert_eq!(write.await.unwrap().unwrap(), Written::Done);
    }
    assert_eq!(site.text().matches("mailUserStatus: overquota\n").count(), 1000);
    // One thousand rewrites would each be heard as a load of their own.
    let mut loads = 0;
    while site.known.keys().len() < 1000 || site.known.values().any(|entry| !is_over(entry)) {
        site.load().await;
        loads += 1;
    }
    assert!(loads <= 20, "{loads} loads");
}

fn is_over(entry: &Entry) -> bool {
    matches!(entry, Entry::Account(account) if account.mail_status == Status::OverQuota)
}

/// The order within a batch is that of the calls, also for one account.
#[tokio::test]
async fn wishes_for_one_account_pass_over_it_in_turn() {
    let site = Site::start(SAMPLE);
    let one = wish(ANN, Some("active"), Some("overquota"));
    let two = wish(ANN, Some("overquota"), Some("active"));
    let three = wish(ANN, Some("overquota"), Some("hold"));
    let outcomes = tokio::join!(site.directory.write(&one), site.directory.write(&two), site.directory.write(&three));
    let outcomes = [outcomes.0.unwrap(), outcomes.1.unwrap(), outcomes.2.unwrap()];
    let overruled = Written::Overruled { found: Some("active".into()) };
    assert!(outcomes[..2] == [Written::Done, Written::Done]);
    assert!(outcomes[2] == overruled || outcomes[2] == Written::Overruled { found: None }, "{outcomes:?}");
}

/// A caller that gives up must neither stop the others nor let two rewrites run at once.
#[tokio::test]
async fn a_caller_that_gives_up_takes_nobody_along() {
    let site = Site::start(&crowd(50));
    let writes: Vec<_> = (0..50)
        .map(|n| {
            let directory = Arc::clone(&site.directory);
            let wish = wish(&format!("uid=u{n},dc=x"), None, Some("overquota"));
            tokio::spawn(async move { directory.write(&wish).await })
        })
        .collect();
    tokio::task::yield_now().await;
    writes[0].abort();
    for write in writes.into_iter().skip(1) {
        assert_eq!(write.await.unwrap().unwrap(), Written::Done);
    }
    assert!(site.text().matches("mailUserStatus: overquota\n").count() >= 49);
}

/// An admin saves over and over, with no look at what the daemon does meanwhile. Whatever the admin
/// saved last must be in the file: a rewrite that began from an older text may never win.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_word_is_the_admins() {
    let mut site = Site::start(&crowd(30));
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let admin = std::thread::spawn({
        let file = site.file();
        // People are not quicker than that; the daemon waits for a file at rest.
        let goes_on = move || ended.recv_timeout(Duration::from_millis(30)) == Err(RecvTimeoutError::Timeout);
        move || {
            let mut edits = 0_u32;
            while edits == 0 || goes_on() {
                let text = fs::read_to_string(&file).unwrap();
                let saved = text.split_once("description: ").unwrap().1.split_once('\n').unwrap().0.to_owned();
                edits += 1;
                replace(
                    &file,
                    &text.replacen(&format!("description: {saved}\n"), &format!("description: {edits}\n"), 1),
                );
            }
            edits
        }
    });
    let mut tried = 0;
    for round in 0..60 {
        let to = if round % 2 == 0 { "overquota" } else { "active" };
        let from = if round % 2 == 0 { "active" } else { "overquota" };
        match site.directory.write(&wish(&format!("uid=u{},dc=x", round % 30), Some(from), Some(to))).await {
            Ok(_) | Err(DirectoryError::Away(_)) => tried += 1,
            Err(refused) => panic!("{refused}"),
        }
        while site.changes.try_recv().is_ok() {}
    }
    drop(done);
    let edits = admin.join().unwrap();
    assert!(edits > 0 && tried == 60);
    assert!(site.text().contains(&format!("mail: u0@x\ndescription: {edits}\n")), "{edits} edits");
    assert_eq!(site.text().matches("dn: ").count(), 30);

    let last = wish("uid=u29,dc=x", Some("active"), Some("overquota"));
    assert_eq!(site.directory.write(&last).await.unwrap(), Written::Done);
    assert!(site.text().contains("mail: u29@x\ndescription: 0\nmailUserStatus: overquota\n"));
}
