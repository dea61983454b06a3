//! Servers that die, hang, forget and go back in time. Answers go on from what is known, and afterwards the
//! view is the directory's, entry by entry.

use std::time::Duration;

use crate::followed::{Followed, options};
use crate::slapd::{SUFFIX, SYNCPROV, Slapd, add, dn, set, user};

fn with_users(count: u32) -> Slapd {
    let slapd = Slapd::stopped();
    slapd.add_offline(&(0..count).map(|n| user(&format!("u{n}"), "mailQuota: 1M\n")).collect::<String>());
    slapd
}

/// A server with so many users, and who follows it and has read them.
async fn followed(users: u32) -> (Slapd, Followed) {
    let mut slapd = with_users(users);
    slapd.run();
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    (slapd, followed)
}

/// One change of each kind, told apart by `n`, which counts from 0.
fn change_some(slapd: &Slapd, n: u32) {
    slapd.modify(&set(&format!("u{}", 10 * n), "mailQuota", &format!("{}M", n + 2)));
    slapd.modify(&set(&format!("u{}", 10 * n), "mailUserStatus", "inactive"));
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn(&format!("u{}", 10 * n + 1))));
    let renamed = dn(&format!("u{}", 10 * n + 2));
    slapd.modify(&format!("dn: {renamed}\nchangetype: modrdn\nnewrdn: uid=r{n}\ndeleteoldrdn: 1\n"));
    slapd.modify(&add(&user(&format!("n{n}"), "mailQuota: 9M\n")));
    let unmatched = dn(&format!("u{}", 10 * n + 3));
    let class = "delete: objectClass\nobjectClass: inetMailUser\n-\ndelete: mailQuota\n";
    slapd.modify(&format!("dn: {unmatched}\nchangetype: modify\n{class}"));
}

/// The same on a server that is stopped, and stays so: where nobody follows it, at another port.
fn change_some_unseen(slapd: &mut Slapd, n: u32) {
    let port = slapd.port;
    slapd.move_to_a_free_port();
    slapd.run();
    change_some(slapd, n);
    slapd.stop("TERM");
    slapd.port = port;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_changed_and_restarted_with_an_empty_session_log() {
    let (mut slapd, followed) = followed(600).await;
    for round in 0..3 {
        change_some(&slapd, 2 * round);
        slapd.stop("KILL");
        followed.until("the loss is noticed", |f| f.status.state().lost.is_some()).await;
        assert!(followed.accounting.book.accounts() >= 595, "what is known stays in force");
        change_some_unseen(&mut slapd, 2 * round + 1);
        slapd.run();
        followed.same_as(&slapd).await;
    }
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_from_an_older_backup() {
    let (mut slapd, followed) = followed(300).await;
    change_some(&slapd, 0);
    followed.same_as(&slapd).await;
    for round in 1..=2 {
        let backup = slapd.backup();
        change_some(&slapd, 2 * round);
        followed.same_as(&slapd).await;
        slapd.stop("TERM");
        slapd.restore(&backup);
        if round == 2 {
            // It has moved on since, so that the cookie looks as good as any.
            change_some_unseen(&mut slapd, 2 * round + 1);
        }
        slapd.run();
        followed.same_as(&slapd).await;
    }
    followed.stop().await;
}

/// It accepts connections, and says nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_left_for_the_next_one() {
    let mut first = with_users(50);
    first.run();
    let mut second = Slapd::prepare("", SYNCPROV);
    second.add_offline(std::str::from_utf8(&first.backup()).unwrap());
    second.run();
    let mut options = options(&[&first, &second]);
    options.timeout = Duration::from_millis(500);
    let followed = Followed::start(options);
    followed.loaded().await;
    first.signal("STOP");
    followed.until("the loss is noticed", |f| f.status.state().lost.is_some()).await;
    followed.until("the other server is used", |f| f.status.state().lost.is_none()).await;
    second.modify(&set("u7", "mailQuota", "7M"));
    followed.until("its changes arrive", |f| f.limit("u7") == Some(7 << 20)).await;
    first.signal("CONT");
    // The second one goes, and the first is as it was.
    second.stop("KILL");
    followed.same_as(&first).await;
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_the_server_answers_from_what_is_kept() {
    let (mut slapd, followed) = followed(700).await;
    change_some(&slapd, 0);
    followed.same_as(&slapd).await;
    followed.kept().await;
    let expected = followed.view();
    let ledger = followed.stop().await;
    slapd.stop("KILL");

    let followed = Followed::start_with(options(&[&slapd]), ledger);
    assert!(followed.accounting.loaded());
    assert_eq!(followed.view(), expected);
    assert_eq!(followed.limit("u4"), Some(1 << 20));
    let state = followed.status.state();
    assert!(state.current_at.is_some() && state.lost.is_some(), "{state:?}");
    slapd.run();
    change_some(&slapd, 1);
    followed.same_as(&slapd).await;
    followed.stop().await;
}

/// Asking for other things is another directory: what is kept answers, and all is read again.
#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_reads_everything_again() {
    let (slapd, followed) = followed(20).await;
    followed.kept().await;
    let ledger = followed.stop().await;
    let mut other = options(&[&slapd]);
    other.bases = vec![format!("ou=Elsewhere,{SUFFIX}")];
    let followed = Followed::start_with(other, ledger);
    followed.until("what is elsewhere is all there is", |f| f.accounting.book.accounts() == 0).await;
    followed.stop().await;
}
