//! How soon a change is in the cells, and that all of them get there.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mailquotad::mailstore::maildir::{Layout, Means};
use mailquotad::quota::Usage;

use crate::house::{House, deliver, make};
use crate::support::site::{account, domain};

const OPERATIONS: usize = 1000;
const ANNA: &str = "anna@example.org";

/// One change at a time: from the moment at which the file is there, or gone, to the moment at which the
/// account's sum says so.
fn one_by_one(means: Means) {
    let mut house = House::new("SPOOL/%d/%n/Maildir", Layout::MaildirPlusPlus);
    let root = house.path("example.org/anna/Maildir");
    let folders = [root.clone(), root.join(".Archive"), root.join(".Archive.2025")];
    folders.iter().for_each(|folder| make(folder));
    house.load([domain(1, "example.org", ""), account(2, ANNA, "")]);
    house.watch(means);
    let anna = house.account(ANNA);
    let mut messages: Vec<(PathBuf, u64)> = Vec::new();
    let mut expected = Usage::ZERO;
    let mut took = Vec::new();
    for number in 0..OPERATIONS {
        let (folder, size) = (&folders[number % 3], 100 + number);
        let begun;
        if number % 4 == 3 {
            let (path, size) = messages.swap_remove(number * 7 % messages.len());
            fs::remove_file(path).unwrap();
            begun = Instant::now();
            expected = Usage::new(expected.bytes - size, expected.messages - 1);
        } else {
            messages.push((deliver(folder, &format!("{number}.M1.host"), size), size as u64));
            begun = Instant::now();
            expected = Usage::new(expected.bytes + size as u64, expected.messages + 1);
        }
        while anna.lock().total() != expected {
            assert!(begun.elapsed() < Duration::from_secs(180), "operation {number} never showed");
            std::thread::yield_now();
        }
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |percent: usize| took[OPERATIONS * percent / 100 - 1];
    println!("{means:?}: file to cell, {OPERATIONS} operations: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    house.agrees(ANNA);
}

#[test]
fn each_change_shows_at_once_by_fanotify() {
    one_by_one(Means::Fanotify);
}

#[test]
fn each_change_shows_at_once_by_inotify() {
    one_by_one(Means::Inotify);
}

/// Several people's mailboxes, everything at once: deliveries, flags, moves, removals, folders that come, go and are
/// renamed.
fn all_at_once(means: Means) {
    let mut house = House::new("SPOOL/%d/%n/Maildir", Layout::MaildirPlusPlus);
    let users = ["anna", "ben", "cleo"];
    let address = |user: &str| format!("{user}@example.org");
    users.iter().for_each(|user| make(&house.path(&format!("example.org/{user}/Maildir"))));
    house.load(users.iter().enumerate().map(|(number, user)| account(number as u128, &address(user), "")));
    house.watch(means);
    std::thread::scope(|scope| {
        for (seed, user) in users.iter().enumerate() {
            let root = house.path(&format!("example.org/{user}/Maildir"));
            scope.spawn(move || churn(&root, seed as u64 + 1));
        }
    });
    users.iter().for_each(|user| house.agrees(&address(user)));
}

fn churn(root: &std::path::Path, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut roll = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % sides as u64) as usize
    };
    let mut folders = vec![root.to_owned()];
    for number in 0..2000 {
        let folder = folders[roll(folders.len())].clone();
        let any = |folder: &PathBuf| {
            let files =
                ["new", "cur"].into_iter().flat_map(|part| fs::read_dir(folder.join(part)).into_iter().flatten());
            files.flatten().next().map(|entry| entry.path())
        };
        match roll(16) {
            0..=6 => drop(deliver(&folder, &format!("{number}.M{seed}.host"), roll(900))),
            7..=9 => {
                if let Some(file) = any(&folder) {
                    let name = file.file_name().unwrap().to_str().unwrap().split(':').next().unwrap().to_owned();
                    let to = folders[roll(folders.len())].join("cur").join(format!("{name}:2,S"));
                    fs::rename(file, to).unwrap();
                }
            }
            10..=12 => drop(any(&folder).map(fs::remove_file)),
            13 if folders.len() < 6 => {
                let new = root.join(format!(".F{number}"));
                make(&new);
                folders.push(new);
            }
            14 if folders.len() > 1 => {
                let at = 1 + roll(folders.len() - 1);
                let to = root.join(format!(".R{number}"));
                fs::rename(&folders[at], &to).unwrap();
                folders[at] = to;
            }
            15 if folders.len() > 3 => fs::remove_dir_all(folders.swap_remove(1 + roll(folders.len() - 1))).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_the_cells_agree_in_the_end_by_fanotify() {
    all_at_once(Means::Fanotify);
}

#[test]
fn whatever_happens_the_cells_agree_in_the_end_by_inotify() {
    all_at_once(Means::Inotify);
}
