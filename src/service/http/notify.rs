//! `POST /v1/notify`: notices by rules. `POST /v1/enforce`: the statuses of domains.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Api, Failure, Given, lines};
use crate::account::Status;
use crate::service::notify::rules::TellRule;
use crate::wire::notice::Template;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToTell {
    pub domain: Option<String>,
    pub user: Option<String>,
    pub rules: Vec<TellRule>,
    /// Every folder in the details (`%R%`).
    pub extended: bool,
}

/// Answers with a [`crate::service::notify::rules::Outcome`] for each bucket that a rule applies to.
pub async fn notify(State(api): State<Api>, Given(wanted): Given<ToTell>) -> Result<Response, Failure> {
    for rule in &wanted.rules {
        let wrong = |error| Failure::bad(format!("the text of the rule at {}%: {error}", rule.percentage));
        Template::percents(&rule.text).map_err(wrong)?;
    }
    let accounts = match &wanted.user {
        Some(address) => vec![api.account(address)?],
        None => api.accounts_of(wanted.domain.as_deref())?,
    };
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let settings = api.admission.settings();
        let now = api.accounting.clock.now();
        for account in accounts {
            let mut outcomes = Vec::new();
            drop(api.accounting.with_seat(&account, |seat, batch| {
                let rules = (wanted.rules.as_slice(), wanted.extended);
                outcomes = api.accounting.notices.by_rules(&account.address, seat, rules, &settings, now, batch);
            }));
            for outcome in outcomes {
                // Who has gone away does not stop the work: what was asked for is done.
                drop(sender.send(outcome).await);
            }
        }
    });
    Ok(lines(receiver))
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToEnforce {
    pub domain: Option<String>,
}

/// A domain whose status is to change. The write itself is in the outbox.
#[derive(Debug, Serialize, Deserialize)]
pub struct Enforced {
    pub domain: String,
    pub from: String,
    pub to: String,
}

pub async fn enforce(State(api): State<Api>, Given(wanted): Given<ToEnforce>) -> Result<Response, Failure> {
    let domains = match &wanted.domain {
        Some(name) => {
            let domain = api.accounting.book.domain(&name.to_lowercase());
            vec![domain.ok_or_else(|| Failure::not_found(format!("{name}: no such domain")))?]
        }
        None => api.accounting.book.domains(),
    };
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        for domain in domains {
            drop(api.accounting.settle_domain(&domain));
            let change = {
                let state = domain.lock();
                state.wished.map(|to: Status| (state.mail_status, to))
            };
            if let Some((from, to)) = change {
                let (from, to) = (from.as_str().into(), to.as_str().into());
                drop(sender.send(Enforced { domain: domain.name.to_string(), from, to }).await);
            }
        }
    });
    Ok(lines(receiver))
}
