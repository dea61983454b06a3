use super::*;

fn reader() -> EntryReader {
    EntryReader { template: vec!["mailMessageStore".into()], ..EntryReader::new(Preset::Sun) }
}

fn account(entry: &[(&str, &str)]) -> AccountEntry {
    let entry: Vec<_> = [("objectClass", "inetMailUser"), ("mail", "Ann@Example.org")].iter().chain(entry).collect();
    let entry: Vec<_> = entry.into_iter().copied().collect();
    match reader().read("uid=ann,dc=example,dc=org", None, &entry) {
        Ok(Some(Entry::Account(account))) => account,
        other => panic!("{other:?}"),
    }
}

fn boxed(texts: &[&str]) -> Vec<Box<str>> {
    texts.iter().map(|text| Box::from(*text)).collect()
}

#[test]
fn an_account_with_all_it_may_have() {
    let account = account(&[
        ("mailalternateaddress", "Sales@example.org"),
        ("mailEquivalentAddress", "a.lee@example.org"),
        ("mailEquivalentAddress", "ann@example.org"),
        ("mailForwardingAddress", "Bob@example.org"),
        ("MAILQUOTA", "2G;Archive%100M"),
        ("mailMsgQuota", ""),
        ("mailUserStatus", "OverQuota"),
        ("mailMessageStore", "/srv/one"),
        ("description", "nothing to us"),
    ]);
    assert_eq!(&*account.address, "ann@example.org");
    assert_eq!(account.alternates, boxed(&["sales@example.org", "a.lee@example.org"]));
    assert_eq!(account.forwards, boxed(&["bob@example.org"]));
    assert_eq!(account.quota, Ok(Some("2G;Archive%100M".into())));
    assert_eq!(account.messages, Ok(None));
    assert_eq!((account.inet_status, account.mail_status), (Status::Active, Status::OverQuota));
    assert_eq!(account.attributes.get("mailMessageStore").map(|value| &**value), Some("/srv/one"));
    assert_eq!(account.id, id_of_dn("UID=Ann, DC=example, DC=org"));
}

#[test]
fn further_addresses_of_mail_are_alternates() {
    let account = account(&[("mail", "a@example.org"), ("mailAlternateAddress", "A@example.org")]);
    assert_eq!(account.alternates, boxed(&["a@example.org"]));
}

#[test]
fn two_values_where_one_is_accepted() {
    let account =
        account(&[("mailQuota", "1G"), ("mailQuota", "2G"), ("mailUserStatus", "active"), ("mailUserStatus", "hold")]);
    assert_eq!(account.quota, Err("mailQuota has 2 values; accepted: one".into()));
    assert_eq!(account.mail_status, Status::Inactive);
}

#[test]
fn a_quota_that_is_not_utf8() {
    let entry: [(&str, &[u8]); 3] = [("objectClass", b"inetMailUser"), ("mail", b"a@b"), ("mailQuota", b"\xff")];
    let Ok(Some(Entry::Account(account))) = reader().read("uid=a", None, &entry) else { panic!() };
    assert_eq!(account.quota, Err("the value of mailQuota is not UTF-8".into()));
}

#[test]
fn a_user_without_a_usable_address_is_bad() {
    let why = |entry: &[(&str, &str)]| reader().read("uid=a", None, entry).unwrap_err().0;
    assert_eq!(why(&[("objectClass", "inetMailUser")]), "the account has no address: no value of mail");
    for address in ["ann", "@example.org", "ann@", "a n@example.org"] {
        let why = why(&[("objectClass", "inetMailUser"), ("mail", address)]);
        assert_eq!(why, format!("`{address}` in mail is no address; accepted: local@domain"));
    }
}

#[test]
fn an_address_longer_than_any_can_be() {
    let read = |local: usize| {
        let mail = format!("{}@example.org", "ü".repeat(local));
        reader().read("uid=ann", None, &[("objectClass", "inetMailUser"), ("mail", &mail)]).map(|entry| entry.is_some())
    };
    assert_eq!(read(154), Ok(true));
    let why = read(155).unwrap_err().0;
    assert_eq!(why, format!("`{}…` in mail has 322 bytes; accepted: 320", "ü".repeat(40)));
}

#[test]
fn a_domain_is_named_by_attribute_or_dn() {
    let name = |dn: &str, entry: &[(&str, &str)]| {
        let entry = [&[("objectClass", "mailDomain")], entry].concat();
        match reader().read(dn, None, &entry) {
            Ok(Some(Entry::Domain(domain))) => Ok(domain.name.into_string()),
            Err(BadEntry(why)) => Err(why),
            other => panic!("{other:?}"),
        }
    };
    let both = [("sunPreferredDomain", "b.org"), ("associatedDomain", "A.org.")];
    assert_eq!(name("o=x", &both), Ok("a.org".into()));
    assert_eq!(name("o=x", &both[..1]), Ok("b.org".into()));
    assert_eq!(name("dc=C,dc=org", &[]), Ok("c.org".into()));
    assert_eq!(
        name("o=x", &[]),
        Err("a domain without a name: none of associatedDomain, sunPreferredDomain, and no dc= in its dn".into())
    );
}

#[test]
fn a_domain_tells_its_own_limits_from_those_of_its_users() {
    let entry = [
        ("objectClass", "mailDomain"),
        ("mailQuota", "50M"),
        ("mailMsgQuota", "100"),
        ("mailDomainDiskQuota", "1G"),
        ("mailDomainMsgQuota", "2000"),
        ("mailDomainStatus", "hold"),
        ("inetDomainStatus", "nonsense"),
    ];
    let Ok(Some(Entry::Domain(domain))) = reader().read("dc=a", None, &entry) else { panic!() };
    let text = |text: &str| Ok(Some(text.into()));
    assert_eq!((domain.quota, domain.messages), (text("1G"), text("2000")));
    assert_eq!((domain.user_quota, domain.user_messages), (text("50M"), text("100")));
    assert_eq!((domain.mail_status, domain.inet_status), (Status::Hold, Status::Inactive));
}

#[test]
fn groups_have_members_of_both_kinds() {
    let entry = [
        ("objectClass", "groupOfUniqueNames"),
        ("mail", "staff@example.org"),
        ("mgrpRFC822MailMember", "Gina@example.net"),
        ("member", "uid=ann"),
        ("uniqueMember", "uid=bob#'01'B"),
    ];
    let Ok(Some(Entry::Group(group))) = reader().read("cn=staff", None, &entry) else { panic!() };
    let members =
        [Member::Address("gina@example.net".into()), Member::Dn("uid=ann".into()), Member::Dn("uid=bob".into())];
    assert_eq!(group.members, members);
    // A group that gets no mail is none of ours, and nothing is wrong with it.
    assert_eq!(reader().read("cn=staff", None, &entry[..1]), Ok(None));
    assert_eq!(reader().read("cn=x", None, &[("objectClass", "device"), ("mail", "x@y")]), Ok(None));
}

#[test]
fn presets_and_own_names() {
    let entry = [("objectClass", "qmailUser"), ("mail", "a@b"), ("mailQuotaSize", "1000"), ("mailQuotaCount", "5")];
    let Ok(Some(Entry::Account(account))) = EntryReader::new(Preset::QmailLdap).read("uid=a", None, &entry) else {
        panic!()
    };
    assert_eq!((account.quota, account.messages), (Ok(Some("1000".into())), Ok(Some("5".into()))));

    let mut bytes = EntryReader::new(Preset::QuotaBytes);
    let entry =
        [("objectClass", "inetOrgPerson"), ("mail", "a@b"), ("quotaBytes", "7"), ("mailMsgQuota", "5"), ("box", "1")];
    let Ok(Some(Entry::Account(account))) = bytes.read("uid=a", None, &entry) else { panic!() };
    assert_eq!((account.quota, account.messages), (Ok(Some("7".into())), Ok(None)));
    assert_eq!(bytes.attribute(Writable::Messages), None);

    bytes.map.set("quota", ["box", "quotaBytes"]).unwrap();
    let Ok(Some(Entry::Account(account))) = bytes.read("uid=a", None, &entry) else { panic!() };
    assert_eq!(account.quota, Ok(Some("1".into())));
    assert_eq!(bytes.attribute(Writable::Quota), Some("box"));
    let error = bytes.map.set("qouta", ["x"]).unwrap_err().to_string();
    assert!(error.starts_with("`qouta` is no meaning of an attribute; accepted: id, mail, "), "{error}");
}

#[test]
fn every_meaning_has_a_key_of_its_own() {
    let keys: std::collections::BTreeSet<_> = Meaning::keys().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), Meaning::keys().count());
    for key in keys {
        AttributeMap::new(Preset::Sun).set(key, ["x"]).unwrap();
    }
    assert_eq!(Preset::named("qmail-ldap"), Some(Preset::QmailLdap));
}

#[test]
fn asks_for_what_it_reads_and_for_the_template() {
    let requested = reader().requested();
    for name in ["entryUUID", "mail", "mailQuota", "objectClass", "mailMessageStore", "mailDomainStatus"] {
        assert_eq!(requested.iter().filter(|known| known.eq_ignore_ascii_case(name)).count(), 1, "{name}");
    }
    let filter = reader().search_filter();
    assert!(filter.matches(&[("objectClass", "mailDomain")]) && filter.matches(&[("objectClass", "groupOfNames")]));
}

#[test]
fn the_uuid_identifies_an_entry_before_its_dn_does() {
    let uuid = "ccc77c38-d784-4f1c-b1a9-8623bb6b97f4";
    let id = EntryId(0xccc77c38_d784_4f1c_b1a9_8623bb6b97f4);
    assert_eq!(reader().id("uid=a", &[("entryUUID", uuid)]), id);
    assert_eq!(reader().id("uid=a", &[("entryUUID", "nonsense")]), id_of_dn("uid=a"));
}

/// The ledger keeps these ids: whatever changes here orphans every record of an LDIF site.
#[test]
fn ids_of_dns_never_change() {
    assert_eq!(id_of_dn(""), EntryId(0x6c62272e07bb014262b821756295c58d));
    assert_eq!(id_of_dn("UID=ann,DC=Example , DC=org"), id_of_dn("uid=ann,dc=example,dc=org"));
}

#[test]
fn statuses_compare_in_any_case_and_absent_is_active() {
    use Writable::{Quota, UserStatus};
    assert!(same_value(UserStatus, None, Some("Active")));
    assert!(same_value(UserStatus, Some("OVERQUOTA"), Some("overquota")));
    assert!(!same_value(UserStatus, None, Some("overquota")));
    assert!(!same_value(Quota, Some("1G;Archive%1M"), Some("1G;archive%1M")));
    assert!(!same_value(Quota, None, Some("")));
}
