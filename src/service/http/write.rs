//! `PUT /v1/accounts/{address}/quota`: writes limits to the directory, compare and set.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, Failure, Given, Named};
use crate::account::Writable;
use crate::directory::{Wish, Written};
use crate::quota::Spec;
use crate::quota::spec::Measure;
use crate::service::account::Account;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    pub quota: Option<String>,
    pub messages: Option<String>,
}

pub async fn quota(
    State(api): State<Api>,
    Named(address): Named,
    Given(wanted): Given<Quotas>,
) -> Result<Json<Value>, Failure> {
    let account = api.account(&address)?;
    let units = api.admission.settings().units;
    let wishes = [
        (Writable::Quota, wanted.quota, Measure::Bytes(units)),
        (Writable::Messages, wanted.messages, Measure::Messages),
    ];
    if wishes.iter().all(|(_, value, _)| value.is_none()) {
        return Err(Failure::bad("nothing to do; accepted: quota, messages"));
    }
    // All is checked before anything is written.
    for (attribute, value, measure) in &wishes {
        if let Some(text) = value {
            Spec::parse(text, *measure).map_err(|error| Failure::bad(format!("{attribute} {error}")))?;
        }
    }
    for (attribute, value, _) in wishes {
        if let Some(text) = value {
            write(&api, &account, attribute, text).await?;
        }
    }
    Ok(Json(json!({ "account": &*account.address, "outcome": "written" })))
}

async fn write(api: &Api, account: &Account, attribute: Writable, text: String) -> Result<(), Failure> {
    let dn = account.lock().dn.clone();
    let from = api.directory.read(&dn, attribute).await.map_err(Failure::unavailable)?;
    let wish = Wish { dn, attribute, from, to: Some(text.into()) };
    match api.directory.write(&wish).await {
        Ok(Written::Done) => Ok(()),
        Ok(Written::Overruled { found }) => {
            let found = found.as_deref().unwrap_or("(absent)").to_owned();
            let why =
                format!("{attribute} of {} has changed meanwhile to {found}: look and try again", account.address);
            Err(Failure(StatusCode::CONFLICT, why))
        }
        Ok(Written::NoEntry) => {
            Err(Failure::not_found(format!("{}: the directory has no such entry", account.address)))
        }
        Err(error) => Err(Failure::unavailable(error)),
    }
}
