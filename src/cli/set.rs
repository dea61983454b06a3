//! `mailquotad set`: writes a quota to the directory.

use anyhow::Result;

use super::args::Set;
use super::client::{Client, part};
use super::exit::Exit;
use super::out::say;
use crate::service::http::write::Quotas;

pub async fn set(client: &Client, args: &Set) -> Result<Exit> {
    let quotas = Quotas { quota: args.quota.clone(), messages: args.messages.clone() };
    let path = format!("/v1/accounts/{}/quota", part(&args.account));
    let _: serde_json::Value = client.put(&path, &quotas).await?;
    say!("{}: written to the directory", args.account);
    Ok(Exit::Fine)
}
