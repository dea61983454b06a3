//! File systems whose quotas count.

use super::Findings;
use crate::account::AccountEntry;
use crate::cli::adapters;
use crate::config::Config;
use crate::unixquota::{self, Readings};

const AREA: &str = "unix quotas";

/// Asks every file system about `example`, if that is an account whose user it may know.
pub async fn examine(config: &Config, example: Option<&AccountEntry>, findings: &mut Findings) {
    let Some(quotas) = adapters::unix_quotas(config) else { return };
    let options = adapters::unix_options(config);
    let user = example.and_then(|example| {
        let (local, domain) = example.address.rsplit_once('@')?;
        let attribute = options.user_attribute.as_ref();
        let name = attribute.map_or(Some(local), |name| example.attributes.get(name).map(|value| &**value));
        name.filter(|_| options.domains.contains(domain)).map(str::to_owned)
    });
    let reading = tokio::task::spawn_blocking(move || {
        // Of a name that the host does not know nothing is asked at all; about root, what cannot be asked shows.
        let known = user.filter(|user| unixquota::is_user(user));
        let asked = known.clone().unwrap_or_else(|| "root".into());
        let readings = quotas.read(&asked);
        (asked, known.is_some(), readings)
    });
    let Ok(Ok((user, known, Readings { found, problems, .. }))) = tokio::time::timeout(options.timeout, reading).await
    else {
        let advice = "see whether a mount or a file server hangs (df, rpcinfo -p)";
        return findings.wrong(AREA, format!("no answer within {:?}", options.timeout), advice);
    };
    for problem in &problems {
        let place = problem.place.as_deref().unwrap_or("any");
        findings.wrong(AREA, format!("{place}: {}", problem.why), "docs/unix-quotas.md has a table of reasons");
    }
    for found in &found {
        let (bytes, kind) = (found.reading.bytes, found.kind.as_str());
        let figures = format!("{} bytes, soft limit {}, hard limit {}", bytes.used, bytes.soft, bytes.hard);
        findings.fine(AREA, format!("{}: {kind} quota of {user}: {figures}", found.place));
    }
    if found.is_empty() && problems.is_empty() {
        let whom = if known { "" } else { " (the account that was looked at is no Unix user)" };
        findings.fine(AREA, format!("no file system has a quota of {user}{whom}: no opinion"));
    }
}
