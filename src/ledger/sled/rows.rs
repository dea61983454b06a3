//! How values lie in the tree: rows of at most a few KiB, each beginning with the format that it is
//! written in.
//!
//! ```text
//! mformat                     format
//! mstate                      the highest revision forgotten and the number of groups written, u64 LE each
//! a<account>                  head of a record
//! s<shelf: u8><key>           head of a value
//! p<index: u32 BE><head key>  part of a record or value too long for its head
//! k<sequence: u64 BE>         an idempotency key
//!
//! head: format, 0, payload    the whole of it
//!       format, 1, count      u32 LE: it lies in that many parts
//! ```
//!
//! Rows are short because the engine writes whole leaves of some twenty rows, and puts one that is
//! longer than 128 KiB into a file of its own, which it never syncs: a power cut would take it away. For
//! the same reason names are bounded: an index page holds 257 of them.
//!
//! The payload of a record is postcard's encoding of [`Record`]. It follows from the order of the fields
//! of the types in it, so a change of those is a new format; a fixture in the tests notices.

use crate::ledger::{Record, Revision, Shelf};

/// The format that this release writes. It reads all from 1 to this.
pub const FORMAT: u8 = 1;

/// Thirty rows of this length fit in a leaf.
pub const LONGEST: usize = 4096;

const WHOLE: u8 = 0;
const PARTED: u8 = 1;

pub const FORMAT_ROW: &[u8] = b"mformat";
pub const STATE_ROW: &[u8] = b"mstate";
pub const ACCOUNTS: &[u8] = b"a";
pub const KEYS: &[u8] = b"k";

/// Why a row cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    TooNew(u8),
    Unreadable(String),
}

pub fn account_row(account: &str) -> Vec<u8> {
    [ACCOUNTS, account.as_bytes()].concat()
}

pub fn shelf_rows(shelf: Shelf) -> [u8; 2] {
    // These numbers are stored: never use one again for another shelf.
    let number = match shelf {
        Shelf::Domains => 1,
        Shelf::Outbox => 2,
        Shelf::Directory => 3,
        Shelf::Jobs => 4,
        Shelf::Types => 5,
        Shelf::Notices => 6,
        Shelf::Gone => 7,
    };
    [b's', number]
}

pub fn shelf_row(shelf: Shelf, key: &[u8]) -> Vec<u8> {
    [&shelf_rows(shelf), key].concat()
}

pub fn part_row(index: u32, head_row: &[u8]) -> Vec<u8> {
    [b"p", &index.to_be_bytes()[..], head_row].concat()
}

pub fn key_row(sequence: u64) -> Vec<u8> {
    [KEYS, &sequence.to_be_bytes()].concat()
}

/// What a head says of its payload.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    Whole(&'a [u8]),
    Parts(u32),
}

pub fn read_head(row: &[u8]) -> Result<Head<'_>, Fault> {
    match body(row)? {
        [WHOLE, payload @ ..] => Ok(Head::Whole(payload)),
        [PARTED, count @ ..] => {
            let count = count.try_into().map_err(|_| Fault::Unreadable("a head without its count".into()))?;
            Ok(Head::Parts(u32::from_le_bytes(count)))
        }
        _ => Err(Fault::Unreadable("a head of an unknown form".into())),
    }
}

/// The head row and the parts that a payload is stored as.
pub fn write_rows(payload: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    if payload.len() <= LONGEST {
        return ([&[FORMAT, WHOLE], payload].concat(), Vec::new());
    }
    let parts: Vec<&[u8]> = payload.chunks(LONGEST).collect();
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    ([&[FORMAT, PARTED], &count.to_le_bytes()[..]].concat(), parts)
}

pub fn write_record(record: &Record) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(record).map_err(|error| error.to_string())
}

pub fn read_record(payload: &[u8]) -> Result<Record, Fault> {
    let unreadable = |why: String| Fault::Unreadable(format!("a record that cannot be read: {why}"));
    match postcard::take_from_bytes(payload) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(unreadable(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// What a ledger knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The highest revision that a forgotten account had.
    pub floor: Revision,
    /// How many groups of batches were ever written.
    pub groups: u64,
}

pub fn write_state(state: State) -> Vec<u8> {
    [&[FORMAT], &state.floor.to_le_bytes()[..], &state.groups.to_le_bytes()].concat()
}

pub fn read_state(row: &[u8]) -> Result<State, Fault> {
    let numbers: [u8; 16] = body(row)?.try_into().map_err(|_| Fault::Unreadable("a state of a wrong length".into()))?;
    let both = u128::from_le_bytes(numbers);
    Ok(State { floor: both as u64, groups: (both >> 64) as u64 })
}

pub fn write_key(key: u128) -> Vec<u8> {
    [&[FORMAT], &key.to_le_bytes()[..]].concat()
}

pub fn read_key(row: &[u8], value: &[u8]) -> Result<(u64, u128), Fault> {
    let wrong = |_| Fault::Unreadable("an idempotency key of a wrong length".into());
    let sequence = row.strip_prefix(KEYS).unwrap_or_default().try_into().map_err(wrong)?;
    let key = body(value)?.try_into().map_err(wrong)?;
    Ok((u64::from_be_bytes(sequence), u128::from_le_bytes(key)))
}

fn body(row: &[u8]) -> Result<&[u8], Fault> {
    match row {
        [1..=FORMAT, body @ ..] => Ok(body),
        [later @ FORMAT..=u8::MAX, ..] => Err(Fault::TooNew(*later)),
        _ => Err(Fault::Unreadable("a row without its format".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{CellKey, Usage};

    #[test]
    fn a_record_is_stored_as_it_was_in_the_first_release() {
        let cells = [(CellKey::new("INBOX", Some("voice")), Usage::new(300, 2))].into_iter().collect();
        let record = Record { revision: 7, cells, ..Record::default() };
        let payload = write_record(&record).unwrap();
        assert_eq!(payload, b"\x07\x01\x05INBOX\x01\x05voice\xac\x02\x02\x00\x00");
        assert_eq!(read_record(&payload), Ok(record));
    }

    #[test]
    fn payloads_of_every_length_come_back_from_their_rows() {
        for length in [0, 1, LONGEST, LONGEST + 1, 3 * LONGEST, 3 * LONGEST + 1] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let (head, parts) = write_rows(&payload);
            match read_head(&head).unwrap() {
                Head::Whole(whole) => assert_eq!(whole, payload),
                Head::Parts(count) => {
                    assert_eq!(count as usize, parts.len());
                    assert_eq!(parts.concat(), payload);
                }
            }
            assert!(head.len() <= LONGEST + 2 && parts.iter().all(|part| part.len() <= LONGEST));
        }
    }

    #[test]
    fn a_state_comes_back() {
        let state = State { floor: 3, groups: u64::MAX - 7 };
        assert_eq!(read_state(&write_state(state)), Ok(state));
    }

    #[test]
    fn what_a_later_release_wrote_is_told_from_what_is_broken() {
        assert_eq!(read_head(&[FORMAT + 1, 0]), Err(Fault::TooNew(FORMAT + 1)));
        assert_eq!(read_state(&[FORMAT + 4]), Err(Fault::TooNew(FORMAT + 4)));
        for broken in [&[][..], &[0], &[FORMAT], &[FORMAT, 9], &[FORMAT, PARTED, 1]] {
            assert!(matches!(read_head(broken), Err(Fault::Unreadable(_))), "{broken:?}");
        }
        assert!(read_record(b"\x07\x01").is_err());
        assert!(read_record(b"\x07\x00\x00\x00more").is_err());
    }
}
