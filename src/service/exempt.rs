//! Who is let in whatever the quota says, and what type of message a client sends.
//!
//! Telephony servers take a voice message before they know whether it can be delivered, so theirs must
//! not be refused; it is counted all the same. What an MTA knows of a client is matched against lists of
//! the configuration: its network, the `policy_context` of the service that asks, the login, the sender.
//! A sender can be forged by anybody, so a list of senders is for clients that are known by nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use crate::wire::network::Network;
use crate::wire::policy::Request;

/// Clients and senders by any of four marks; one that fits is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    pub clients: Vec<Network>,
    pub policy_contexts: Vec<Box<str>>,
    pub logins: Vec<Box<str>>,
    /// Addresses, or `@` and a domain for everybody in it. Compared without regard to case.
    pub senders: Vec<Box<str>>,
}

impl Callers {
    /// On the hot path: nothing is allocated.
    pub fn include(&self, request: &Request<'_>) -> bool {
        let known = |list: &[Box<str>], value: &str| !value.is_empty() && list.iter().any(|known| **known == *value);
        self.includes_client(request.client_address)
            || known(&self.policy_contexts, request.policy_context)
            || known(&self.logins, request.sasl_username)
            || self.senders.iter().any(|known| fits(known, request.sender))
    }

    fn includes_client(&self, address: &str) -> bool {
        if self.clients.is_empty() {
            return false;
        }
        // Postfix says "unknown" where there is no address.
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        self.clients.iter().any(|network| network.contains(address))
    }
}

fn fits(known: &str, sender: &str) -> bool {
    match known.strip_prefix('@') {
        Some(domain) => sender.rsplit_once('@').is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain)),
        None => known.eq_ignore_ascii_case(sender),
    }
}

/// What type the messages of some clients are of, known before their Content-Type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedCallers {
    pub kind: Arc<str>,
    pub callers: Callers,
}

/// The type of the message that a request is about; the first list that fits decides.
pub fn kind_of<'a>(typed: &'a [TypedCallers], request: &Request<'_>) -> Option<&'a str> {
    typed.iter().find(|typed| typed.callers.include(request)).map(|typed| &*typed.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        Callers {
            clients: vec!["192.0.2.0/24".parse().unwrap()],
            policy_contexts: vec!["telephony".into()],
            logins: vec!["pbx".into()],
            senders: vec!["Voice@pbx.example".into(), "@fax.example".into()],
        }
    }

    #[test]
    fn any_one_mark_is_enough() {
        let none = Request::default();
        for (request, expected) in [
            (none, false),
            (Request { client_address: "192.0.2.9", ..none }, true),
            (Request { client_address: "::ffff:192.0.2.9", ..none }, true),
            (Request { client_address: "192.0.3.9", ..none }, false),
            (Request { client_address: "unknown", ..none }, false),
            (Request { policy_context: "telephony", ..none }, true),
            (Request { policy_context: "Telephony", ..none }, false),
            (Request { sasl_username: "pbx", ..none }, true),
            (Request { sender: "voice@PBX.example", ..none }, true),
            (Request { sender: "any@fax.example", ..none }, true),
            (Request { sender: "any@sub.fax.example", ..none }, false),
            (Request { sender: "fax.example", ..none }, false),
        ] {
            assert_eq!(callers().include(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn empty_lists_include_nobody_and_an_empty_value_fits_no_list() {
        assert!(!Callers::default().include(&Request { client_address: "192.0.2.9", ..Request::default() }));
        let careless = Callers { logins: vec!["".into()], senders: vec!["".into()], ..Callers::default() };
        assert!(!careless.include(&Request { sasl_username: "", sender: "x@y", ..Request::default() }));
    }

    #[test]
    fn the_first_list_that_fits_names_the_type() {
        let typed = |kind: &str, callers| TypedCallers { kind: kind.into(), callers };
        let fax = Callers { senders: vec!["@fax.example".into()], ..Callers::default() };
        let typed = [typed("fax", fax), typed("voice", callers())];
        let of = |sender| kind_of(&typed, &Request { sender, ..Request::default() });
        assert_eq!((of("a@fax.example"), of("voice@pbx.example"), of("a@b")), (Some("fax"), Some("voice"), None));
    }
}
