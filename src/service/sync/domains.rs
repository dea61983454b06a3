//! Domains: their entries into limits and defaults, and what that means for their accounts.

use std::sync::Arc;

use super::{Sync, read};
use crate::account::{DomainEntry, Single};
use crate::quota::spec::Measure;
use crate::quota::{Limit, Limits};
use crate::service::account::Specs;
use crate::service::domain::{Domain, DomainState};
use crate::service::settings::Settings;
use crate::telemetry::events;

impl Sync {
    pub(super) fn domain(&mut self, entry: DomainEntry) -> Arc<Domain> {
        let whole = entry.clone();
        let settings = self.accounting.settings.load_full();
        let domain = self.accounting.domain(&entry.name);
        let mut problems = Vec::new();
        let bytes = Measure::Bytes(settings.units);
        let own = domain_specs(&entry.quota, &entry.messages, ["mailDomainDiskQuota", "mailDomainMsgQuota"], bytes);
        let users = domain_specs(&entry.user_quota, &entry.user_messages, ["mailQuota", "mailMsgQuota"], bytes);
        let mut state = domain.lock();
        match own {
            Ok(specs) if specs.bytes.named.is_empty() && specs.messages.named.is_empty() => {
                state.specs = self.where_said(specs);
            }
            Ok(_) => problems.push("a domain's quota takes no folders and no types".to_owned()),
            Err(why) => problems.push(why),
        }
        match users {
            Ok(specs) => state.user_specs = self.where_said(specs),
            Err(why) => problems.push(why),
        }
        let defaults_before = state.defaults.clone();
        self.work_out(&mut state, &settings);
        if state.entry.as_ref().is_some_and(|(_, dn)| *dn != entry.dn) {
            state.wished = None;
        }
        state.entry = Some((entry.id, entry.dn));
        state.heard = state.heard.wrapping_add(1);
        (state.inet_status, state.mail_status) = (entry.inet_status, entry.mail_status);
        self.status.problem(state.problem.is_some(), !problems.is_empty());
        state.problem = (!problems.is_empty()).then(|| problems.join("; ").into());
        if let Some(problem) = &state.problem {
            events::value_bad(&domain.name, problem);
        }
        let defaults_changed = state.defaults != defaults_before;
        drop(state);
        if defaults_changed {
            self.limits_of_members(&domain);
        }
        drop(self.accounting.settle_domain(&domain));
        self.keep_domain(whole, problems.is_empty());
        domain
    }

    /// What is said nowhere takes no room.
    fn where_said(&mut self, specs: Specs) -> Option<Arc<Specs>> {
        (specs != Specs::absent()).then(|| self.specs.share(specs))
    }

    /// What the entry's specs come to under these settings.
    fn work_out(&mut self, state: &mut DomainState, settings: &Settings) {
        let nothing = Limits::default();
        let limits = |specs: &Specs, defaults| Limits::new(&specs.bytes, &specs.messages, defaults, settings.zero);
        state.limit = state.specs.as_ref().map_or(Limit::NONE, |specs| limits(specs, &nothing).buckets()[0].limit);
        let users = state.user_specs.as_ref().map(|specs| limits(specs, &settings.defaults));
        state.defaults = users.map(|users| self.limits.share(users));
    }

    pub(super) fn limits_of_members(&mut self, domain: &Arc<Domain>) {
        let settings = self.accounting.settings.load_full();
        for account in domain.accounts() {
            let specs = account.lock().specs.clone();
            let (limits, roots) = self.resolve(&specs, domain, &settings);
            drop(self.accounting.limit(&account, limits, roots));
        }
    }

    /// After a reload of the settings: defaults, the meaning of 0, what counts for itself, or roots may differ.
    pub(super) fn limits_anew(&mut self) {
        let settings = self.accounting.settings.load_full();
        for domain in self.accounting.book.domains() {
            self.work_out(&mut domain.lock(), &settings);
            self.limits_of_members(&domain);
        }
        self.accounting.settle_accounts();
        self.accounting.settle_domains();
    }
}

fn domain_specs(bytes: &Single, messages: &Single, names: [&str; 2], measure: Measure) -> Result<Specs, String> {
    let (bytes, messages) = (read(bytes, names[0], measure)?, read(messages, names[1], Measure::Messages)?);
    Ok(Specs { bytes, messages, ..Specs::absent() })
}
