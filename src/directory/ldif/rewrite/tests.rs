use super::*;

/// A file read at a stamp, and a rewrite of it beside it, ready to take its place.
struct Ready {
    _folder: tempfile::TempDir,
    file: PathBuf,
    new: PathBuf,
    read: Stamp,
    written: Stamp,
}

fn ready() -> Ready {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("org.ldif");
    fs::write(&file, "read").unwrap();
    let (new, read) = (beside(&file), Stamp::of(&file).unwrap());
    let written = write_synced(&new, &file, b"rewritten").unwrap();
    Ready { _folder: folder, file, new, read, written }
}

impl Ready {
    fn swap(&self) -> rustix::io::Result<()> {
        renameat_with(CWD, &self.new, CWD, &self.file, RenameFlags::EXCHANGE)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    /// As an editor saves, by another file that takes the name.
    fn save(&self, text: &str) {
        let saved = self.file.with_extension("saved");
        fs::write(&saved, text).unwrap();
        fs::rename(saved, &self.file).unwrap();
    }
}

#[test]
fn takes_the_place_of_what_was_read() {
    let ready = ready();
    assert!(exchange(&ready.new, &ready.file, ready.read, ready.written, || ready.swap()).unwrap());
    assert_eq!(ready.text(), "rewritten");
    assert!(!ready.new.exists());
}

#[test]
fn what_was_saved_before_the_exchange_stays() {
    let ready = ready();
    ready.save("the admin's");
    assert!(!exchange(&ready.new, &ready.file, ready.read, ready.written, || ready.swap()).unwrap());
    assert_eq!(ready.text(), "the admin's");
}

#[test]
fn what_was_edited_in_place_stays() {
    let ready = ready();
    fs::write(&ready.file, "the admin's").unwrap();
    assert!(!exchange(&ready.new, &ready.file, ready.read, ready.written, || ready.swap()).unwrap());
    assert_eq!(ready.text(), "the admin's");
}

/// The admin saves again, each time just before the names change back.
#[test]
fn the_newest_of_several_saves_stays() {
    for saves in 1..6 {
        let ready = ready();
        let mut swaps = 0;
        let swap = || {
            if swaps < saves {
                ready.save(&format!("save {swaps}"));
            }
            swaps += 1;
            ready.swap()
        };
        assert!(!exchange(&ready.new, &ready.file, ready.read, ready.written, swap).unwrap());
        assert_eq!(ready.text(), format!("save {}", saves - 1));
    }
}

#[test]
fn a_system_without_exchange_gets_a_plain_rename() {
    let ready = ready();
    let swap = || Err(rustix::io::Errno::INVAL);
    assert!(exchange(&ready.new, &ready.file, ready.read, ready.written, swap).unwrap());
    assert_eq!(ready.text(), "rewritten");
}

#[test]
fn a_change_since_the_reading_is_noticed_and_nothing_is_left_behind() {
    let ready = ready();
    fs::write(&ready.file, "the admin's").unwrap();
    assert!(replace(&ready.file, ready.read, b"rewritten").unwrap().is_none());
    assert_eq!(ready.text(), "the admin's");
    assert!(!ready.new.exists());
}
