//! Mailboxes that change while they are measured.

mod maildir;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use maildir::{Spool, ann, folders};
use mailquotad::mailstore::MailStore;

/// Small numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Sets its flag when it goes, so that a failed assertion ends the other threads too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const FLAGS: [&str; 4] = [":2,", ":2,S", ":2,FS", ":2,RS"];

/// One person's mail: where each message is and how large it is.
struct Mail<'a> {
    root: &'a Path,
    name: String,
    next: u64,
    messages: Vec<(String, u64)>,
}

impl Mail<'_> {
    fn deliver(&mut self, dice: &mut Dice) {
        let size = dice.roll(5000) as u64;
        let told = if size.is_multiple_of(3) { String::new() } else { format!(",S={size}") };
        let folder = ["", ".A", ".A.B"][dice.roll(3)];
        self.next += 1;
        let name = format!("17{:08}.M{}.{}{told}", self.next, self.next * 7, self.name);
        let tmp = self.root.join(folder).join("tmp").join(&name);
        fs::write(&tmp, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
        let path = format!("{}new/{name}", if folder.is_empty() { String::new() } else { format!("{folder}/") });
        fs::rename(tmp, self.root.join(&path)).unwrap();
        self.messages.push((path, size));
    }

    /// Looks at a message, changes its flags, or files it in another folder.
    fn touch(&mut self, dice: &mut Dice, file: bool) {
        if self.messages.is_empty() {
            return;
        }
        let at = dice.roll(self.messages.len());
        let (path, _) = &mut self.messages[at];
        let (dir, name) = path.rsplit_once('/').unwrap();
        let unique = name.split(':').next().unwrap();
        let dir = match file {
            true => ["cur", ".A/cur", ".A.B/cur"][dice.roll(3)].to_owned(),
            false => dir.replace("new", "cur"),
        };
        let to = format!("{dir}/{unique}{}", FLAGS[dice.roll(FLAGS.len())]);
        fs::rename(self.root.join(&*path), self.root.join(&to)).unwrap();
        *path = to;
    }

    fn expunge(&mut self, dice: &mut Dice) {
        if !self.messages.is_empty() {
            let at = dice.roll(self.messages.len());
            let (path, _) = self.messages.swap_remove(at);
            fs::remove_file(self.root.join(path)).unwrap();
        }
    }
}

fn spool() -> Spool {
    let spool = Spool::new();
    spool.folder(".A");
    spool.folder(".A.B");
    spool
}

#[test]
fn deliveries_renames_and_expunges_end_in_exact_agreement() {
    let spool = spool();
    let root = spool.root();
    let stop = AtomicBool::new(false);
    let users: Vec<Mail> = thread::scope(|scope| {
        let users: Vec<_> = (1..=3)
            .map(|user: u64| {
                let (root, stop) = (&root, &stop);
                scope.spawn(move || {
                    let mut mail = Mail { root, name: format!("host{user}"), next: 0, messages: Vec::new() };
                    let mut dice = Dice(user * 0x9e37_79b9);
                    while !stop.load(Ordering::Relaxed) {
                        match dice.roll(10) {
                            0..=2 if mail.messages.len() < 300 => mail.deliver(&mut dice),
                            3..=5 => mail.touch(&mut dice, false),
                            6..=7 => mail.touch(&mut dice, true),
                            _ => mail.expunge(&mut dice),
                        }
                    }
                    mail
                })
            })
            .collect();
        let ends = Ends(&stop);
        let store = spool.store();
        let mut vanishing = 0;
        while vanishing < 150 {
            let found = store.measure(&ann(), &[]).unwrap();
            // What comes and goes is no problem.
            assert_eq!(found.problems, Vec::<String>::new());
            vanishing += usize::from(found.files > 0);
        }
        drop(ends);
        users.into_iter().map(|user| user.join().unwrap()).collect()
    });
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (path, size) in users.iter().flat_map(|mail| &mail.messages) {
        let folder = match path.rsplit('/').nth(2) {
            Some(".A") => "A",
            Some(".A.B") => "A/B",
            _ => "INBOX",
        };
        let sum = expected.entry(folder).or_default();
        *sum = (sum.0 + size, sum.1 + 1);
    }
    let expected: Vec<_> = expected.into_iter().map(|(name, (bytes, n))| (name.to_owned(), bytes, n)).collect();
    assert_eq!(spool.folders(), expected);
}

/// A mailbox whose INBOX is too large to be read in one call, for which the kernel would lock it.
fn large(root: &Path) -> Mail<'_> {
    let mut mail = Mail { root, name: "host".into(), next: 0, messages: Vec::new() };
    for (dir, numbers) in [("cur", 0..4000), (".A/cur", 4000..4200), (".A.B/cur", 4200..4400)] {
        for n in numbers {
            let path = format!("{dir}/1700{n:06}.M{n}P1.a-longer-host-name.example.org,S={n}:2,");
            fs::write(root.join(&path), "").unwrap();
            mail.messages.push((path, n));
        }
    }
    mail
}

/// All that happens here is renaming within a folder, so no measurement may find more than there is.
#[test]
fn a_message_whose_flags_change_is_never_counted_twice() {
    let spool = spool();
    let root = spool.root();
    let mut mail = large(&root);
    let mut dice = Dice(42);
    let bytes: u64 = mail.messages.iter().map(|(_, size)| size).sum();
    let stop = AtomicBool::new(false);
    let store = spool.store();
    thread::scope(|scope| {
        let user = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                mail.touch(&mut dice, false);
            }
        });
        let ends = Ends(&stop);
        for _ in 0..60 {
            let found = store.measure(&ann(), &[]).unwrap();
            assert!(found.files <= 4400 && found.cells.total().bytes <= bytes, "{found:?}");
        }
        drop(ends);
        user.join().unwrap();
    });
    let found = store.measure(&ann(), &[]).unwrap();
    assert_eq!((found.files, found.cells.total().bytes), (4400, bytes));
}

/// Waits until a change would show in the directories' times: the kernel's clock for them stands still for
/// some milliseconds.
fn settle(root: &Path) {
    let newest = ["cur", ".A/cur", ".A.B/cur"].map(|dir| changed(&root.join(dir))).into_iter().max().unwrap();
    let probe = root.join("tmp/probe");
    loop {
        fs::write(&probe, "").unwrap();
        if changed(&probe) > newest {
            return;
        }
    }
}

fn changed(path: &Path) -> (i64, i64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.ctime(), metadata.ctime_nsec())
}

/// One message goes to another folder, or changes its flags, somewhere in the middle of each measurement.
/// A single pass would miss it or count it twice.
#[test]
fn what_moves_once_while_it_is_measured_is_counted_exactly() {
    let spool = spool();
    let root = spool.root();
    let mut mail = large(&root);
    let mut dice = Dice(7);
    let bytes: u64 = mail.messages.iter().map(|(_, size)| size).sum();
    let store = spool.store();
    let start = Instant::now();
    store.measure(&ann(), &[]).unwrap();
    let usual = start.elapsed();
    for round in 0..150 {
        settle(&root);
        let begun = Barrier::new(2);
        let delay = usual * u32::try_from(dice.roll(100)).unwrap() / 100;
        let found = thread::scope(|scope| {
            scope.spawn(|| {
                begun.wait();
                let start = Instant::now();
                while start.elapsed() < delay {
                    std::hint::spin_loop();
                }
                mail.touch(&mut dice, round % 3 != 0);
            });
            begun.wait();
            store.measure(&ann(), &[]).unwrap()
        });
        assert_eq!((found.files, found.cells.total().bytes), (4400, bytes), "round {round}");
    }
}

/// Folders that are made, renamed and removed while the mailbox is measured.
#[test]
fn folders_come_and_go() {
    let spool = spool();
    let root = spool.root();
    spool.put("cur/1", 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let user = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                spool.folder(".Here");
                spool.put(".Here/cur/1", 10);
                fs::rename(root.join(".Here"), root.join(".There")).unwrap();
                fs::remove_dir_all(root.join(".There")).unwrap();
            }
        });
        let ends = Ends(&stop);
        let store = spool.store();
        for _ in 0..300 {
            let found = store.measure(&ann(), &[]).unwrap();
            assert_eq!(found.problems, Vec::<String>::new());
            assert!([1, 11].contains(&found.cells.total().bytes), "{found:?}");
        }
        drop(ends);
        user.join().unwrap();
    });
    assert_eq!(folders(&spool.measure()), maildir::rows([("INBOX", 1, 1)]));
}
