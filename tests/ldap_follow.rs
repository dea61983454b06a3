//! Following a real slapd: what changes there changes here, and nothing is lost on the way.

mod support {
    pub mod followed;
    pub mod slapd;
    pub mod wait;
}

use mailquotad::account::Status;
use support::followed::{Followed, options};
use support::slapd::{SUFFIX, Slapd, dn, frame, set, user};

#[tokio::test(flavor = "multi_thread")]
async fn additions_changes_renames_and_deletions_arrive() {
    let slapd = Slapd::start();
    slapd.modify(&user("ann", "mailQuota: 10M\nmailAlternateAddress: sales@example.org\n").replacen(
        '\n',
        "\nchangetype: add\n",
        1,
    ));
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
    slapd.modify(&user("bob", "").replacen('\n', "\nchangetype: add\n", 1));
    followed.until("it is new", |f| f.limit("bob") == Some(50 << 20)).await;
    slapd.modify(&format!("dn: {SUFFIX}\nchangetype: modify\nreplace: mailQuota\nmailQuota: 70M\n"));
    followed.until("the domain's default is in force", |f| f.limit("bob") == Some(70 << 20)).await;
    slapd.modify(&format!("dn: {}\nchangetype: delete\n", dn("bob")));
    followed.until("it is gone", |f| f.account("bob").is_none()).await;
    followed.same_as(&slapd).await;
    followed.stop().await;
}
