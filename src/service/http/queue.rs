//! `GET /v1/queue`: the queues and the groups of queue quotas, one a line.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Api, Failure, lines};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    pub quota: Option<String>,
    /// Only groups that are full.
    pub full: bool,
    /// Of each quota, the fullest so many.
    pub most: usize,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { quota: None, full: false, most: 1000 }
    }
}

pub async fn queue(State(api): State<Api>, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Response, Failure> {
    let Query(wanted) = wanted.map_err(|rejected| Failure::bad(rejected.body_text()))?;
    let queues = api.admission.queues();
    if let Some(name) = &wanted.quota {
        let settings = api.admission.settings();
        let mut known = settings.queue.quotas.iter().map(|quota| &*quota.name);
        if !known.any(|known| known == name) {
            return Err(Failure::not_found(format!("{name}: no such queue quota")));
        }
    }
    let report = queues.report(wanted.quota.as_deref(), wanted.full, wanted.most);
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        for line in report {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    Ok(lines(receiver))
}
