//! From a recipient's address to the accounts that a message for it would be stored in.

use std::sync::Arc;

use smallvec::SmallVec;

use super::account::Account;
use super::book::{Book, Target};
use crate::account::{GroupEntry, Member};

/// The longest address that is looked up: RFC 5321 section 4.5.3.1 allows 64 + 1 + 255 bytes.
const LONGEST: usize = 320;

/// Members of groups of groups are followed up to this many in all; a message for more people than
/// that is never refused for the sake of the first ones.
const MOST: usize = 512;

/// Where an address leads.
#[derive(Default)]
pub struct Expansion {
    pub accounts: SmallVec<[Arc<Account>; 4]>,
    /// Part of it leads to addresses that are not here.
    pub others: bool,
    /// It is nobody's with its extension, and somebody's without.
    pub extended: bool,
}

impl Expansion {
    pub fn is_unknown(&self) -> bool {
        self.accounts.is_empty()
    }
}

/// Expands an address as the MTA got it: any case, perhaps with an extension.
pub fn expand(book: &Book, delimiter: &[char], address: &str) -> Expansion {
    let mut found = Expansion::default();
    let mut buffer = [0; LONGEST];
    match lower_case(address, &mut buffer) {
        Some(lower) => {
            if let Some((target, extended)) = look_up(book, delimiter, lower) {
                found.extended = extended;
                follow(book, &target, &mut found);
            }
        }
        None if address.is_ascii() || address.len() > LONGEST => {}
        // Rare (RFC 6531), so it may allocate.
        None => {
            if let Some((target, extended)) = look_up(book, delimiter, &address.to_lowercase()) {
                found.extended = extended;
                follow(book, &target, &mut found);
            }
        }
    }
    found.others |= found.accounts.is_empty();
    found
}

fn lower_case<'a>(address: &str, buffer: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let lower = buffer.get_mut(..address.len())?;
    lower.copy_from_slice(address.as_bytes());
    lower.make_ascii_lowercase();
    address.is_ascii().then_some(())?;
    std::str::from_utf8(lower).ok()
}

/// The address itself, else without its extension (and that it is), else what takes all mail of the domain.
fn look_up(book: &Book, delimiter: &[char], address: &str) -> Option<(Target, bool)> {
    if let Some(target) = book.find(address) {
        return Some((target, false));
    }
    let at = address.rfind('@')?;
    let (local, domain) = address.split_at(at);
    if let Some(end) = local.find(delimiter).filter(|end| *end > 0) {
        let mut buffer = [0; LONGEST];
        let plain = join(&local[..end], domain, &mut buffer)?;
        if let Some(target) = book.find(plain) {
            return Some((target, true));
        }
    }
    Some((book.find(domain)?, false))
}

/// What stands between the delimiter and the domain.
pub fn extension<'a>(delimiter: &[char], address: &'a str) -> Option<&'a str> {
    let (local, _) = address.rsplit_once('@')?;
    let at = local.find(delimiter).filter(|at| *at > 0)?;
    let mut rest = local[at..].chars();
    rest.next();
    Some(rest.as_str()).filter(|extension| !extension.is_empty())
}

fn join<'a>(local: &str, domain: &str, buffer: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let joined = buffer.get_mut(..local.len() + domain.len())?;
    joined[..local.len()].copy_from_slice(local.as_bytes());
    joined[local.len()..].copy_from_slice(domain.as_bytes());
    std::str::from_utf8(joined).ok()
}

fn follow(book: &Book, target: &Target, found: &mut Expansion) {
    match target {
        Target::Account(account) => {
            let forwards = account.lock().links().forwards.clone();
            if !add(account, found) {
                return;
            }
            // A copy that goes elsewhere is the forwarding server's business: the mailbox here decides.
            for target in forwards.iter().filter_map(|address| book.find(address)) {
                follow(book, &target, found);
            }
        }
        Target::Group(group) => {
            let mut seen = SmallVec::<[Arc<GroupEntry>; 4]>::new();
            follow_group(book, group, &mut seen, found);
        }
    }
}

/// Whether the account had not been met before: what cuts loops of forwards.
fn add(account: &Arc<Account>, found: &mut Expansion) -> bool {
    if found.accounts.iter().any(|known| Arc::ptr_eq(known, account)) {
        return false;
    }
    if found.accounts.len() >= MOST {
        found.others = true;
        return false;
    }
    found.accounts.push(account.clone());
    true
}

fn follow_group(
    book: &Book,
    group: &Arc<GroupEntry>,
    seen: &mut SmallVec<[Arc<GroupEntry>; 4]>,
    found: &mut Expansion,
) {
    if seen.len() >= MOST {
        found.others = true;
        return;
    }
    if seen.iter().any(|known| Arc::ptr_eq(known, group)) {
        return;
    }
    seen.push(group.clone());
    for member in &group.members {
        let target = match member {
            Member::Address(address) => book.find(address),
            Member::Dn(dn) => book.find_dn(dn),
        };
        match target {
            Some(Target::Group(inner)) => follow_group(book, &inner, seen, found),
            Some(target) => follow(book, &target, found),
            None => found.others = true,
        }
    }
}
