//! The ledger, the mail store and the sockets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use super::Findings;
use crate::account::AccountEntry;
use crate::cli::adapters;
use crate::cli::client::Client;
use crate::config::{Config, StoreKind};
use crate::mailstore::MailboxRef;
use crate::wire::endpoint::Endpoint;

/// How the daemon is, by its own word; `None` where none runs.
pub async fn health(config: &Config) -> Option<Value> {
    let client = Client::Daemon(config.http.socket.clone());
    let asked = tokio::time::timeout(Duration::from_secs(5), client.get::<Value>("/v1/health")).await;
    asked.ok()?.ok()
}

/// The nearest folder at or above a path that exists.
fn standing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

pub fn ledger(config: &Config, health: Option<&Value>, findings: &mut Findings) {
    const AREA: &str = "ledger";
    let path = &config.ledger.path;
    let name = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            findings.wrong(AREA, format!("{name}: is no folder"), "move it away, or set ledger.path");
        }
        Ok(metadata) if metadata.mode() & 0o007 != 0 => findings.wrong(
            AREA,
            format!("{name}: everybody may look into it"),
            format!("take the rights of others away: chmod -R o= {name}"),
        ),
        Ok(_) if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() => {
            findings.wrong(
                AREA,
                format!("{name}: may not be written"),
                "run doctor as the daemon's user, or give the folder to it",
            );
        }
        Ok(_) => findings.fine(AREA, format!("{name}: there, and can be written")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = standing(path);
            match access(above, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => findings.fine(AREA, format!("{name}: will be made at the first start")),
                Err(_) => findings.wrong(
                    AREA,
                    format!("{name}: is not there, and {} may not be written", above.display()),
                    "make the folder and give it to the daemon's user",
                ),
            }
        }
        Err(error) => findings.wrong(AREA, format!("{name}: {error}"), "check the rights of the folders above"),
    }
    for reason in health.iter().flat_map(|health| health["reasons"].as_array()).flatten().filter_map(Value::as_str) {
        findings.wrong("daemon", format!("it runs, and says: {reason}"), "see its log for what came before");
    }
}

/// Whether the place of the mailboxes can be read.
fn spool(config: &Config, findings: &mut Findings) -> bool {
    const AREA: &str = "mailstore";
    let root = config.mailstore.path.fixed_prefix().unwrap_or("/");
    let readable = access(root, Access::READ_OK | Access::EXEC_OK);
    match readable {
        Ok(()) => findings.fine(AREA, format!("{root}: can be read")),
        Err(error) => findings.wrong(
            AREA,
            format!("{root}: {error}"),
            "check that the file system is mounted, mailstore.path, and that the daemon's user may read it",
        ),
    }
    readable.is_ok()
}

pub fn mailstore(config: &Config, example: Option<&AccountEntry>, findings: &mut Findings) {
    const AREA: &str = "mailstore";
    if config.mailstore.kind == StoreKind::Reported {
        findings.fine(AREA, "nothing is measured: usage is what is reported");
        return;
    }
    if config.mailstore.kind == StoreKind::Maildir && !spool(config, findings) {
        return;
    }
    let Some(example) = example else { return };
    let mailbox = MailboxRef { address: example.address.clone(), attributes: example.attributes.clone() };
    if let Some(imap) = adapters::imap(config) {
        match imap.look(&mailbox) {
            Ok(found) => {
                let login = format!("{} logs in for {} by {}", imap.master(), example.address, found.login);
                findings.fine(AREA, format!("IMAP: {login}; sizes come by {}", found.sizes));
                if !found.namespaces {
                    let advice = "shared folders cannot be told from the user's own: keep them out of sight by an ACL";
                    findings.wrong(AREA, "IMAP: the server does not tell its namespaces", advice);
                }
            }
            Err(error) => {
                let advice = "check mailstore.imap_server, imap_tls, imap_master and its password; docs/imap.md";
                findings.wrong(AREA, format!("IMAP: {error}"), advice);
                return;
            }
        }
    }
    match adapters::mailstore(config).measure(&mailbox, &[]) {
        Ok(found) if found.problems.is_empty() => {
            let total = found.cells.total();
            let held = format!("{} bytes in {} messages", total.bytes, total.messages);
            findings.fine(AREA, format!("the mailbox of {} was measured: {held}", example.address));
        }
        Ok(found) => findings.wrong(
            AREA,
            format!("the mailbox of {}: {}", example.address, found.problems.join("; ")),
            "let the daemon's user read the mailboxes",
        ),
        Err(error) => {
            let advice = "check mailstore.path, mailstore.doveadm_url and its key, or what the IMAP server said";
            findings.wrong(AREA, format!("the mailbox of {}: {error}", example.address), advice);
        }
    }
}

/// By which means changes are seen, as the daemon says.
pub fn watch(config: &Config, health: Option<&Value>, findings: &mut Findings) {
    const AREA: &str = "mailstore";
    let Some(health) = health.filter(|_| config.mailstore.kind == StoreKind::Maildir) else { return };
    let watch = &health["watch"];
    match (watch["by"].as_str(), watch["why"].as_str()) {
        _ if config.mailstore.watch.is_none() => findings.fine(AREA, "not watched (mailstore.watch is off)"),
        (Some(by), None) => findings.fine(AREA, format!("changes are seen as they happen, by {by}")),
        (Some(by), Some(why)) => {
            findings.fine(AREA, format!("changes are seen as they happen, by {by}, for {why}"));
        }
        (None, why) => findings.wrong(
            AREA,
            format!("changes are not seen as they happen: {}", why.unwrap_or("the daemon was started without it")),
            "see docs/watch.md; or set mailstore.watch = \"off\", and usage follows deliveries and jobs.resync",
        ),
    }
}

pub async fn sockets(config: &Config, health: Option<&Value>, findings: &mut Findings) {
    const AREA: &str = "sockets";
    let api = Endpoint::Unix(config.http.socket.clone());
    let all = [
        &config.policy.listen[..],
        &config.lookup.listen[..],
        &config.dovecot.listen[..],
        &config.warnings.listen[..],
        &config.http.listen[..],
        std::slice::from_ref(&api),
    ];
    for endpoint in all.into_iter().flatten() {
        match (health.is_some(), answers(endpoint).await) {
            (true, true) => findings.fine(AREA, format!("{endpoint}: the daemon listens")),
            (true, false) => findings.wrong(
                AREA,
                format!("{endpoint}: the daemon runs, but nobody listens there"),
                "restart it: sockets are made at the start",
            ),
            (false, true) if *endpoint == api => findings.wrong(
                AREA,
                format!("{endpoint}: somebody listens who is not mailquotad, or keeps us waiting"),
                "see who does (ss -lxp), or set http.socket",
            ),
            (false, true) => findings.wrong(
                AREA,
                format!("{endpoint}: in use, though mailquotad does not run"),
                "see who listens there (ss -lntp), or choose another place",
            ),
            (false, false) => idle(endpoint, findings),
        }
    }
    if health.is_none() {
        findings.wrong(AREA, "mailquotad does not run", "start it: systemctl start mailquotad, or mailquotad serve");
    }
}

/// A place that nobody listens at: whether the daemon could.
fn idle(endpoint: &Endpoint, findings: &mut Findings) {
    let Endpoint::Unix(path) = endpoint else { return };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        findings.wrong(
            "sockets",
            format!("{endpoint}: {} is not there, or may not be written", folder.display()),
            "make the folder and give it to the daemon's user (the unit file does, by RuntimeDirectory)",
        );
    }
}

async fn answers(endpoint: &Endpoint) -> bool {
    let connect = async {
        match endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.is_ok(),
            Endpoint::Tcp { host, port } => {
                // Whoever listens everywhere listens here.
                let host = match &**host {
                    "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    host => host,
                };
                TcpStream::connect((host, *port)).await.is_ok()
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), connect).await.unwrap_or(false)
}
