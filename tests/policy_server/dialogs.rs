//! Every file of `tests/dialogs`, over both kinds of socket.

use std::path::Path;

use super::dialog::play;
use super::server::{Accounts, ROOMY, Server, UNHURRIED};
use mailquotad::wire::endpoint::Endpoint;

fn play_all(at: &Endpoint) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let server = Server::at(at, Accounts, UNHURRIED, ROOMY);
    let errors: Vec<String> = files.iter().filter_map(|file| play(file, &server.at).err()).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    server.stop();
}

#[test]
fn the_dialogs_over_tcp() {
    play_all(&"127.0.0.1:0".parse().unwrap());
}

#[test]
fn the_dialogs_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    play_all(&Endpoint::Unix(folder.path().join("policy.sock")));
}

#[test]
fn a_dialog_that_goes_wrong_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.txt");
    let server = Server::start(Accounts, UNHURRIED, ROOMY);
    let said = |text: &str| {
        std::fs::write(&file, text).unwrap();
        play(&file, &server.at).unwrap_err()
    };
    let full = "-> request=smtpd_access_policy\n-> protocol_state=RCPT\n-> recipient=full@example.org\n->\n";
    let other = said(&format!("{full}<- action=DUNNO\n"));
    assert!(other.ends_with("wrong.txt:5: expected `action=DUNNO`, heard `action=452 4.2.2 Mailbox full`"), "{other}");
    let more = said(&format!("{full}<- action=452 ...\n"));
    assert!(more.ends_with("at the end: expected nothing more, heard `\\n`"), "{more}");
    let closed = said("-> garbage\n<- action=DUNNO\n");
    assert!(closed.contains("hung up"), "{closed}");
    assert!(said(full).ends_with("cannot fail"));
    assert!(said("=> request\n").contains("no step"));
    server.stop();
}
