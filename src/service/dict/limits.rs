//! Limits that an admin sets by IMAP's SETQUOTA (Dovecot 2.3, `quota_set = dict:…`): they go to the directory.
//!
//! Dovecot asks nobody but its own `admin` field whether the user may. Here the process that sends the limit
//! counts: only those of the configured users of this machine are heard, by what the kernel says of the other
//! end of a unix socket. By TCP nobody is.

use std::sync::Arc;
use std::time::Duration;

use crate::account::Writable;
use crate::directory::{Directory, Wish, Written};
use crate::quota::Units;
use crate::quota::spec::{Amount, Measure, Spec};
use crate::service::account::Account;
use crate::service::socket::Peer;
use crate::telemetry::events;
use crate::wire::dict::Committed;
use crate::wire::dict::key::Resource;

/// Dovecot gives up after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Limits {
    pub directory: Arc<dyn Directory>,
    /// The system's users whose processes are heard.
    pub setters: Vec<u32>,
    pub runtime: tokio::runtime::Handle,
}

impl Limits {
    /// Writes the limits and says what became of it. The one thing that is waited for: whoever set a limit wants
    /// to know, and no delivery waits for it.
    pub fn set(&self, account: &Account, limits: &[(Resource, u64)], units: Units, peer: &Peer) -> Committed {
        let heard = matches!(peer, Peer::Unix(Some(process)) if self.setters.contains(&process.uid));
        if !heard {
            events::limit_refused(&account.address, peer);
            return Committed::Failed("limits are not taken from here; see dovecot.limit_setters of mailquotad".into());
        }
        let setting = async {
            for (resource, number) in limits {
                self.set_one(account, *resource, *number, units).await?;
            }
            Ok(())
        };
        match self.runtime.block_on(async { tokio::time::timeout(PATIENCE, setting).await }) {
            Ok(Ok(())) => Committed::Done,
            Ok(Err(why)) => Committed::Failed(why),
            Err(_) => Committed::Failed("the directory did not answer in time".into()),
        }
    }

    /// Puts the number in the place of the default quota; those of folders and types stay.
    async fn set_one(&self, account: &Account, resource: Resource, number: u64, units: Units) -> Result<(), String> {
        let (attribute, measure) = match resource {
            Resource::Storage | Resource::Bytes => (Writable::Quota, Measure::Bytes(units)),
            Resource::Messages => (Writable::Messages, Measure::Messages),
        };
        let number = match resource {
            Resource::Storage => number.checked_mul(1024).ok_or_else(|| format!("{number} KiB are too many"))?,
            Resource::Bytes | Resource::Messages => number,
        };
        let dn = account.lock().dn.clone();
        let from = self.directory.read(&dn, attribute).await.map_err(|error| error.to_string())?;
        let mut spec = match from.as_deref() {
            Some(text) => Spec::parse(text, measure).map_err(|error| format!("{attribute} {error}"))?,
            None => Spec::ABSENT,
        };
        // 0 is no limit to Dovecot.
        spec.default = if number == 0 { Amount::Unlimited } else { Amount::Number(number) };
        let to = spec.display(measure).to_string();
        let shown = from.as_deref().unwrap_or("(absent)").to_owned();
        let wish = Wish { dn: dn.clone(), attribute, from, to: Some(to.as_str().into()) };
        match self.directory.write(&wish).await {
            Ok(Written::Done) => {
                events::limit_set(&dn, &attribute, &shown, &to);
                Ok(())
            }
            Ok(Written::Overruled { .. }) => Err(format!("{attribute} has changed meanwhile: look and try again")),
            Ok(Written::NoEntry) => Err("the directory has no such entry".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}
