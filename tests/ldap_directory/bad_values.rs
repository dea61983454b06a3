//! Values that cannot be used: they are listed and counted, and the last good limits stay, over restarts too.

use mailquotad::directory::entry::EntryReader;
use mailquotad::directory::ldap::LdapOptions;

use crate::client::admin;
use crate::followed::{Followed, options};
use crate::slapd::{Slapd, add, dn, set, user};

/// `audio` takes several values, and any bytes at all: what no quota attribute of ours would let in.
fn loose(slapd: &Slapd) -> LdapOptions {
    let mut options = options(&[slapd]);
    options.reader.map.set("quota", ["audio"]).unwrap();
    options.reader = EntryReader { ..options.reader };
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_limits_stay_in_force() {
    let mut slapd = Slapd::prepare("", crate::slapd::SYNCPROV);
    // The shipped rules show the daemon no `audio`.
    let config = std::fs::read_to_string(slapd.path("slapd.conf")).unwrap();
    std::fs::write(slapd.path("slapd.conf"), config.replace(",uid,mail,", ",uid,mail,audio,")).unwrap();
    slapd.add_offline(&crate::slapd::frame());
    slapd.run();
    for uid in ["twice", "bytes", "words", "fine"] {
        slapd.modify(&add(&user(uid, "audio: 10M\n")));
    }
    let followed = Followed::start(loose(&slapd));
    followed.loaded().await;
    slapd.modify(&format!("dn: {}\nchangetype: modify\nreplace: audio\naudio: 10M\naudio: 20M\n", dn("twice")));
    slapd.modify(&format!("dn: {}\nchangetype: modify\nreplace: audio\naudio:: //79\n", dn("bytes")));
    slapd.modify(&set("words", "audio", "plenty"));
    followed.until("three are counted", |f| f.status.state().bad_count == 3).await;
    let problem = |f: &Followed, uid: &str| f.account(uid).unwrap().lock().problem().map(str::to_owned);
    let problems = |f: &Followed| {
        for uid in ["twice", "bytes", "words"] {
            assert_eq!(f.limit(uid), Some(10 << 20), "{uid}");
        }
        assert!(problem(f, "twice").unwrap().contains("2 values"));
        assert!(problem(f, "bytes").unwrap().contains("not UTF-8"));
        assert!(problem(f, "words").unwrap().contains("plenty"));
        assert_eq!(problem(f, "fine"), None);
    };
    problems(&followed);
    followed.kept().await;
    let ledger = followed.stop().await;
    slapd.stop("TERM");

    let followed = Followed::start_with(loose(&slapd), ledger);
    problems(&followed);
    assert_eq!(followed.status.state().bad_count, 3);
    slapd.run();
    slapd.modify(&set("words", "audio", "30M"));
    followed.until("a mended value is in force", |f| f.limit("words") == Some(30 << 20)).await;
    assert_eq!(followed.status.state().bad_count, 2);
    problem(&followed, "twice").unwrap();
    followed.stop().await;
}

/// An entry that is no account at all any more, for want of an address, keeps its last state too.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_is_listed_by_name() {
    let mut slapd = Slapd::start();
    slapd.modify(&add(&user("ann", "mailQuota: 10M\n")));
    let followed = Followed::start(options(&[&slapd]));
    followed.loaded().await;
    slapd.modify(&set("ann", "mail", "nonsense"));
    followed.until("it is listed", |f| f.status.state().bad.contains_key(&*dn("ann"))).await;
    assert_eq!(followed.limit("ann"), Some(10 << 20));
    followed.kept().await;
    let ledger = followed.stop().await;
    // The server restarts, and names it by its id alone.
    slapd.stop("TERM");
    slapd.run();
    let followed = Followed::start_with(options(&[&slapd]), ledger);
    slapd.modify(&add(&user("bob", "")));
    followed.until("the server is followed", |f| f.account("bob").is_some()).await;
    assert!(followed.status.state().bad.contains_key(&*dn("ann")));
    assert_eq!(followed.limit("ann"), Some(10 << 20));
    let ldap = admin(&slapd).await;
    crate::client::replace(&ldap, &dn("ann"), "mail", "ann@example.org").await;
    followed.until("it is mended", |f| f.status.state().bad_count == 0).await;
    followed.stop().await;
}
