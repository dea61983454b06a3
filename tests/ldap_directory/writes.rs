//! Writing: compare and set, beside admins who write too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mailquotad::account::{Status, Writable};
use mailquotad::directory::ldap::LdapDirectory;
use mailquotad::directory::{Directory, DirectoryError, Wish, Written};
use mailquotad::quota::{CellKey, Delta};

use mailquotad::ledger::Shelf;

use crate::client::{Dice, admin, swap, together};
use crate::followed::{Followed, expected, options};
use crate::slapd::{ADMIN, PASSWORD, SUFFIX, SYNCPROV, Slapd, dn, frame, user};

const STATUS: &str = "mailUserStatus";

fn wish(uid: &str, from: Option<&str>, to: &str) -> Wish {
    Wish { dn: dn(uid).into(), attribute: Writable::UserStatus, from: from.map(Into::into), to: Some(to.into()) }
}

async fn fill(followed: &Followed, uid: &str, bytes: i64) {
    let account = followed.account(uid).unwrap();
    let delta = (CellKey::new("INBOX", None), Delta { bytes, messages: bytes.signum() });
    followed.accounting.change(&account, vec![delta], None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_an_attribute_is_compared() {
    let mut slapd = Slapd::stopped();
    let users =
        [user("absent", ""), user("active", "mailUserStatus: Active\n"), user("held", "mailUserStatus: hold\n")];
    slapd.add_offline(&users.concat());
    slapd.run();
    let directory = LdapDirectory::new(options(&[&slapd]));
    let write = async |wish: Wish| directory.write(&wish).await.unwrap();
    assert_eq!(directory.read(&dn("active"), Writable::UserStatus).await.unwrap().as_deref(), Some("Active"));
    assert_eq!(directory.read(&dn("absent"), Writable::UserStatus).await.unwrap(), None);
    // An absent status is active, whichever way it is put.
    assert_eq!(write(wish("absent", Some("active"), "overquota")).await, Written::Done);
    assert_eq!(write(wish("absent", Some("active"), "overquota")).await, Written::Done, "done before a crash");
    assert_eq!(write(wish("absent", Some("overquota"), "active")).await, Written::Done);
    assert_eq!(write(wish("active", None, "overquota")).await, Written::Done);
    let found = Some("hold".into());
    assert_eq!(write(wish("held", Some("active"), "overquota")).await, Written::Overruled { found: found.clone() });
    assert_eq!(write(wish("held", None, "overquota")).await, Written::Overruled { found });
    assert_eq!(write(wish("nobody", None, "overquota")).await, Written::NoEntry);
    let quota =
        Wish { attribute: Writable::Quota, from: None, to: Some("2G;Archive%1G".into()), ..wish("held", None, "") };
    assert_eq!(write(quota.clone()).await, Written::Done);
    let clear = Wish { from: quota.to.clone(), to: None, ..quota };
    assert_eq!(write(clear).await, Written::Done);
    assert_eq!(directory.read(&dn("held"), Writable::Quota).await.unwrap(), None);
}

/// A schema that lets an attribute have several values cannot stop two writers; the assertion does.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_from_an_absent_value_are_one_too_many() {
    let slapd = {
        let mut slapd = Slapd::prepare("", SYNCPROV);
        let config = std::fs::read_to_string(slapd.path("slapd.conf")).unwrap();
        let config = config.replace("attrs=mailUserStatus,", "attrs=description,mailUserStatus,");
        std::fs::write(slapd.path("slapd.conf"), config).unwrap();
        slapd.add_offline(&frame());
        slapd.add_offline(&(0..200).map(|n| user(&format!("u{n}"), "")).collect::<String>());
        slapd.run();
        slapd
    };
    let mut options = options(&[&slapd]);
    options.reader.map.set("user_status", ["description"]).unwrap();
    let directory = Arc::new(LdapDirectory::new(options));
    let ldap = admin(&slapd).await;
    let both = (0..200).map(|n| {
        let (directory, ldap) = (directory.clone(), ldap.clone());
        async move {
            let (uid, dn) = (format!("u{n}"), dn(&format!("u{n}")));
            let ours = wish(&uid, None, "overquota");
            let (written, _) = tokio::join!(directory.write(&ours), async {
                let assert = ldap3::controls::Assertion::new("(!(description=*))");
                let mut ldap = ldap.clone();
                ldap.with_controls(assert);
                let add = ldap3::Mod::Add("description", ["hold"].into());
                ldap.modify(&dn, vec![add]).await.unwrap()
            });
            let now = directory.read(&dn, Writable::UserStatus).await.expect("one value");
            match written.unwrap() {
                Written::Done => assert_eq!(now.as_deref(), Some("overquota")),
                Written::Overruled { found } => {
                    assert_eq!((found, now.as_deref()), (Some("hold".into()), Some("hold")))
                }
                Written::NoEntry => panic!("it is there"),
            }
        }
    });
    together(both).await;
}

/// The second client replaces each of its own values by naming it, so that one which anybody had
/// overwritten in between shows in the very next round.
#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_an_admin_is_ever_overwritten() {
    const USERS: usize = 1000;
    const ROUNDS: u64 = 100;
    let mut slapd = Slapd::stopped();
    let entries = (0..USERS).map(|n| user(&format!("u{n}"), "mailQuota: 1M\nmailUserStatus: active\n"));
    slapd.add_offline(&entries.collect::<String>());
    slapd.run();
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    for n in (0..USERS).step_by(2) {
        fill(&followed, &format!("u{n}"), 2 << 20).await;
    }
    let ldap = admin(&slapd).await;
    let mut dice = Dice(7);
    let mut values = vec!["active"; USERS];
    let overwritten = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let next: Vec<_> =
            values.iter().map(|_| ["inactive", "hold", "deleted", "active"][dice.roll(4) as usize]).collect();
        let changes = (0..USERS).map(|n| {
            let (ldap, overwritten, from, to) = (ldap.clone(), overwritten.clone(), values[n], next[n]);
            async move {
                if !change(&ldap, &dn(&format!("u{n}")), from, to).await {
                    overwritten.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        together(changes).await;
        values = next;
        // Mailboxes fill up and are emptied all the while.
        for _ in 0..50 {
            let uid = format!("u{}", dice.roll(USERS as u64));
            let full = followed.account(&uid).unwrap().lock().total().bytes > 0;
            fill(&followed, &uid, if full { -(2 << 20) } else { 2 << 20 }).await;
        }
        assert_eq!(overwritten.load(Ordering::Relaxed), 0, "in round {round}");
    }
    let written = followed.accounting.metrics.render();
    let count = |result: &str| {
        let line = format!("mailquotad_status_writes_total{{result=\"{result}\"}} ");
        written.lines().find_map(|found| found.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or_default()
    };
    println!("{} statuses written meanwhile, {} left alone", count("done"), count("overruled"));
    assert!(count("done") > 100 && count("overruled") > 0, "nobody got in anybody's way");

    // In the end every status is as the admin left it, or as the mailbox is.
    let as_wanted = |slapd: &Slapd| {
        let lines = expected(slapd);
        (0..USERS).all(|n| {
            let full = followed.account(&format!("u{n}")).unwrap().lock().total().bytes > 0;
            let wanted = match values[n] {
                "active" if full => Status::OverQuota,
                value => Status::read(value),
            };
            lines[&format!("u{n}@example.org")].2 == wanted
        })
    };
    followed.until("every status is right", |_| as_wanted(&slapd)).await;
    followed.same_as(&slapd).await;
    followed.stop().await;
}

/// The admin's change; false if the value that he had set is no longer there. What he left active may be
/// active or overquota by now, and change under his hands.
async fn change(ldap: &ldap3::Ldap, dn: &str, from: &str, to: &str) -> bool {
    let candidates: &[&str] = if from == "active" { &["active", "overquota"] } else { &[from] };
    let tries = if from == "active" { 100 } else { 1 };
    for from in candidates.iter().cycle().take(tries) {
        if swap(ldap, dn, STATUS, Some(from), to).await.rc == 0 {
            return true;
        }
    }
    false
}

/// Full and emptied again, with the server away at times: the status follows, and nothing stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn wishes_outlive_an_outage() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&[user("ann", "mailQuota: 1M\n"), user("bob", "mailQuota: 1M\n")].concat());
    slapd.run();
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    slapd.stop("KILL");
    fill(&followed, "ann", 2 << 20).await;
    fill(&followed, "bob", 2 << 20).await;
    fill(&followed, "bob", -(2 << 20)).await;
    slapd.run();
    let says = |uid: &str, status| expected(&slapd)[&format!("{uid}@example.org")].2 == status;
    followed.until("it is written", |_| says("ann", Status::OverQuota)).await;
    assert!(says("bob", Status::Active));
    // Renamed while its status is being written.
    slapd.modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=anna\ndeleteoldrdn: 1\n", dn("ann")));
    fill(&followed, "ann", -(2 << 20)).await;
    followed.until("it is taken back", |_| says("ann", Status::Active)).await;
    followed.same_as(&slapd).await;
    let left = || {
        let mut left = 0;
        followed.ledger.shelf_all(Shelf::Outbox, &mut |_, _| left += 1).unwrap();
        left
    };
    followed.until("the outbox is empty", |_| left() == 0).await;
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_names_the_one_that_does() {
    let mut provider = Slapd::stopped();
    provider.add_offline(&user("ann", "mailUserStatus: active\n"));
    provider.run();
    let consumer = format!(
        "syncrepl rid=1 provider={url} type=refreshAndPersist retry=\"1 +\" searchbase=\"{SUFFIX}\" bindmethod=simple \
         binddn=\"{ADMIN}\" credentials={PASSWORD}\nupdateref {url}\n{SYNCPROV}",
        url = provider.url()
    );
    let mut replica = Slapd::prepare("", &consumer);
    replica.run();
    let followed = Followed::start(options(&[&replica]));
    followed.until("the replica has it all", |f| f.account("ann").is_some()).await;

    let alone = LdapDirectory::new(options(&[&replica]));
    let refused = alone.write(&wish("ann", Some("active"), "overquota")).await.unwrap_err();
    let DirectoryError::Refused(why) = &refused else { panic!("{refused:?}") };
    assert!(why.contains(&provider.url()) && why.contains("add that to directory.urls"), "{why}");

    let both = LdapDirectory::new(options(&[&replica, &provider]));
    assert_eq!(both.write(&wish("ann", Some("active"), "overquota")).await.unwrap(), Written::Done);
    followed.until("it comes back by the replica", |f| f.status_of("ann") == Some(Status::OverQuota)).await;
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&user("ann", "mailUserStatus: active\n"));
    slapd.run();
    // The rules leave the mail address alone.
    let mut options = options(&[&slapd]);
    options.reader.map.set("user_status", ["mail"]).unwrap();
    let directory = LdapDirectory::new(options);
    let address = Wish { from: Some("ann@example.org".into()), ..wish("ann", None, "mine@example.org") };
    let refused = directory.write(&address).await.unwrap_err();
    assert!(
        matches!(&refused, DirectoryError::Refused(why) if why.contains("insufficientAccessRights")),
        "{refused:?}"
    );
    slapd.stop("KILL");
    let away = directory.write(&address).await.unwrap_err();
    assert!(matches!(away, DirectoryError::Away(_)), "{away:?}");
}
