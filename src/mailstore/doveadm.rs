//! Asks Dovecot what mailboxes hold, whatever format it keeps them in, by the HTTP API of doveadm.
//!
//! One request for a mailbox or a folder: `mailboxStatus` with `messages` and `vsize`. Sizes are virtual, as IMAP
//! shows them, with CRLF at line ends: the numbers of Dovecot's own count quota. Message types are not known here.
//! Dovecot answers with a length and closes the connection, so no more of HTTP is spoken than that. (Whoever
//! asks for the close, by HTTP/1.0 or `Connection: close`, gets no answer from 2.3.19 where the key is wrong.)

use std::io::{BufRead, BufReader, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::remote::{Dialer, FolderNames, Server};
use super::{MailStore, MailStoreError, MailboxRef, Measurement};
use crate::quota::usage::canonical_folder;
use crate::quota::{CellKey, Usage};
use crate::secret::Secret;

/// Far more than the folders of any mailbox make: an answer is read into memory.
const LARGEST: u64 = 64 << 20;

/// doveadm's exit codes (sysexits.h, and its own for what is not there).
const NO_USER: u64 = 67;
const NOT_FOUND: u64 = 68;

#[derive(Clone, Debug)]
pub struct DoveadmOptions {
    pub server: Server,
    pub path: Box<str>,
    pub login: DoveadmLogin,
    pub names: FolderNames,
}

/// `doveadm_api_key` or `doveadm_password` in Dovecot's configuration.
#[derive(Clone, Debug)]
pub enum DoveadmLogin {
    Key(Secret),
    Password(Secret),
}

pub struct DoveadmStore {
    options: DoveadmOptions,
    dialer: Dialer,
}

/// One folder of an answer. Dovecot writes numbers as text.
#[derive(Deserialize)]
struct Status {
    mailbox: String,
    messages: String,
    vsize: String,
}

impl DoveadmStore {
    pub fn new(options: DoveadmOptions) -> DoveadmStore {
        DoveadmStore { dialer: Dialer::new(options.server.clone()), options }
    }

    /// The folders that `mask` fits; `None` if there is none of that name.
    fn ask(&self, mailbox: &MailboxRef, mask: &str) -> Result<Option<Vec<Status>>, MailStoreError> {
        let parameters = json!({ "user": mailbox.address, "mailboxMask": [mask], "field": ["messages", "vsize"] });
        let answer = self.post(&json!([["mailboxStatus", parameters, "1"]]))?;
        let strange = || self.dialer.failed(&"doveadm's answer is not understood");
        let mut answer: Vec<(String, Value, String)> = serde_json::from_slice(&answer).map_err(|_| strange())?;
        match answer.pop() {
            Some((kind, folders, _)) if kind == "doveadmResponse" => {
                serde_json::from_value(folders).map(Some).map_err(|_| strange())
            }
            Some((_, error, _)) => match error["exitCode"].as_u64() {
                Some(NOT_FOUND) => Ok(None),
                Some(NO_USER) => Err(self.dialer.failed(&format!("Dovecot knows no user {}", mailbox.address))),
                Some(code) => Err(self.dialer.failed(&format!("doveadm failed with code {code}; see Dovecot's log"))),
                None => Err(strange()),
            },
            None => Err(strange()),
        }
    }

    fn post(&self, body: &Value) -> Result<Vec<u8>, MailStoreError> {
        let failed = |error: std::io::Error| self.dialer.failed(&error);
        let authorization = match &self.options.login {
            DoveadmLogin::Key(key) => format!("X-Dovecot-API {}", STANDARD.encode(key.read().map_err(failed)?)),
            DoveadmLogin::Password(password) => {
                let both = format!("doveadm:{}", password.read().map_err(failed)?);
                format!("Basic {}", STANDARD.encode(both))
            }
        };
        let body = body.to_string();
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.options.path,
            self.options.server.host,
            body.len(),
        );
        let mut connection = self.dialer.connect().map_err(failed)?;
        connection.write_all(request.as_bytes()).and_then(|()| connection.flush()).map_err(failed)?;
        let mut reader = BufReader::new(connection.take(LARGEST));
        let (status, length) = head(&mut reader).map_err(failed)?;
        match status {
            200 => {}
            401 => return Err(self.dialer.failed(&"doveadm refuses the key or password")),
            404 => return Err(self.dialer.failed(&format!("nothing is served at {}", self.options.path))),
            status => return Err(self.dialer.failed(&format!("HTTP status {status}"))),
        }
        let mut body = Vec::new();
        match length {
            // A body that is cut off is an error, never an empty mailbox.
            Some(length) => {
                reader.take(length).read_to_end(&mut body).map_err(failed)?;
                if body.len() as u64 != length {
                    return Err(self.dialer.failed(&"the answer was cut off"));
                }
            }
            None => drop(reader.read_to_end(&mut body).map_err(failed)?),
        }
        Ok(body)
    }

    fn measurement(&self, folders: Vec<Status>) -> Result<Measurement, MailStoreError> {
        let mut cells = Vec::new();
        let own = folders.into_iter().filter(|folder| self.options.names.is_own(&folder.mailbox));
        for Status { mailbox, messages, vsize } in own {
            let (Ok(bytes), Ok(messages)) = (vsize.parse(), messages.parse()) else {
                let why = format!("the size of {mailbox} is no number");
                return Err(self.dialer.failed(&why));
            };
            cells.push((CellKey::new(&self.options.names.ours(&mailbox), None), Usage::new(bytes, messages)));
        }
        let files = cells.iter().map(|(_, usage)| usage.messages).sum();
        Ok(Measurement { cells: cells.into_iter().collect(), files, ..Measurement::default() })
    }
}

/// Status and length of an answer.
fn head(reader: &mut impl BufRead) -> std::io::Result<(u16, Option<u64>)> {
    let strange = || std::io::Error::other("the answer is not HTTP");
    let (mut status, mut length) = (None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(strange());
        }
        let line = line.trim_end();
        match (status, line.split_once(':')) {
            (None, _) => {
                let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
                status = Some(code.and_then(|code| code.parse().ok()).ok_or_else(strange)?);
            }
            (Some(status), _) if line.is_empty() => return Ok((status, length)),
            (_, Some((name, _))) if name.eq_ignore_ascii_case("transfer-encoding") => {
                return Err(std::io::Error::other("the answer is chunked, which doveadm's are not"));
            }
            (_, Some((name, value))) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse().map_err(|_| strange())?);
            }
            _ => {}
        }
    }
}

impl MailStore for DoveadmStore {
    fn measure(&self, mailbox: &MailboxRef, _memory: &[u8]) -> Result<Measurement, MailStoreError> {
        self.measurement(self.ask(mailbox, "*")?.unwrap_or_default())
    }

    fn measure_folder(
        &self,
        mailbox: &MailboxRef,
        folder: &str,
        _memory: &[u8],
    ) -> Result<Measurement, MailStoreError> {
        let folder = canonical_folder(folder);
        let mut folders = self.ask(mailbox, &self.options.names.theirs(&folder))?.unwrap_or_default();
        // A name with `*` or `%` in it is a mask that fits others as well.
        folders.retain(|status| *canonical_folder(&self.options.names.ours(&status.mailbox)) == *folder);
        self.measurement(folders)
    }
}
