//! `[warnings]`: what the site does at thresholds of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::quota::Warning;
use crate::quota::warning::Which;
use crate::service::warnings::{self, Act, Rule};
use crate::wire::endpoint::Endpoint;

use super::policy::SocketAccess;
use super::reader::Section;
use super::words;

#[derive(Clone, Debug)]
pub struct Warnings {
    pub rules: warnings::Warnings,
    /// How many programs and the like run side by side.
    pub at_once: usize,
    /// For each of them.
    pub timeout: Duration,
    /// Who vouches for the servers of webhooks; `None`: the system's certificates.
    pub ca_file: Option<PathBuf>,
    /// Where Dovecot's own warnings come in.
    pub listen: Vec<Endpoint>,
    pub access: SocketAccess,
}

const WHEN: &str = "a threshold in Dovecot's form, as in storage=95%, messages=1000 or -storage=100%";

/// `from` is whether it is known who notices are from.
pub(super) fn read(section: Section, from: bool) -> Warnings {
    let which = section.text("which", "first", words::one_of(&[("first", Which::First), ("all", Which::All)]));
    section.known(&["rule.when", "rule.notice", "rule.run", "rule.script", "rule.args", "rule.webhook"]);
    let rules =
        section.sections("rule").into_iter().filter_map(|section| read_rule(section, from)).map(Arc::new).collect();
    let warnings = Warnings {
        rules: warnings::Warnings { rules, which },
        at_once: section.number("at_once", 4, 1..=1000) as usize,
        timeout: section.text("timeout", "30s", words::delay),
        ca_file: section.optional("ca_file", words::absolute),
        listen: section.list("listen", &[], words::parsed),
        access: SocketAccess::read(&section),
    };
    section.finish();
    warnings
}

fn read_rule(section: Section, from: bool) -> Option<Rule> {
    let when = section.required("when", WHEN, when);
    let notice = section.flag("notice", false);
    if notice && !from {
        section.refuse("notice", "goes out with nobody as the sender; accepted: true where notify.from is set");
    }
    let program = section.list("run", &[], words::any);
    let socket: Option<PathBuf> = section.optional("script", words::absolute);
    let arguments = section.list("args", &[], words::any);
    let url = section.optional("webhook", url);
    if program.first().is_some_and(|program| !program.starts_with('/')) {
        section.refuse("run", "does not begin with an absolute path; accepted: a program and its arguments, in a list");
    }
    if socket.is_none() && !arguments.is_empty() {
        section.refuse("args", "has no effect here; accepted only with script");
    }
    let mut acts = Vec::new();
    acts.extend((!program.is_empty()).then_some(Act::Program(program)));
    acts.extend(socket.map(|socket| Act::Script { socket, arguments }));
    acts.extend(url.map(Act::Webhook));
    let idle = acts.is_empty() && !notice && !["run", "script", "webhook"].iter().any(|key| section.is_set(key));
    if idle && when.is_some() {
        section.refuse("when", "leads to nothing; accepted beside it: notice = true, run, script, webhook");
    }
    section.finish();
    when.map(|(when, warning)| Rule { when, warning, notice, acts })
}

fn when(text: &str) -> Result<(Box<str>, Warning), String> {
    if text.contains(' ') {
        return Err(format!("`{text}` holds a space; accepted: {WHEN}"));
    }
    // The model's warnings carry a command, as Dovecot's do.
    let warning = Warning::parse(&format!("{text} -")).map_err(|error| format!("{}; accepted: {WHEN}", error.fault))?;
    Ok((text.into(), warning))
}

fn url(text: &str) -> Result<String, String> {
    let scheme = |uri: &hyper::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let good = text.parse::<hyper::Uri>().is_ok_and(|uri| scheme(&uri) && uri.host().is_some());
    good.then(|| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is no address to post to; accepted: as in http://127.0.0.1:8080/quota, or https://")
    })
}
