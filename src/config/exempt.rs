//! `[exempt]` and `[[quota.client]]`: clients and senders that are treated in their own way.

use crate::service::exempt::{Callers, TypedCallers};

use super::reader::Section;
use super::words;

/// The keys that name callers, wherever they stand.
pub(super) const KEYS: [&str; 4] = ["clients", "policy_contexts", "logins", "senders"];

pub(super) fn read(section: Section) -> Callers {
    let callers = callers(&section);
    section.finish();
    callers
}

fn callers(section: &Section) -> Callers {
    let text = |text: &str| words::any(text).map(Into::into);
    Callers {
        clients: section.list("clients", &[], words::parsed),
        policy_contexts: section.list("policy_contexts", &[], text),
        logins: section.list("logins", &[], text),
        senders: section.list("senders", &[], sender),
    }
}

fn sender(text: &str) -> Result<Box<str>, String> {
    let text = words::any(text)?;
    match text.split_once('@') {
        Some((_, domain)) if !domain.is_empty() && !domain.contains('@') => Ok(text.into()),
        _ => Err(format!("`{text}` is no sender; accepted: an address, or @ and a domain for everybody in it")),
    }
}

pub(super) fn read_typed(section: &Section, names: &[std::sync::Arc<str>]) -> Vec<TypedCallers> {
    const TYPE: &str = "the type of what these clients send, one of [quota.types]";
    section.known(&["client.type", "client.clients", "client.policy_contexts", "client.logins", "client.senders"]);
    let mut typed = Vec::new();
    for section in section.sections("client") {
        let kind = section.required("type", TYPE, words::any).unwrap_or_default();
        if !kind.is_empty() && !names.iter().any(|known| **known == *kind) {
            section.refuse("type", format!("`{kind}` is not in [quota.types]; accepted: {TYPE}"));
        }
        let callers = callers(&section);
        if callers == Callers::default() {
            section.refuse("type", format!("names no client; accepted beside it: {}", KEYS.join(", ")));
        }
        typed.push(TypedCallers { kind: kind.into(), callers });
        section.finish();
    }
    typed
}
