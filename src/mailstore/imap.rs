//! Asks any IMAP server what a mailbox holds, as a master user who may open everybody's.
//!
//! By the cheapest way that the server offers:
//!
//! 1. `LIST ... RETURN (STATUS (MESSAGES SIZE))` (RFC 5819, RFC 8438): one question for the whole mailbox;
//! 2. `STATUS (MESSAGES SIZE)` for each folder (RFC 8438);
//! 3. EXAMINE, and the size of each message that is new since the last time ([`memory`]).
//!
//! Sizes are RFC822.SIZE, with CRLF at each line's end. Where the site gives message types, the Content-Type of each
//! message is read once, and the sizes come by the third way, for the others know nothing of types.
//!
//! What is counted is what lies in the user's own namespaces (RFC 2342): folders that others share with him are
//! theirs. An answer that is missing, broken or late is an error. A folder that is gone since it was listed is gone.

mod count;
mod memory;
mod session;
mod spaces;

use std::collections::BTreeMap;

use self::memory::{Memory, Remembered};
use self::session::{Failure, Session};
use self::spaces::Spaces;
use super::remote::{Dialer, FolderNames, Server};
use super::{MailStore, MailStoreError, MailboxRef, Measurement};
use crate::quota::usage::canonical_folder;
use crate::quota::{CellKey, Usage};
use crate::secret::Secret;
use crate::wire::content_type::TypeTable;
use crate::wire::imap::command::Command;
use crate::wire::imap::{Capabilities, Response, Status};
use crate::wire::mutf7;
use crate::wire::template::Template;

/// Nobody has more; a server that lists more is out of its mind, and its answer is kept in memory.
const MOST_FOLDERS: usize = 100_000;

#[derive(Clone, Debug)]
pub struct ImapOptions {
    /// With `tls` where the connection is to be encrypted from the start.
    pub server: Server,
    pub tls: Tls,
    /// Whose mailbox it is, in the words of the server.
    pub user: Template,
    /// Who logs in.
    pub master: Box<str>,
    pub password: Secret,
    pub login: Login,
    /// What is given to LOGIN, as [`login_name`](crate::wire::imap::command::login_name) reads it.
    pub login_name: Box<str>,
    /// What holds of a server that does not tell its namespaces.
    pub names: FolderNames,
    pub types: TypeTable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Never,
    /// By STARTTLS.
    Required,
    FromTheStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// As PLAIN where the server offers that, else as LOGIN.
    Auto,
    /// SASL PLAIN: the user is the authorization identity.
    Plain,
    /// LOGIN: user and master in one name.
    Login,
}

/// What a server was found to offer.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub login: &'static str,
    pub sizes: &'static str,
    pub namespaces: bool,
}

pub struct ImapStore {
    options: ImapOptions,
    dialer: Dialer,
}

/// A folder as it was listed, and what was told of it with that.
#[derive(Debug)]
struct Folder {
    raw: Vec<u8>,
    /// Its name here.
    name: String,
    status: Option<Figures>,
}

/// What STATUS tells.
#[derive(Clone, Copy, Debug)]
struct Figures {
    messages: Option<u64>,
    size: Option<u64>,
    next: Option<u32>,
    validity: Option<u32>,
}

impl ImapStore {
    pub fn new(options: ImapOptions) -> ImapStore {
        ImapStore { dialer: Dialer::new(options.server.clone()), options }
    }

    pub fn master(&self) -> &str {
        &self.options.master
    }

    /// Logs in and looks what the server offers.
    pub fn look(&self, mailbox: &MailboxRef) -> Result<Found, MailStoreError> {
        let (session, login) = self.log_in(mailbox)?;
        let can = session.can;
        session.leave();
        let sizes = match (self.sizes_are_told(can), can.list_status) {
            (true, true) => "LIST-STATUS with STATUS=SIZE, in one question",
            (true, false) => "STATUS=SIZE, one question for each folder",
            (false, _) if can.status_size => "FETCH, because of quota.types, of what is new",
            (false, _) => "FETCH of what is new: the server has no STATUS=SIZE",
        };
        Ok(Found { login, sizes, namespaces: can.namespace })
    }

    fn log_in(&self, mailbox: &MailboxRef) -> Result<(Session, &'static str), MailStoreError> {
        let attribute = |name: &str| mailbox.attributes.get(name).map(|value| &**value);
        let user = self.options.user.fill(&mailbox.address, attribute);
        let user = user.map_err(|error| MailStoreError::Unlocatable(error.to_string()))?;
        let mut session =
            Session::open(&self.dialer, self.options.tls).map_err(|failure| self.dialer.failed(&failure))?;
        let login = session.log_in(&self.options, &user).map_err(|failure| {
            self.dialer.failed(&format!("login of {} for {user}: {failure}", self.options.master))
        })?;
        Ok((session, login))
    }

    /// Whether the server's own sums do.
    fn sizes_are_told(&self, can: Capabilities) -> bool {
        can.status_size && self.options.types.is_empty()
    }

    fn measure_some(
        &self,
        mailbox: &MailboxRef,
        only: Option<&str>,
        memory: &[u8],
    ) -> Result<Measurement, MailStoreError> {
        let (mut session, _) = self.log_in(mailbox)?;
        let found = self.count(&mut session, only, memory);
        let found = found.map_err(|failure| self.dialer.failed(&format!("{}: {failure}", mailbox.address)))?;
        session.leave();
        Ok(found)
    }

    fn count(&self, session: &mut Session, only: Option<&str>, memory: &[u8]) -> Result<Measurement, Failure> {
        let told = self.sizes_are_told(session.can);
        let known = Memory::read(memory, &self.options.types);
        let mut remembered = if only.is_some() { known.clone() } else { known.emptied() };
        let (mut usages, mut problems) = (Vec::new(), Vec::new());
        for folder in self.folders(session, only)? {
            let counted = match told {
                true => self.sum(session, &folder).map(|usage| usage.map(|usage| vec![usage])),
                false => self.sizes(session, &folder, known.folder(&folder.raw)).map(|found| {
                    found.map(|found| {
                        let usages = found.usages.clone();
                        remembered.keep(&folder.raw, found);
                        usages
                    })
                }),
            };
            match counted {
                Ok(Some(by_type)) => {
                    // Those of no type are the last.
                    let kinds = self.options.types.names().iter().map(|name| Some(&**name)).filter(|_| !told);
                    let cells = kinds.chain([None]).zip(by_type);
                    usages.extend(cells.map(|(kind, usage)| (CellKey::new(&folder.name, kind), usage)));
                }
                Ok(None) => {}
                Err(failure @ Failure::Refused { .. }) => problems.push(format!("{}: {failure}", folder.name)),
                Err(failure) => return Err(failure),
            }
        }
        let files = usages.iter().map(|(_, usage)| *usage).sum::<Usage>().messages;
        let memory = if told { Vec::new() } else { remembered.written() };
        Ok(Measurement { cells: usages.into_iter().collect(), files, problems, memory })
    }

    /// The user's folders that hold messages, all of them or the one of that name.
    fn folders(&self, session: &mut Session, only: Option<&str>) -> Result<Vec<Folder>, Failure> {
        let spaces = Spaces::ask(session, &self.options.names)?;
        let items = if self.sizes_are_told(session.can) { "MESSAGES SIZE" } else { "MESSAGES UIDNEXT UIDVALIDITY" };
        let (list_status, mut folders) = (session.can.list_status, BTreeMap::new());
        for pattern in spaces.patterns(only, session.can.utf8) {
            let command = |tag: &str| {
                let list = Command::new(tag, "LIST \"\"").string(&pattern);
                if list_status { list.words(&format!("RETURN (STATUS ({items}))")) } else { list }
            };
            let mut figures: BTreeMap<Vec<u8>, Figures> = BTreeMap::new();
            let mut listed = Vec::new();
            session.run("LIST", command, |response| {
                match response {
                    Response::Mailbox(found) if found.selectable => {
                        listed.push((found.name.into_owned(), found.separator));
                    }
                    Response::Status(found) => drop(figures.insert(key(&found.name), Figures::of(&found))),
                    _ => {}
                }
                match listed.len().max(figures.len()) > MOST_FOLDERS {
                    true => Err(Failure::Unfit(format!("more than {MOST_FOLDERS} folders"))),
                    false => Ok(()),
                }
            })?;
            for (raw, separator) in listed {
                let Some(name) = spaces.name(&raw, separator) else { continue };
                if only.is_none_or(|only| *canonical_folder(&name) == *only) {
                    let status = figures.remove(&key(&raw));
                    folders.insert(key(&raw), Folder { raw, name, status });
                }
            }
        }
        // A mailbox of which nothing is listed, not even its INBOX, may be one that is not there yet. That is asked,
        // for it might as well be a server that lists nothing.
        if folders.is_empty() && only.is_none_or(|only| only == "INBOX") {
            let inbox = Folder { raw: b"INBOX".to_vec(), name: "INBOX".into(), status: None };
            folders.insert(inbox.raw.clone(), inbox);
        }
        Ok(folders.into_values().collect())
    }

    /// What the server says that a folder holds; `None` if it is gone.
    fn sum(&self, session: &mut Session, folder: &Folder) -> Result<Option<Usage>, Failure> {
        let figures = match folder.status {
            Some(figures) => figures,
            None => match status(session, &folder.raw)? {
                Some(figures) => figures,
                None => return Ok(None),
            },
        };
        match (figures.size, figures.messages) {
            (Some(bytes), Some(messages)) => Ok(Some(Usage::new(bytes, messages))),
            _ => Err(Failure::Unfit(format!("the server does not tell the size of {}", folder.name))),
        }
    }

    /// The same, counted by us.
    fn sizes(
        &self,
        session: &mut Session,
        folder: &Folder,
        known: Option<&Remembered>,
    ) -> Result<Option<Remembered>, Failure> {
        let unchanged = folder.status.zip(known).filter(|(figures, known)| {
            Some(known.validity) == figures.validity
                && Some(known.next) == figures.next
                && Some(known.messages()) == figures.messages
        });
        match unchanged {
            Some((_, known)) => Ok(Some(known.clone())),
            None => count::folder(session, &folder.raw, known, &self.options.types),
        }
    }
}

/// What STATUS tells of a folder; `None` if it is gone.
fn status(session: &mut Session, raw: &[u8]) -> Result<Option<Figures>, Failure> {
    let mut figures = None;
    let command = |tag: &str| Command::new(tag, "STATUS").string(raw).words("(MESSAGES SIZE)");
    let asked = session.run("STATUS", command, |response| {
        if let Response::Status(found) = response
            && key(&found.name) == key(raw)
        {
            figures = Some(Figures::of(&found));
        }
        Ok(())
    });
    match asked {
        Err(failure) if failure.is_absence() => Ok(None),
        asked => {
            asked?;
            let missing = || Failure::Unfit(format!("no answer to STATUS of {}", mutf7::folder_level(raw)));
            figures.ok_or_else(missing).map(Some)
        }
    }
}

/// What a mailbox is known by: INBOX has no case.
fn key(raw: &[u8]) -> Vec<u8> {
    if raw.eq_ignore_ascii_case(b"INBOX") { b"INBOX".to_vec() } else { raw.to_vec() }
}

impl Figures {
    fn of(status: &Status<'_>) -> Figures {
        let Status { messages, size, uid_next, uid_validity, .. } = *status;
        Figures { messages, size, next: uid_next, validity: uid_validity }
    }
}

impl MailStore for ImapStore {
    fn measure(&self, mailbox: &MailboxRef, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.measure_some(mailbox, None, memory)
    }

    fn measure_folder(&self, mailbox: &MailboxRef, folder: &str, memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.measure_some(mailbox, Some(&canonical_folder(folder)), memory)
    }
}
