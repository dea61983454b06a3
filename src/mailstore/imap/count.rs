//! Counting a folder message by message, where the server has no sums or knows no types.
//!
//! Messages never change, and a UID is given once (RFC 9051 section 2.3.1.1). So what was counted before still holds
//! while UIDVALIDITY stays: what is new has a UID of UIDNEXT's old value or above, and if old and new together
//! are as many as there are, none is gone. Only if some are gone are all sizes read again; the types of those that
//! are left are remembered.

use std::collections::BTreeMap;

use super::memory::Remembered;
use super::session::{Failure, Session};
use crate::quota::Usage;
use crate::wire::content_type::{HEAD_LIMIT, TypeTable, content_type};
use crate::wire::imap::command::Command;
use crate::wire::imap::{Code, Message, Outcome, Response};

/// A folder that keeps changing while it is counted is tried this often.
const ROUNDS: usize = 4;

/// A bit is kept for each message of a folder, and eight bytes for each that has a type. No folder has more; a server that
/// says so is not believed.
const MOST_MESSAGES: u64 = 10_000_000;

/// What EXAMINE told.
#[derive(Default)]
struct Selected {
    exists: u64,
    validity: Option<u32>,
    next: Option<u32>,
}

/// What a pass over messages found.
struct Pass {
    found: Remembered,
    /// Messages whose UID is that of a new one.
    new: u64,
    /// The numbers of the messages that were met, a bit for each.
    met: Vec<u64>,
    expunged: u64,
    strange: Option<&'static str>,
}

/// What a folder holds; `None` if it is gone.
pub fn folder(
    session: &mut Session,
    raw: &[u8],
    known: Option<&Remembered>,
    types: &TypeTable,
) -> Result<Option<Remembered>, Failure> {
    for _ in 0..ROUNDS {
        let selected = match examine(session, raw) {
            Err(failure) if failure.is_absence() => return Ok(None),
            selected => selected?,
        };
        if selected.exists > MOST_MESSAGES {
            return Err(Failure::Unfit(format!("the server speaks of {} messages in a folder", selected.exists)));
        }
        let nothing = Remembered::nothing(selected.validity.unwrap_or(0), types);
        let known = known.filter(|known| Some(known.validity) == selected.validity).unwrap_or(&nothing);
        if let Some(found) = once(session, &selected, known, types)? {
            return Ok(Some(found));
        }
    }
    Err(Failure::Unfit("a folder kept changing while it was counted".into()))
}

fn examine(session: &mut Session, raw: &[u8]) -> Result<Selected, Failure> {
    let mut selected = Selected::default();
    session.run(
        "EXAMINE",
        |tag| Command::new(tag, "EXAMINE").string(raw),
        |response| {
            match response {
                Response::Exists(exists) => selected.exists = exists,
                Response::Untagged { outcome: Outcome::Ok, said } => match said.code {
                    Some(Code::UidValidity(validity)) => selected.validity = Some(validity),
                    Some(Code::UidNext(next)) => selected.next = Some(next),
                    _ => {}
                },
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok(selected)
}

/// Counts what is selected; `None` if it changed meanwhile in a way that leaves doubts.
fn once(
    session: &mut Session,
    selected: &Selected,
    known: &Remembered,
    types: &TypeTable,
) -> Result<Option<Remembered>, Failure> {
    let next = selected.next.unwrap_or(known.next).max(known.next);
    if selected.exists == 0 {
        return Ok(Some(Remembered { next, ..Remembered::nothing(known.validity, types) }));
    }
    let from = known.next.max(1);
    let mut fresh = Pass::new(Remembered { next, ..Remembered::nothing(known.validity, types) });
    // A UIDNEXT that has not moved says that nothing is new.
    if selected.next != Some(from) {
        let head = format!("BODY.PEEK[HEADER.FIELDS (CONTENT-TYPE)]<0.{HEAD_LIMIT}>");
        let items = if types.is_empty() { "UID RFC822.SIZE".into() } else { format!("UID RFC822.SIZE {head}") };
        let command = |tag: &str| Command::new(tag, &format!("UID FETCH {from}:* ({items})"));
        session.run("UID FETCH", command, |response| {
            fresh.hear(response, selected.exists, |message, uid, pass| {
                // The last message is told in any case, for `*` is its UID.
                if uid < from {
                    return None;
                }
                pass.new += 1;
                match (types.is_empty(), &message.head) {
                    (true, _) => Some(None),
                    (false, Some(head)) => Some(content_type(head, true).and_then(|found| types.find(&found))),
                    (false, None) => None,
                }
            })
        })?;
    }
    let still = selected.exists.saturating_sub(fresh.expunged);
    let both = known.with(&fresh.found);
    if fresh.sound() && fresh.expunged == 0 && both.messages() == still {
        return Ok(Some(both));
    }
    all(session, selected.exists.max(still), known, &fresh, types)
}

/// Reads the sizes of all messages. Types are those that are known.
fn all(
    session: &mut Session,
    exists: u64,
    known: &Remembered,
    fresh: &Pass,
    types: &TypeTable,
) -> Result<Option<Remembered>, Failure> {
    let kinds: BTreeMap<u32, u8> = known.typed.iter().chain(&fresh.found.typed).copied().collect();
    let empty = Remembered { next: fresh.found.next, ..Remembered::nothing(known.validity, types) };
    let mut pass = Pass::new(empty);
    session.run(
        "FETCH",
        |tag| Command::new(tag, "FETCH 1:* (UID RFC822.SIZE)"),
        |response| {
            pass.hear(response, exists, |_, uid, pass| {
                pass.new += u64::from(uid >= known.next);
                Some(kinds.get(&uid).copied())
            })
        },
    )?;
    // More new ones than were asked for their types: their turn comes in another round.
    let late = !types.is_empty() && pass.new > fresh.found.messages();
    let complete = pass.sound() && pass.expunged == 0 && pass.found.messages() >= exists - fresh.expunged.min(exists);
    Ok((complete && !late).then_some(pass.found))
}

impl Pass {
    fn new(found: Remembered) -> Pass {
        Pass { found, new: 0, met: Vec::new(), expunged: 0, strange: None }
    }

    fn sound(&self) -> bool {
        self.strange.is_none()
    }

    /// Takes what a server tells while it is asked for messages. `kind` says of what type a message is, or that it
    /// does not count.
    fn hear(
        &mut self,
        response: Response<'_>,
        exists: u64,
        kind: impl FnOnce(&Message<'_>, u32, &mut Pass) -> Option<Option<u8>>,
    ) -> Result<(), Failure> {
        match response {
            Response::Expunged => self.expunged = self.expunged.saturating_add(1),
            Response::Message(message) => {
                // Without these it is told that a flag has changed.
                let (Some(uid), Some(size)) = (message.uid, message.size) else { return Ok(()) };
                if self.meets(message.number, exists)?
                    && let Some(kind) = kind(&message, uid, self)
                {
                    self.found.add(uid, Usage::new(size, 1), kind);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a message is met for the first time. One may be told of twice.
    fn meets(&mut self, number: u64, exists: u64) -> Result<bool, Failure> {
        // What came since may be told as well, but no more than that.
        if number == 0 || number > exists.saturating_add(1_000_000) {
            return Err(Failure::Unfit(format!("the server tells of message {number} of {exists}")));
        }
        if number > exists {
            self.strange = Some("more than there were");
        }
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), 1u64 << (number % 64));
        if self.met.len() <= word {
            self.met.resize(word + 1, 0);
        }
        let first = self.met[word] & bit == 0;
        self.met[word] |= bit;
        Ok(first)
    }
}
