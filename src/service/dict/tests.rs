//! Sessions as Dovecot holds them, byte for byte, with a keeper that writes down what it is asked.

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::service::conversation::Conversation;
use crate::service::socket::Peer;
use crate::wire::dict::Committed;
use crate::wire::dict::key::Key;

/// Holds 3244 bytes in 7 messages for everybody but `nobody`.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

impl Keeper for Noting {
    fn look_up(&self, user: &str, key: Key<'_>) -> Option<u64> {
        match key {
            Key::Storage if user != "nobody" => Some(3244),
            Key::Messages if user != "nobody" => Some(7),
            _ => None,
        }
    }

    fn commit(&self, user: &str, changes: &[Change], _: &Peer) -> Committed {
        let change = |Change { key, what }: &Change| match what {
            What::Set(value) => format!("{key}={value}"),
            What::Unset => format!("-{key}"),
            What::Increase(by) => format!("{key}{by:+}"),
            What::Append => format!("{key}~"),
        };
        let changes: Vec<_> = changes.iter().map(change).collect();
        self.0.lock().push(format!("{user}: {}", changes.join(" ")));
        match user {
            "nobody" => Committed::NotFound,
            "full" => Committed::Failed("a\tb".into()),
            _ => Committed::Done,
        }
    }
}

/// What is replied and committed, and why it ended.
fn session(bytes: &[u8], piece: usize) -> (String, Vec<String>, Option<Broken>) {
    let (keeper, peer) = (Noting::default(), Peer::Unix(None));
    let mut conversation = Conversation::new(Dialog::new(&keeper, &peer));
    let (mut rest, mut broken) = (bytes, None);
    while !rest.is_empty() && broken.is_none() {
        let space = conversation.space();
        let count = space.len().min(piece).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        conversation.received(count);
        broken = loop {
            match conversation.answer() {
                Ok(true) => {}
                Ok(false) => break None,
                Err(broken) => break Some(broken),
            }
        };
    }
    let replies = String::from_utf8(conversation.output().to_vec()).unwrap();
    (replies, keeper.0.into_inner(), broken)
}

fn sound(text: &str) -> (String, Vec<String>) {
    let (replies, committed, broken) = session(text.as_bytes(), usize::MAX);
    assert_eq!(broken, None);
    (replies, committed)
}

#[test]
fn quota_clone_and_notify_status_of_dovecot_2_3() {
    let (replies, committed) = sound(
        "H3\t2\t0\t\tclone\nB1\tu1\nS1\tpriv/quota/storage\t3244\nS1\tpriv/quota/messages\t7\nC1\n\
         B2\tu1\nS2\tpriv/status/INBOX\t{\"messages\":7}\nC2\nB3\tu1\nU3\tpriv/status/Foo\nR3\n",
    );
    assert_eq!(replies, "O1\nO2\n", "a rollback has no reply");
    assert_eq!(
        committed,
        ["u1: priv/quota/storage=3244 priv/quota/messages=7", "u1: priv/status/INBOX={\"messages\":7}"]
    );
}

#[test]
fn quota_dict_of_dovecot_2_3() {
    let (replies, committed) = sound(
        "H3\t2\t0\t\tquota\nLpriv/quota/storage\tu1\nLpriv/quota/messages\tu1\nLpriv/quota/storage\tnobody\n\
         B1\tnobody\nA1\tpriv/quota/storage\t3244\nA1\tpriv/quota/messages\t-1\nC1\nB2\tfull\nC2\n",
    );
    assert_eq!(replies, "O3244\nO7\nN\nN1\nF2\ta\u{1}tb\n");
    assert_eq!(committed, ["nobody: priv/quota/storage+3244 priv/quota/messages-1", "full: "]);
}

#[test]
fn the_user_of_major_2_stands_in_hello_and_major_4_brings_an_expiry() {
    let (replies, committed) = sound("H2\t2\t0\tu1\td\nLpriv/quota/storage\nB9\nU9\tk\nT9\t1\t2\nD9\n");
    assert_eq!((&*replies, &committed[..]), ("O3244\nAO9\n", &["u1: -k".to_owned()][..]));
    let (replies, committed) = sound("H4\t0\t0\t\tclone\nB1\tu1\t0\nV1\tyes\nS1\tk\tv\nC1\n");
    assert_eq!((&*replies, &committed[..]), ("O1\n", &["u1: k=v".to_owned()][..]));
}

#[test]
fn iterate_finds_what_lies_below_a_path() {
    let iterate = |command: &str| sound(&format!("H3\t2\t0\t\td\nI{command}\tu1\n")).0;
    let both = "Opriv/quota/storage\t3244\nOpriv/quota/messages\t7\n\n";
    assert_eq!(iterate("0\t0\tpriv/quota/"), both);
    assert_eq!(iterate("1\t0\tpriv/"), both, "recursive");
    assert_eq!(iterate("0\t0\tpriv/"), "\n", "not recursive");
    assert_eq!(iterate("0\t1\tpriv/quota/"), "Opriv/quota/storage\t3244\n\n");
    assert_eq!(iterate("24\t0\tpriv/quota/messages"), "Opriv/quota/messages\t\n\n", "this key, without the value");
    assert_eq!(iterate("0\t0\tpriv/quota/sto"), "\n");
}

#[test]
fn what_is_out_of_order_ends_the_connection_after_what_was_sound() {
    let hello = "H3\t2\t0\t\td\nLpriv/quota/storage\tu1\n";
    for (more, expected) in [
        ("H3\t2\t0\t\td\n", Broken::HelloAgain),
        ("C1\n", Broken::NotOpen(1)),
        ("S1\tk\tv\n", Broken::NotOpen(1)),
        ("B1\tu\nB1\tu\n", Broken::OpenAlready(1)),
        ("B1\tu\nC1\nC1\n", Broken::NotOpen(1)),
    ] {
        let (replies, _, broken) = session(format!("{hello}{more}").as_bytes(), usize::MAX);
        assert!(replies.starts_with("O3244\n"), "{more:?}: {replies:?}");
        assert_eq!(broken, Some(expected), "{more:?}");
    }
    assert_eq!(session(b"Lk\tu\n", 9).2, Some(Broken::NoHello));
    assert_eq!(session(b"H1\t2\t0\t\td\n", 9).2, Some(Broken::Version { major: 1 }));
    assert_eq!(session(b"H5\t0\t0\t\td\n", 9).2, Some(Broken::Version { major: 5 }));
}

#[test]
fn what_a_connection_may_hold_is_bounded() {
    let opens: String = (0..1001).map(|id| format!("B{id}\tu\n")).collect();
    assert_eq!(session(format!("H3\t2\t0\t\td\n{opens}").as_bytes(), usize::MAX).2, Some(Broken::TooMuch));
    let value = "x".repeat(60_000);
    let set = format!("S1\tk\t{value}\n");
    let much = format!("H3\t2\t0\t\td\nB1\tu\n{}", set.repeat(100));
    assert_eq!(session(much.as_bytes(), usize::MAX).2, Some(Broken::TooMuch));
    // What is committed no longer counts.
    let committed = format!("B1\tu\n{set}C1\n").repeat(100);
    assert_eq!(session(format!("H3\t2\t0\t\td\n{committed}").as_bytes(), usize::MAX).2, None);
}

proptest! {
    #[test]
    fn however_the_bytes_are_cut_up_they_mean_the_same(
        lines in proptest::collection::vec("[HLIBSUATCDRPVX][0-9]{1,2}(\t[a-z/0-9]{0,6}){0,4}", 0..30), piece in 1usize..40,
    ) {
        let text = format!("H3\t2\t0\t\td\n{}\n", lines.join("\n"));
        prop_assert_eq!(session(text.as_bytes(), piece), session(text.as_bytes(), usize::MAX));
    }
}
