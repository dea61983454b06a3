//! `GET /v1/check`: reports of accounts and domains, one a line.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Api, Failure, Pieces};
use crate::quota::Level;
use crate::service::report::{self, AccountReport, DomainReport};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    pub user: Option<String>,
    pub domain: Option<String>,
    /// Only what is over its limit.
    pub over: bool,
    /// Brings standings and statuses up to date first.
    pub enforce: bool,
    /// Makes the notices that are due, even where they are not made as things happen.
    pub notify: bool,
    /// The usage of every folder as well.
    pub folders: bool,
}

/// How a line about an account begins, and no other.
pub const ACCOUNT_LINE: &str = "{\"account\":";

/// One line of a check. Told apart by their first field, `domain` without `account` or both.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Account(AccountReport),
    Domain(DomainReport),
    /// A directory entry that could not be read.
    Bad {
        bad: String,
        why: String,
    },
    /// The directory is away, and all of this is as it was some time ago.
    Lost {
        directory_lost: String,
        age_seconds: Option<u64>,
    },
}

impl Line {
    /// Reads a line. Nearly all of them are accounts, which are known by their first field: trying one form
    /// after the other, as the derived reader does, takes three times as long.
    pub fn read(line: &[u8]) -> serde_json::Result<Line> {
        match std::str::from_utf8(line) {
            // Known to be UTF-8 as a whole, its many little texts need not be looked at one by one.
            Ok(text) if text.starts_with(ACCOUNT_LINE) => serde_json::from_str(text).map(Line::Account),
            _ => serde_json::from_slice(line),
        }
    }
}

pub async fn check(State(api): State<Api>, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Response, Failure> {
    let Query(wanted) = wanted.map_err(|rejected| Failure::bad(rejected.body_text()))?;
    let accounts = match &wanted.user {
        Some(address) => vec![api.account(address)?],
        None => api.accounts_of(wanted.domain.as_deref())?,
    };
    let domains = match (&wanted.user, &wanted.domain) {
        (Some(_), _) => Vec::new(),
        (None, Some(name)) => api.accounting.book.domain(&name.to_lowercase()).into_iter().collect(),
        (None, None) => api.accounting.book.domains(),
    };
    let whole = wanted.user.is_none() && wanted.domain.is_none();
    let (mut pieces, answer) = Pieces::new();
    tokio::spawn(async move {
        let shown = |standing| !wanted.over || standing >= Level::Over;
        for account in accounts {
            if wanted.enforce {
                drop(api.accounting.settle(&account));
            }
            if wanted.notify {
                let (settings, now) = (api.admission.settings(), api.accounting.clock.now());
                drop(api.accounting.with_seat(&account, |seat, batch| {
                    api.accounting.notices.by_stages(&account.address, seat, &settings, now, batch);
                }));
            }
            let mut report = report::account(&api.accounting, &account);
            if wanted.folders {
                report.folders = report::folders(&account);
            }
            let worst = report.buckets.iter().map(|bucket| bucket.standing).max().unwrap_or_default();
            if (shown(worst) || report.problem.is_some()) && !pieces.line(&Line::Account(report)).await {
                return;
            }
        }
        for domain in domains {
            if wanted.enforce {
                drop(api.accounting.settle_domain(&domain));
            }
            let report = report::domain(&domain);
            if (shown(report.standing) || report.problem.is_some()) && !pieces.line(&Line::Domain(report)).await {
                return;
            }
        }
        if whole {
            let directory = api.directory_status.state();
            for (dn, why) in directory.bad {
                pieces.line(&Line::Bad { bad: dn.into(), why: why.into() }).await;
            }
            if let Some(directory_lost) = directory.lost {
                let now = api.accounting.clock.now();
                let age_seconds = directory.current_at.map(|at| now.since(at).as_secs());
                pieces.line(&Line::Lost { directory_lost, age_seconds }).await;
            }
        }
        pieces.flush().await;
    });
    Ok(answer)
}
