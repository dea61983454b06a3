//! Postfix, where there is one: whether it asks us, and at the right places.

use std::process::Command;

use super::Findings;
use crate::config::Config;
use crate::wire::endpoint::Endpoint;

const AREA: &str = "postfix";

pub fn examine(config: &Config, findings: &mut Findings) {
    let Some(recipient) = parameter("smtpd_recipient_restrictions") else {
        findings.fine(AREA, "there is no postconf here");
        return;
    };
    let relay = parameter("smtpd_relay_restrictions").unwrap_or_default();
    let end = parameter("smtpd_end_of_data_restrictions").unwrap_or_default();
    let listen = &config.policy.listen;
    let example = listen.first().map(spelled).unwrap_or_default();
    if let Some(at) = looks_up(&recipient, &config.lookup.listen) {
        match guarded(&recipient[..at]) || guarded(&relay) {
            true => findings.fine(AREA, "smtpd_recipient_restrictions looks up mailquotad's status map"),
            false => findings.wrong(
                AREA,
                "smtpd_recipient_restrictions looks up the status of recipients before strangers' mail for elsewhere is refused",
                "put reject_unauth_destination before check_recipient_access",
            ),
        }
        // Sites that look up have no size to ask about at the end of a message, and need not.
        if asks(&recipient, listen).is_none() && asks(&end, listen).is_none() {
            return;
        }
    }
    match asks(&recipient, listen) {
        None => findings.wrong(
            AREA,
            "smtpd_recipient_restrictions does not ask mailquotad",
            format!("add `check_policy_service {example}` behind reject_unauth_destination"),
        ),
        // A relay that is open to strangers would ask about every address in the world.
        Some(at) if !guarded(&recipient[..at]) && !guarded(&relay) => findings.wrong(
            AREA,
            "smtpd_recipient_restrictions asks mailquotad before strangers' mail for elsewhere is refused",
            "put reject_unauth_destination before check_policy_service",
        ),
        Some(_) => findings.fine(AREA, "smtpd_recipient_restrictions asks mailquotad at the right place"),
    }
    match asks(&end, listen) {
        None => findings.wrong(
            AREA,
            "smtpd_end_of_data_restrictions does not ask mailquotad, so messages whose size was not announced get through",
            format!("set smtpd_end_of_data_restrictions = check_policy_service {example}"),
        ),
        Some(_) => findings.fine(AREA, "smtpd_end_of_data_restrictions asks mailquotad"),
    }
}

/// The value with what it refers to filled in, as a list; `None` where there is no Postfix.
fn parameter(name: &str) -> Option<Vec<String>> {
    let output = Command::new("postconf").args(["-xh", name]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| words(&text))
}

/// Restrictions are parted by spaces and commas; braces keep a service and its own settings together.
fn words(text: &str) -> Vec<String> {
    let spaced = text.replace(['{', '}', ','], " ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

fn guarded(restrictions: &[String]) -> bool {
    let guards = ["reject_unauth_destination", "defer_unauth_destination", "reject", "defer"];
    restrictions.iter().any(|word| guards.contains(&word.as_str()))
}

/// Where one of our sockets is asked.
fn asks(restrictions: &[String], listen: &[Endpoint]) -> Option<usize> {
    let asked = |pair: &[String]| pair[0] == "check_policy_service" && listen.iter().any(|ours| is(&pair[1], ours));
    restrictions.windows(2).position(asked)
}

/// Where our status map is looked up.
fn looks_up(restrictions: &[String], listen: &[Endpoint]) -> Option<usize> {
    let looks = |pair: &[String]| {
        let table = pair[1].strip_prefix("proxy:").unwrap_or(&pair[1]);
        let place = table.strip_prefix("socketmap:").and_then(|table| table.strip_suffix(":status"));
        pair[0] == "check_recipient_access" && place.is_some_and(|place| listen.iter().any(|ours| is(place, ours)))
    };
    restrictions.windows(2).position(looks)
}

/// As Postfix spells it.
fn spelled(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { .. } => format!("inet:{endpoint}"),
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Whether Postfix's `service` is `ours`: a path may be relative to its queue folder, and whoever listens
/// everywhere is found at any address.
fn is(service: &str, ours: &Endpoint) -> bool {
    match ours {
        Endpoint::Unix(path) => service.strip_prefix("unix:").is_some_and(|asked| {
            let absolute = format!("/{}", path.display());
            asked == &absolute[1..] || absolute.ends_with(&format!("/{}", asked.trim_start_matches('/')))
        }),
        Endpoint::Tcp { host, port } => service.strip_prefix("inet:").is_some_and(|asked| {
            let (name, asked_port) = asked.rsplit_once(':').unwrap_or(("", asked));
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let same =
                name == &**host || ["0.0.0.0", "::"].contains(&&**host) || [name, host].iter().all(|n| is_loopback(n));
            asked_port == port.to_string() && same
        }),
    }
}

fn is_loopback(host: &str) -> bool {
    ["", "localhost", "127.0.0.1", "::1"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_apart() {
        let tcp: Endpoint = "127.0.0.1:12340".parse().unwrap();
        let unix: Endpoint = "unix:/var/spool/postfix/private/quota".parse().unwrap();
        assert!(is("inet:127.0.0.1:12340", &tcp) && is("inet:localhost:12340", &tcp) && is("inet:12340", &tcp));
        assert!(!is("inet:127.0.0.1:12341", &tcp) && !is("inet:192.0.2.1:12340", &tcp) && !is("unix:12340", &tcp));
        assert!(is("unix:private/quota", &unix) && is("unix:/var/spool/postfix/private/quota", &unix));
        assert!(!is("unix:private/other", &unix) && !is("inet:127.0.0.1:1", &unix));
    }

    #[test]
    fn the_place_in_a_list_counts() {
        let listen = ["127.0.0.1:12340".parse().unwrap()];
        let list = words(
            "permit_mynetworks, reject_unauth_destination,\n check_policy_service { inet:127.0.0.1:12340, timeout=10s }",
        );
        let at = asks(&list, &listen).unwrap();
        assert!(guarded(&list[..at]) && !guarded(&words("permit_mynetworks")));
        assert_eq!(asks(&words("check_policy_service inet:127.0.0.1:10023"), &listen), None);
        let looks = |table: &str| {
            looks_up(&words(&format!("reject_unauth_destination check_recipient_access {table}")), &listen)
        };
        assert_eq!(looks("socketmap:inet:127.0.0.1:12340:status"), Some(1));
        assert_eq!(looks("proxy:socketmap:inet:localhost:12340:status"), Some(1));
        assert_eq!(looks("socketmap:inet:127.0.0.1:12340:quota"), None);
        assert_eq!(looks("socketmap:inet:127.0.0.1:12341:status"), None);
    }
}
