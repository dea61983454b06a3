//! `POST /v1/resync`: measures mailboxes and tells of it line by line.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Api, Failure, Given, lines};
use crate::service::resync::{measure_all, settle_all};

/// Which accounts; one of the first three must be given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    pub all: bool,
    pub accounts: Vec<String>,
    pub domain: Option<String>,
    /// Only limits, standings and statuses; no mailbox is read.
    pub limits_only: bool,
}

pub async fn resync(State(api): State<Api>, Given(wanted): Given<Wanted>) -> Result<Response, Failure> {
    let accounts = match (&wanted.domain, wanted.accounts.as_slice()) {
        (None, []) if !wanted.all => return Err(Failure::bad("nothing to do; accepted: all, accounts or domain")),
        (domain, []) => api.accounts_of(domain.as_deref())?,
        (_, named) => named.iter().map(|address| api.account(address)).collect::<Result<_, _>>()?,
    };
    let (news, told) = mpsc::channel(256);
    match wanted.limits_only {
        true => drop(tokio::spawn(settle_all(api.accounting.clone(), accounts, news))),
        false => drop(tokio::spawn(measure_all(api.measuring.clone(), accounts, news))),
    }
    Ok(lines(told))
}
