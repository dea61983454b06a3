//! Looking: health, one account, one domain, one verdict explained, the metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Failure, Given, Named};
use crate::quota::Level;
use crate::service::admission::{Message, folder_of};
use crate::service::exempt::kind_of;
use crate::service::report::{self, AccountReport, DomainReport, Explanation};
use crate::telemetry::metrics::Whose;
use crate::wire::policy::Request;

/// `ok`, or `degraded` with the reasons: a load balancer looks at the code (200, 503), people at the text.
pub async fn health(State(api): State<Api>) -> Response {
    let directory = api.directory_status.state();
    let now = api.accounting.clock.now();
    let mut reasons = Vec::new();
    if !api.accounting.loaded() {
        reasons.push("the directory has not been loaded yet".to_owned());
    }
    if let Some(why) = &directory.lost {
        reasons.push(format!("the directory: {why}"));
    }
    if let Some(why) = api.accounting.ledger.health().trouble {
        reasons.push(format!("the ledger: {why}"));
    }
    if api.admission.queues().are_limited() {
        let states = api.admission.queues().states();
        let lost = states.iter().filter_map(|(name, _, look)| Some((name, look.trouble.as_deref()?)));
        reasons.extend(lost.map(|(name, why)| format!("the queue {name}: {why}")));
    }
    let status = if reasons.is_empty() { "ok" } else { "degraded" };
    let body: Value = json!({
        "status": status,
        "reasons": reasons,
        "accounts": api.accounting.book.accounts(),
        "directory_age_seconds": directory.current(now).map(|at| now.since(at).as_secs()),
        "bad_entries": directory.bad_count,
        "version": env!("CARGO_PKG_VERSION"),
        "watch": api.watch.state(),
    });
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, [("x-health", status)], Json(body)).into_response()
}

pub async fn account(State(api): State<Api>, Named(address): Named) -> Result<Json<AccountReport>, Failure> {
    let account = api.account(&address)?;
    Ok(Json(report::account(&api.accounting, &account)))
}

pub async fn domain(State(api): State<Api>, Named(name): Named) -> Result<Json<DomainReport>, Failure> {
    match api.accounting.book.domain(&name.to_lowercase()) {
        Some(domain) => Ok(Json(report::domain(&domain))),
        None => Err(Failure::not_found(format!("{name}: no such domain"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    recipient: String,
    #[serde(default)]
    size: u64,
    folder: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Who sends, and from where: for exemptions and for the type by client.
    sender: Option<String>,
    client: Option<String>,
    login: Option<String>,
    context: Option<String>,
}

pub async fn explain(State(api): State<Api>, Given(question): Given<Question>) -> Json<Explanation> {
    let settings = api.admission.settings();
    let extended = api.admission.expand(&settings, &question.recipient).extended;
    let lands_in = folder_of(&settings, &question.recipient, extended);
    let folder = question.folder.as_deref().unwrap_or(lands_in);
    let folder = crate::quota::usage::canonical_folder(folder);
    let request = Request {
        recipient: &question.recipient,
        size: question.size,
        sender: question.sender.as_deref().unwrap_or_default(),
        client_address: question.client.as_deref().unwrap_or_default(),
        sasl_username: question.login.as_deref().unwrap_or_default(),
        policy_context: question.context.as_deref().unwrap_or_default(),
        ..Request::default()
    };
    let kind = question.kind.as_deref().or_else(|| kind_of(&settings.typed, &request));
    let message = Message { size: question.size, folder: &folder, kind };
    Json(report::explain(&api.admission, &api.accounting, &request, message))
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn metrics(State(api): State<Api>) -> Response {
    gauge(&api);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], api.metrics.render()).into_response()
}

/// Brings up to date what is cheap to ask for and is not counted as it happens.
fn gauge(api: &Api) {
    let (metrics, accounting, directory) = (&api.metrics, &api.accounting, api.directory_status.state());
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.accounts.set(count(accounting.book.accounts()));
    metrics.domains.set(count(accounting.book.domains().len()));
    for level in [Level::Warned, Level::Over, Level::Blocked] {
        metrics.standing(Whose::Account, level, accounting.accounts_at.at(level));
        metrics.standing(Whose::Domain, level, accounting.domains_at.at(level));
    }
    metrics.bad_values.set(i64::try_from(directory.bad_count).unwrap_or(i64::MAX));
    metrics.directory_up.set(i64::from(directory.lost.is_none() && accounting.loaded()));
    let reached = directory.current(accounting.clock.now()).map_or(0, |at| at.0 / 1000);
    metrics.directory_reached.set(i64::try_from(reached).unwrap_or(i64::MAX));
    let queues = api.admission.queues();
    if queues.are_limited() {
        for (source, messages, look) in queues.states() {
            metrics.queue(source, messages, look.at.map(|at| at.0 / 1000), look.took);
        }
        for summary in queues.summaries() {
            metrics.queue_quota(&summary.quota, summary.groups, summary.fullest);
        }
    }
    let ledger = accounting.ledger.health();
    metrics.ledger(ledger.batches, ledger.operations, ledger.errors, ledger.trouble.is_none());
}
