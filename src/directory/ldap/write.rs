//! Writing by compare and set.
//!
//! From a value to another: one modify deletes the old and adds the new, which fails as a whole if the old
//! one is not there. From an absent attribute there is nothing to delete, so the modify carries the
//! assertion that it is absent (RFC 4528); a server that knows no assertions is asked afterwards, and if
//! somebody else's value stands beside ours, ours is taken away again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::{Assertion, RawControl};
use ldap3::{LdapResult, Mod};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::LdapOptions;
use super::connection::{Connection, Fault, told};
use super::server::connect;
use crate::account::Writable;
use crate::directory::entry::same_value;
use crate::directory::{DirectoryError, Wish, Written};

/// Writes in hand at once. One connection carries them all; more brings nothing, for servers write one by
/// one.
const AT_ONCE: usize = 16;

/// How often a value may change under a write before the wish is put off.
const ATTEMPTS: usize = 5;

const ASSERTION: &str = "1.3.6.1.1.12";

mod rc {
    pub const REFERRAL: u32 = 10;
    pub const UNAVAILABLE_CRITICAL_EXTENSION: u32 = 12;
    pub const NO_SUCH_ATTRIBUTE: u32 = 16;
    pub const CONSTRAINT_VIOLATION: u32 = 19;
    pub const ATTRIBUTE_OR_VALUE_EXISTS: u32 = 20;
    pub const NO_SUCH_OBJECT: u32 = 32;
    pub const UNWILLING_TO_PERFORM: u32 = 53;
    pub const ASSERTION_FAILED: u32 = 122;
    /// timeLimitExceeded, adminLimitExceeded, busy, unavailable, other: they pass.
    pub const PASSING: [u32; 5] = [3, 11, 51, 52, 80];
}

pub struct Writer {
    options: Arc<LdapOptions>,
    /// The connection in use, made when it is first needed.
    line: Mutex<Line>,
    permits: Semaphore,
    /// When the next write may begin.
    next: Mutex<Instant>,
}

#[derive(Default)]
struct Line {
    connected: Option<Arc<Connected>>,
    /// Where writes go; moved by referrals.
    server: usize,
}

struct Connected {
    connection: Connection,
    server: usize,
    asserts: bool,
}

/// What a server made of a write.
enum Answer {
    Written(Written),
    Refused(String),
    /// It takes no writes; these addresses were named instead.
    Elsewhere(Vec<String>, String),
}

/// An attribute as it stands.
enum Found {
    NoEntry,
    Values(Vec<Box<str>>),
}

impl Writer {
    pub fn new(options: Arc<LdapOptions>) -> Writer {
        let next = Mutex::new(Instant::now());
        Writer { options, line: Mutex::default(), permits: Semaphore::new(AT_ONCE), next }
    }

    pub async fn read(&self, dn: &str, what: Writable) -> Result<Option<Box<str>>, DirectoryError> {
        let attribute = self.attribute(what)?;
        let connected = self.connected().await?;
        match found(&connected.connection, dn, attribute).await {
            Ok(Found::NoEntry) => Err(DirectoryError::Refused(format!("there is no entry {dn}"))),
            Ok(Found::Values(values)) => match values.as_slice() {
                [] => Ok(None),
                [value] => Ok(Some(value.clone())),
                several => Err(DirectoryError::Refused(format!(
                    "{attribute} of {dn} has {} values; accepted: one",
                    several.len()
                ))),
            },
            Err(fault) => Err(self.failed(&connected, fault).await),
        }
    }

    pub async fn write(&self, wish: &Wish) -> Result<Written, DirectoryError> {
        let attribute = self.attribute(wish.attribute)?;
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        self.pace().await;
        let mut tried = HashSet::new();
        loop {
            let connected = self.connected().await?;
            tried.insert(connected.server);
            let (urls, why) = match carry_out(&connected, wish, attribute).await {
                Ok(Answer::Written(written)) => return Ok(written),
                Ok(Answer::Refused(why)) => return Err(DirectoryError::Refused(self.named(&connected, &why))),
                Ok(Answer::Elsewhere(urls, why)) => (urls, why),
                Err(fault) => return Err(self.failed(&connected, fault).await),
            };
            let named = urls.iter().find_map(|url| self.options.urls.iter().position(|known| same_server(known, url)));
            let untried = (0..self.options.urls.len()).find(|server| !tried.contains(server));
            let next = if urls.is_empty() { untried } else { named.filter(|server| !tried.contains(server)) };
            match next {
                Some(server) => self.move_to(&connected, server).await,
                None => {
                    let hint = match urls.is_empty() {
                        true => String::new(),
                        false => format!("; it names {}: add that to directory.urls", urls.join(", ")),
                    };
                    let why = format!("{why}: the server takes no writes{hint}");
                    return Err(DirectoryError::Refused(self.named(&connected, &why)));
                }
            }
        }
    }

    fn attribute(&self, what: Writable) -> Result<&str, DirectoryError> {
        let attribute = self.options.reader.attribute(what);
        attribute.ok_or_else(|| DirectoryError::Refused(format!("no attribute is mapped for {what}")))
    }

    fn named(&self, connected: &Connected, why: &str) -> String {
        format!("{}: {why}", self.options.urls[connected.server])
    }

    /// Spaces writes evenly.
    async fn pace(&self) {
        let step = Duration::from_secs(1) / self.options.writes_per_second.max(1);
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + step;
            turn
        };
        sleep_until(turn).await;
    }

    async fn connected(&self) -> Result<Arc<Connected>, DirectoryError> {
        let mut line = self.line.lock().await;
        if let Some(connected) = &line.connected {
            return Ok(connected.clone());
        }
        let mut failures = Vec::new();
        let servers = self.options.urls.len();
        for server in (0..servers).map(|step| (line.server + step) % servers) {
            let url = &self.options.urls[server];
            match self.open(server, url).await {
                Ok(connected) => {
                    let connected = Arc::new(connected);
                    line.connected = Some(connected.clone());
                    return Ok(connected);
                }
                Err(fault) => failures.push(format!("{url}: {fault}")),
            }
        }
        Err(DirectoryError::Away(failures.join("; ")))
    }

    async fn open(&self, server: usize, url: &str) -> Result<Connected, Fault> {
        let connection = connect(&self.options, url).await?;
        let root = match connection.look("", "(objectClass=*)", &["supportedControl"]).await {
            Ok(root) => root,
            // A server that hides its root DSE can still be written to.
            Err(Fault::Told(_)) => None,
            Err(lost) => return Err(lost),
        };
        let asserts = root.is_some_and(|root| root.values("supportedControl").any(|oid| oid == ASSERTION.as_bytes()));
        Ok(Connected { connection, server, asserts })
    }

    async fn move_to(&self, from: &Connected, server: usize) {
        let mut line = self.line.lock().await;
        if line.connected.as_ref().is_some_and(|now| now.server == from.server) {
            (line.connected, line.server) = (None, server);
        }
    }

    /// A connection that failed is not used again.
    async fn failed(&self, connected: &Connected, fault: Fault) -> DirectoryError {
        if let Fault::Lost(_) = fault {
            let mut line = self.line.lock().await;
            if line.connected.as_ref().is_some_and(|now| std::ptr::eq(&**now, connected)) {
                line.connected = None;
            }
        }
        let why = self.named(connected, &fault.to_string());
        match fault {
            Fault::Told(result) if !rc::PASSING.contains(&result.rc) => DirectoryError::Refused(why),
            _ => DirectoryError::Away(why),
        }
    }
}

/// Whether two addresses are the same server's, whatever stands behind them.
fn same_server(a: &str, b: &str) -> bool {
    let server = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?.to_ascii_lowercase();
        let port = if scheme.eq_ignore_ascii_case("ldaps") { "636" } else { "389" };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        Some(if has_port { authority } else { format!("{authority}:{port}") })
    };
    server(a).is_some_and(|a| server(b) == Some(a))
}

async fn carry_out(connected: &Connected, wish: &Wish, attribute: &str) -> Result<Answer, Fault> {
    let connection = &connected.connection;
    let mut asserts = connected.asserts;
    let mut from = wish.from.clone();
    for _ in 0..ATTEMPTS {
        let result = modify(connection, &wish.dn, attribute, from.as_deref(), wish.to.as_deref(), asserts).await?;
        let looks_changed = match result.rc {
            0 if from.is_none() && !asserts => return settle(connection, wish, attribute).await,
            0 => return Ok(Answer::Written(Written::Done)),
            rc::UNAVAILABLE_CRITICAL_EXTENSION if asserts => {
                asserts = false;
                continue;
            }
            rc::NO_SUCH_OBJECT => return Ok(Answer::Written(Written::NoEntry)),
            rc::REFERRAL => return Ok(Answer::Elsewhere(result.refs.clone(), told(&result))),
            rc::UNWILLING_TO_PERFORM => return Ok(Answer::Elsewhere(Vec::new(), told(&result))),
            rc::NO_SUCH_ATTRIBUTE | rc::ATTRIBUTE_OR_VALUE_EXISTS | rc::CONSTRAINT_VIOLATION | rc::ASSERTION_FAILED => {
                true
            }
            _ => false,
        };
        if !looks_changed {
            return refusal(result);
        }
        let values = match found(connection, &wish.dn, attribute).await? {
            Found::NoEntry => return Ok(Answer::Written(Written::NoEntry)),
            Found::Values(values) => values,
        };
        let now = match values.as_slice() {
            [] => None,
            [value] => Some(value.clone()),
            // Two values are an admin's work in progress, or his mistake.
            several => return Ok(Answer::Written(Written::Overruled { found: Some(several.join(", ").into()) })),
        };
        if same_value(wish.attribute, now.as_deref(), wish.to.as_deref()) && now.is_some() == wish.to.is_some() {
            return Ok(Answer::Written(Written::Done));
        }
        if !same_value(wish.attribute, now.as_deref(), wish.from.as_deref()) {
            return Ok(Answer::Written(Written::Overruled { found: now }));
        }
        if now == from && result.rc == rc::CONSTRAINT_VIOLATION {
            return refusal(result);
        }
        // The same value in another spelling, or an absent status that counts as active.
        from = now;
    }
    Err(Fault::Lost(format!("{attribute} of {} keeps changing; put off", wish.dn)))
}

fn refusal(result: LdapResult) -> Result<Answer, Fault> {
    match rc::PASSING.contains(&result.rc) {
        true => Err(Fault::Told(result)),
        false => Ok(Answer::Refused(told(&result))),
    }
}

async fn modify(
    connection: &Connection,
    dn: &str,
    attribute: &str,
    from: Option<&str>,
    to: Option<&str>,
    asserts: bool,
) -> Result<LdapResult, Fault> {
    let one = |value: &str| HashSet::from([value.to_owned()]);
    let mut changes = Vec::new();
    changes.extend(from.map(|from| Mod::Delete(attribute.to_owned(), one(from))));
    changes.extend(to.map(|to| Mod::Add(attribute.to_owned(), one(to))));
    let mut ldap = connection.operation();
    if from.is_none() && asserts {
        let mut absent: RawControl = Assertion::new(format!("(!({attribute}=*))"));
        absent.crit = true;
        ldap.with_controls(absent);
    }
    Ok(ldap.modify(dn, changes).await?)
}

/// After an addition that nothing guarded: an admin's value that came in between stays, and ours goes.
async fn settle(connection: &Connection, wish: &Wish, attribute: &str) -> Result<Answer, Fault> {
    let Found::Values(values) = found(connection, &wish.dn, attribute).await? else {
        return Ok(Answer::Written(Written::NoEntry));
    };
    let same = |value: &str| same_value(wish.attribute, Some(value), wish.to.as_deref());
    let others: Vec<&str> = values.iter().map(|value| &**value).filter(|value| !same(value)).collect();
    if others.is_empty() {
        return Ok(Answer::Written(Written::Done));
    }
    let found = Some(others.join(", ").into());
    if let Some(ours) = values.iter().find(|value| same(value)) {
        modify(connection, &wish.dn, attribute, Some(ours), None, false).await?;
    }
    Ok(Answer::Written(Written::Overruled { found }))
}

async fn found(connection: &Connection, dn: &str, attribute: &str) -> Result<Found, Fault> {
    let Some(entry) = connection.look(dn, "(objectClass=*)", &[attribute]).await? else { return Ok(Found::NoEntry) };
    let text = |value: &[u8]| Box::from(String::from_utf8_lossy(value));
    Ok(Found::Values(entry.values(attribute).map(text).collect()))
}

#[cfg(test)]
mod tests {
    use super::same_server;

    #[test]
    fn referrals_are_known_by_host_and_port() {
        assert!(same_server("ldap://ldap.example.org", "ldap://LDAP.example.org:389/dc=example,dc=org??sub"));
        assert!(same_server("ldaps://a", "ldaps://a:636"));
        assert!(!same_server("ldap://a:390", "ldap://a") && !same_server("ldap://a", "ldap://b"));
    }
}
