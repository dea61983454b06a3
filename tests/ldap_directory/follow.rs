//! Following a real slapd: what changes there changes here, and nothing is lost on the way.

use mailquotad::account::Status;

use crate::client::{Dice, admin, replace, together};
use crate::followed::{Followed, options};
use crate::slapd::{SUFFIX, Slapd, add, dn, set, user};

#[tokio::test(flavor = "multi_thread")]
async fn additions_changes_renames_and_deletions_arrive() {
    let slapd = Slapd::start();
    slapd.modify(&add(&user("ann", "mailQuota: 10M\nmailAlternateAddress: sales@example.org\n")));
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    assert_eq!(followed.limit("ann"), Some(10 << 20));
    assert!(followed.account("sales").is_none());
    assert!(followed.accounting.book.find("sales@example.org").is_some());

    slapd.modify(&set("ann", "mailQuota", "20M"));
    followed.until("the quota has changed", |f| f.limit("ann") == Some(20 << 20)).await;
    slapd.modify(&set("ann", "mailUserStatus", "hold"));
    followed.until("the status has changed", |f| f.status_of("ann") == Some(Status::Hold)).await;
    slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=anna\ndeleteoldrdn: 1\nnewsuperior: ou=Elsewhere,{SUFFIX}\n",
        dn("ann")
    ));
    let renamed = format!("uid=anna,ou=Elsewhere,{SUFFIX}");
    followed.until("the name has changed", |f| *f.account("ann").unwrap().lock().dn == *renamed).await;
    // It stays, and stops being an account.
    slapd.modify(&format!("dn: {renamed}\nchangetype: modify\ndelete: objectClass\nobjectClass: inetMailUser\n-\ndelete: mailQuota\n-\ndelete: mailUserStatus\n-\ndelete: mailAlternateAddress\n"));
    followed.until("it is no account", |f| f.account("ann").is_none()).await;
    slapd.modify(&add(&user("bob", "")));
    followed.until("it is new", |f| f.limit("bob") == Some(50 << 20)).await;
    slapd.modify(&format!("dn: {SUFFIX}\nchangetype: modify\nreplace: mailQuota\nmailQuota: 70M\n"));
    followed.until("the domain's default is in force", |f| f.limit("bob") == Some(70 << 20)).await;
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn("bob")));
    followed.until("it is gone", |f| f.account("bob").is_none()).await;
    followed.same_as(&slapd).await;
    followed.stop().await;
}

/// More changes than any queue on the way holds, and each of them counts.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_changes_while_streaming_all_arrive() {
    const USERS: u64 = 500;
    const CHANGES: u64 = 20_000;
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&(0..USERS).map(|n| user(&format!("u{n}"), "mailQuota: 1M\n")).collect::<String>());
    slapd.run();
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    let before = followed.accounting.metrics.directory_changes.get();
    let ldap = admin(&slapd).await;
    let mut dice = Dice(1);
    let change = |n: u64| {
        let (ldap, dn) = (ldap.clone(), dn(&format!("u{}", dice.roll(USERS))));
        async move { replace(&ldap, &dn, "mailQuota", &format!("{}K", n + 1)).await }
    };
    together((0..CHANGES).map(change)).await;
    followed.same_as(&slapd).await;
    followed
        .until("every change was heard", |f| f.accounting.metrics.directory_changes.get() - before >= CHANGES)
        .await;
    followed.stop().await;
}

/// What a restart needs is there, and the server sends no more than what changed since.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_where_it_was() {
    let mut slapd = Slapd::stopped();
    slapd.add_offline(&(0..1000).map(|n| user(&format!("u{n}"), "")).collect::<String>());
    slapd.run();
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    followed.kept().await;
    let ledger = followed.stop().await;

    // Missed meanwhile: one of each kind.
    slapd.modify(&set("u1", "mailQuota", "3M"));
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn("u2")));
    slapd.modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=v3\ndeleteoldrdn: 1\n", dn("u3")));
    slapd.modify(&add(&user("new", "")));
    let followed = Followed::start_with(options(&[&slapd]), ledger);
    assert!(followed.accounting.loaded(), "what is kept answers before the server does");
    assert_eq!(followed.accounting.book.accounts(), 1000);
    followed.same_as(&slapd).await;
    let changes = followed.accounting.metrics.directory_changes.get();
    // The domain came back from what is kept; the rest are the four changes.
    assert!(changes < 20, "{changes} changes were heard where 4 were made");
    followed.stop().await;
}

/// Servers without syncprov, and those that an admin wants to be polled.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_syncrepl_is_polled() {
    let mut slapd = Slapd::prepare("", "");
    slapd.add_offline(&crate::slapd::frame());
    slapd.add_offline(&(0..2500).map(|n| user(&format!("u{n}"), "")).collect::<String>());
    slapd.run();
    let mut options = options(&[&slapd]);
    options.poll_interval = std::time::Duration::from_millis(50);
    options.compare_interval = std::time::Duration::from_millis(500);
    let followed = Followed::start(options);
    followed.loaded().await;
    assert_eq!(followed.accounting.book.accounts(), 2500);
    slapd.modify(&set("u1", "mailQuota", "3M"));
    followed.until("the quota has changed", |f| f.limit("u1") == Some(3 << 20)).await;
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn("u2")));
    slapd.modify(&format!("dn: {}\nchangetype: modify\ndelete: objectClass\nobjectClass: inetMailUser\n", dn("u3")));
    slapd.modify(&format!("dn: {}\nchangetype: modrdn\nnewrdn: uid=v4\ndeleteoldrdn: 1\n", dn("u4")));
    followed.same_as(&slapd).await;
    assert_eq!(followed.accounting.book.accounts(), 2498);
    followed.stop().await;
}

/// Two bases are followed side by side, and what is gone below one leaves the other alone.
#[tokio::test(flavor = "multi_thread")]
async fn several_bases_are_one_directory() {
    let mut slapd = Slapd::stopped();
    let elsewhere = user("cid", "").replace("ou=People", "ou=Elsewhere");
    slapd.add_offline(&[user("ann", ""), user("bob", ""), elsewhere].concat());
    slapd.run();
    let mut two = options(&[&slapd]);
    two.bases = vec![format!("ou=People,{SUFFIX}"), format!("ou=Elsewhere,{SUFFIX}")];
    let followed = Followed::start(two.clone());
    followed.loaded().await;
    followed.same_as(&slapd).await;
    followed.kept().await;
    let ledger = followed.stop().await;
    // An empty session log: the server names what is left, base by base.
    slapd.stop("TERM");
    slapd.run();
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn("bob")));
    let followed = Followed::start_with(two, ledger);
    followed.same_as(&slapd).await;
    slapd
        .modify(&format!("dn: uid=cid,ou=Elsewhere,{SUFFIX}\nchangetype: modify\nreplace: mailQuota\nmailQuota: 4M\n"));
    followed.until("the second base is followed", |f| f.limit("cid") == Some(4 << 20)).await;
    slapd.modify(&set("ann", "mailQuota", "5M"));
    followed.until("the first base is followed", |f| f.limit("ann") == Some(5 << 20)).await;
    followed.stop().await;
}
