use super::*;
use proptest::prelude::*;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn expand(text: &str, address: &str, home: &str) -> Result<String, ExpandError> {
    let home = home.to_owned();
    template(text).expand(address, |name| name.eq_ignore_ascii_case("home").then_some(home.as_str()))
}

#[test]
fn paths() {
    for (text, path) in [
        ("/var/mail/%d/%n/Maildir", "/var/mail/example.org/ann/Maildir"),
        ("/var/mail/%u", "/var/mail/ann@example.org"),
        ("/srv/100%%/%n", "/srv/100%/ann"),
        ("/srv/mail-%d-%n", "/srv/mail-example.org-ann"),
        ("%{home}", "/home/ann"),
        ("%{Home}/Maildir", "/home/ann/Maildir"),
    ] {
        assert_eq!(expand(text, "ann@example.org", "/home/ann").as_deref(), Ok(path), "{text}");
    }
}

#[test]
fn templates_that_are_refused() {
    for (text, at, fault) in [
        ("", 1, TemplateFault::Empty),
        ("Maildir/%n", 1, TemplateFault::Relative),
        ("%n/Maildir", 1, TemplateFault::Relative),
        ("%{home}Maildir", 1, TemplateFault::Relative),
        ("/é/%x", 4, TemplateFault::Unknown('x')),
        ("/var/%", 6, TemplateFault::Dangling),
        ("/var/%{home", 6, TemplateFault::Unclosed),
        ("/var/%{}", 6, TemplateFault::AttributeName(String::new())),
        ("/var/%{a b}", 6, TemplateFault::AttributeName("a b".into())),
        ("/var/\n", 6, TemplateFault::Control),
        ("/var/../%n", 6, TemplateFault::Parent),
    ] {
        let error = text.parse::<Template>().unwrap_err();
        assert_eq!((error.character(), &error.fault), (at, &fault), "{text}: {error}");
    }
}

#[test]
fn values_that_would_leave_the_tree_are_refused() {
    for (text, address, home, fault) in [
        ("/m/%d/%n", "../ann@example.org", "", ValueFault::Slash),
        ("/m/%d/%n", "..@example.org", "", ValueFault::Dots),
        ("/m/%n/%d", "ann@..", "", ValueFault::Dots),
        ("/m/%n.", ".@x", "", ValueFault::Dots),
        ("/m/.%n", ".@x", "", ValueFault::Dots),
        ("/m/%n%{home}", ".@x", ".", ValueFault::Dots),
        ("/m/%n", "an\0n@x", "", ValueFault::Control),
        ("/m/%{home}", "ann@x", "/etc", ValueFault::Slash),
        ("%{home}", "ann@x", "mail/ann", ValueFault::Relative),
        ("%{home}/Maildir", "ann@x", "/home/../root", ValueFault::Dots),
    ] {
        match expand(text, address, home) {
            Err(ExpandError::Refused { fault: found, .. }) => assert_eq!(found, fault, "{text} {address} {home}"),
            other => panic!("{text} {address} {home}: {other:?}"),
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let error = template("%{home}/Maildir").expand("ann@x", |_| None).unwrap_err();
    assert_eq!(error.to_string(), "ann@x has no home, which %{home}/Maildir needs");
    assert!(matches!(template("/m/%d").expand("ann", |_| None), Err(ExpandError::Missing { .. })));
    assert!(matches!(expand("/m/%{home}", "ann@x", ""), Err(ExpandError::Missing { .. })));
}

#[test]
fn what_every_mailbox_lies_below() {
    assert_eq!(template("/var/mail/%d/%n").fixed_prefix(), Some("/var/mail"));
    assert_eq!(template("/var/mail/x%d").fixed_prefix(), Some("/var/mail"));
    assert_eq!(template("/%u").fixed_prefix(), Some("/"));
    assert_eq!(template("%{home}/Maildir").fixed_prefix(), None);
    assert_eq!(template("/%{a}/%{b}").attributes().collect::<Vec<_>>(), ["a", "b"]);
}

proptest! {
    #[test]
    fn a_printed_template_parses_to_itself(text in r"(/|%\{[a-z]{1,3}\})([a-z/.]|%u|%n|%d|%%|%\{[a-z]{1,2}\}){0,8}") {
        if let Ok(template) = text.parse::<Template>() {
            prop_assert_eq!(&template.to_string(), &text);
            prop_assert_eq!(template.to_string().parse::<Template>(), Ok(template));
        }
    }

    #[test]
    fn no_value_leaves_the_tree(
        tail in r"([a./]|%n|%d|%u|%\{x\}){0,6}", address in r"[./a]{0,3}(@[./a]{0,3})?", x in "[./a\0]{0,3}"
    ) {
        let Ok(template) = format!("/m/{tail}").parse::<Template>() else { return Ok(()) };
        if let Ok(path) = template.expand(&address, |_| Some(&x)) {
            prop_assert!(path.starts_with("/m/") && !path.contains('\0'));
            prop_assert!(path.split('/').all(|component| component != ".."), "{}", path);
        }
    }
}

#[test]
fn names_are_freer_than_paths() {
    let filled = |template: &str| {
        let attributes = [("uid", "anna/.."), ("odd", "a\nb")];
        let attribute = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        Template::name(template).unwrap().fill("anna@x.org", attribute).map_err(|error| error.to_string())
    };
    assert_eq!(filled("%u"), Ok("anna@x.org".into()));
    assert_eq!(filled("%n%%%d"), Ok("anna%x.org".into()));
    assert_eq!(filled("user.%{uid}"), Ok("user.anna/..".into()));
    assert_eq!(filled("%{none}"), Err("anna@x.org has no none, which %{none} needs".into()));
    assert!(filled("%{odd}").unwrap_err().ends_with("it has a control character in it"));
    assert!(Template::name("").is_err() && Template::name("%L").is_err() && Template::name("a\tb").is_err());
}
