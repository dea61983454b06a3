//! `POST /v1/usage`: changes of usage from stores that mailquotad cannot read itself.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Failure, Given};
use crate::ledger::Outcome;
use crate::quota::{CellKey, Delta};
use crate::service::accounting::ChangeError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    account: String,
    /// Any text that names this change: sent again, it is counted once.
    key: Option<String>,
    cells: Vec<CellChange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CellChange {
    folder: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    bytes: i64,
    messages: i64,
}

/// Answers when the change would survive a power cut.
pub async fn usage(State(api): State<Api>, Given(changes): Given<Changes>) -> Result<Json<Value>, Failure> {
    let account = api.account(&changes.account)?;
    if changes.cells.iter().any(|cell| cell.folder.is_empty()) {
        return Err(Failure::bad("a folder's name is empty; accepted: names with / between levels, as in INBOX/2025"));
    }
    let delta = |cell: CellChange| {
        let delta = Delta { bytes: cell.bytes, messages: cell.messages };
        (CellKey::new(&cell.folder, cell.kind.as_deref()), delta)
    };
    let deltas = changes.cells.into_iter().map(delta).collect();
    let key = changes.key.map(|key| key_of(&account.address, &key));
    match api.accounting.change(&account, deltas, key).await {
        Ok(Outcome::Duplicate) => Ok(Json(json!({ "outcome": "duplicate" }))),
        Ok(_) => Ok(Json(json!({ "outcome": "applied" }))),
        Err(error @ ChangeError::Gone) => Err(Failure::not_found(format!("{}: {error}", account.address))),
        Err(error @ ChangeError::Ledger(_)) => Err(Failure::unavailable(error)),
    }
}

/// The same key means the same change of the same account, in every release and on every node.
fn key_of(account: &str, key: &str) -> u128 {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in account.bytes().chain([0]).chain(key.bytes()) {
        // FNV-1a, 128 bits: small, stable, and nobody gains by a collision with his own keys.
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash
}
