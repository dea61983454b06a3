//! A program for a script service of Dovecot's that writes down what it is given, and a call with every kind of word.
#![allow(dead_code, reason = "each test uses another part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailquotad::alarm::{Alarm, Alarms, Outside};

use super::wait::until;

/// An empty line ends a call, so an empty word has a form of its own, and so have those that would break a line.
const WORDS: [&str; 9] = ["", "95", "", "", "anna@example.org", "a b", "tab\t, line\r\n, mark\u{1}1", "\u{e4}", ""];

pub struct Script(PathBuf);

impl Script {
    /// Puts it into `folder/script`, which is `nobody`'s, as `run`.
    pub fn put(folder: &Path) -> Script {
        let folder = folder.join("script");
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(65534), Some(65534)).unwrap();
        // All of it is there, or nothing.
        let text = "#!/bin/sh\nhere=${0%/*}\nprintf '<%s>' \"$@\" >\"$here/new\" && mv \"$here/new\" \"$here/said\"\n";
        fs::write(folder.join("run"), text).unwrap();
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        Script(folder)
    }

    /// What it has been given, each word in angle brackets.
    pub fn said(&self) -> String {
        until("Dovecot's script has run", || self.0.join("said").exists());
        fs::read_to_string(self.0.join("said")).unwrap()
    }

    /// Calls the service at that socket, and looks whether what was said arrives.
    pub async fn try_every_word(&self, socket: &Path) {
        let alarm = Alarm::Script { socket: socket.to_owned(), arguments: WORDS.map(str::to_owned).to_vec() };
        Outside::new(Duration::from_secs(30), None).raise(&alarm).await.unwrap();
        assert_eq!(self.said(), WORDS.map(|word| format!("<{word}>")).concat());
    }
}
