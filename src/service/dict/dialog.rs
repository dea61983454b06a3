//! What is said on one connection of the dict protocol: who the user is, and which transactions are open.

use hashbrown::HashMap;

use crate::service::conversation::Protocol;
use crate::service::socket::Peer;
use crate::wire::dict::key::{self, Key};
use crate::wire::dict::{self, Command, Committed, Invalid, LINE_LIMIT, MAJORS, flags};

/// What stands behind the keys. It is asked on the connection's thread, while a delivery waits.
pub trait Keeper: Send + Sync + 'static {
    /// The number under a key; `None` where there is none.
    fn look_up(&self, user: &str, key: Key<'_>) -> Option<u64>;

    /// Does all that one transaction holds, in its order.
    fn commit(&self, user: &str, changes: &[Change], peer: &Peer) -> Committed;
}

/// A change within a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Box<str>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Set(Box<str>),
    Unset,
    Increase(i64),
    Append,
}

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("version {major} of the protocol; accepted: {} to {}", MAJORS.start(), MAJORS.end())]
    Version { major: u32 },
    #[error("a command before HELLO")]
    NoHello,
    #[error("HELLO for the second time")]
    HelloAgain,
    #[error("the transaction {0} is not open")]
    NotOpen(u32),
    #[error("the transaction {0} is open already")]
    OpenAlready(u32),
    #[error("more than {OPEN_LIMIT} transactions, or {HELD_LIMIT} bytes in them, are open")]
    TooMuch,
}

/// Dovecot opens a transaction at a time, a dict server of its own up to a thousand.
const OPEN_LIMIT: usize = 1000;

/// Bytes of keys and values in open transactions.
const HELD_LIMIT: usize = 4 << 20;

/// What a change takes beside its key and value.
const CHANGE_OVERHEAD: usize = 64;

/// One connection.
pub struct Dialog<'a, K: ?Sized> {
    keeper: &'a K,
    peer: &'a Peer,
    /// Once HELLO has been said: the version, and the user that it named.
    hello: Option<(u32, Box<str>)>,
    open: HashMap<u32, Transaction>,
    held: usize,
}

#[derive(Default)]
struct Transaction {
    user: Box<str>,
    changes: Vec<Change>,
    held: usize,
}

impl<K: Keeper + ?Sized> Protocol for Dialog<'_, K> {
    type Invalid = Broken;

    const REQUEST_LIMIT: usize = LINE_LIMIT;

    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<Option<usize>, Broken> {
        let major = self.hello.as_ref().map_or(*MAJORS.start(), |(major, _)| *major);
        let Some((command, length)) = dict::parse(input, major)? else { return Ok(None) };
        self.carry_out(command, output)?;
        Ok(Some(length))
    }
}

impl<'a, K: Keeper + ?Sized> Dialog<'a, K> {
    pub fn new(keeper: &'a K, peer: &'a Peer) -> Dialog<'a, K> {
        Dialog { keeper, peer, hello: None, open: HashMap::new(), held: 0 }
    }

    fn carry_out(&mut self, command: Command<'_>, output: &mut Vec<u8>) -> Result<(), Broken> {
        let Some((_, user_of_all)) = &self.hello else {
            let Command::Hello { major, user, .. } = command else { return Err(Broken::NoHello) };
            if !MAJORS.contains(&major) {
                return Err(Broken::Version { major });
            }
            self.hello = Some((major, user.as_deref().unwrap_or_default().into()));
            return Ok(());
        };
        match command {
            Command::Hello { .. } => return Err(Broken::HelloAgain),
            Command::Lookup { key, user } => {
                let user = user.as_deref().unwrap_or(user_of_all);
                let found = self.keeper.look_up(user, Key::read(&key)).map(|number| number.to_string());
                dict::looked_up(output, Ok(found.as_deref()));
            }
            Command::Iterate { flags, most, paths, user } => {
                let user = user.as_deref().unwrap_or(user_of_all);
                let fit = |key: &&str| paths.iter().any(|path| lies_in(key, path, flags));
                let rows = [key::STORAGE, key::MESSAGES].into_iter().filter(fit);
                let found = rows.filter_map(|key| Some((key, self.keeper.look_up(user, Key::read(key))?)));
                let most = if most == 0 { usize::MAX } else { usize::try_from(most).unwrap_or(usize::MAX) };
                for (key, number) in found.take(most) {
                    let value = (flags & flags::NO_VALUE == 0).then(|| number.to_string());
                    dict::row(output, key, value.as_deref());
                }
                dict::rows_end(output);
            }
            Command::Begin { id, user } => {
                if self.open.contains_key(&id) {
                    return Err(Broken::OpenAlready(id));
                }
                if self.open.len() >= OPEN_LIMIT {
                    return Err(Broken::TooMuch);
                }
                let user = user.as_deref().unwrap_or(user_of_all).into();
                self.open.insert(id, Transaction { user, ..Transaction::default() });
            }
            Command::Set { id, key, value } => self.change(id, &key, What::Set((&*value).into()))?,
            Command::Unset { id, key } => self.change(id, &key, What::Unset)?,
            Command::Increase { id, key, by } => self.change(id, &key, What::Increase(by))?,
            Command::Append { id, key } => self.change(id, &key, What::Append)?,
            Command::Aside { id } => drop(self.open.get(&id).ok_or(Broken::NotOpen(id))?),
            Command::Commit { id, old } => {
                let transaction = self.close(id)?;
                let committed = self.keeper.commit(&transaction.user, &transaction.changes, self.peer);
                dict::committed(output, id, old, &committed);
            }
            Command::Rollback { id } => drop(self.close(id)?),
        }
        Ok(())
    }

    fn change(&mut self, id: u32, key: &str, what: What) -> Result<(), Broken> {
        let transaction = self.open.get_mut(&id).ok_or(Broken::NotOpen(id))?;
        let value = if let What::Set(value) = &what { value.len() } else { 0 };
        let size = key.len() + value + CHANGE_OVERHEAD;
        if self.held + size > HELD_LIMIT {
            return Err(Broken::TooMuch);
        }
        (self.held, transaction.held) = (self.held + size, transaction.held + size);
        transaction.changes.push(Change { key: key.into(), what });
        Ok(())
    }

    fn close(&mut self, id: u32) -> Result<Transaction, Broken> {
        let transaction = self.open.remove(&id).ok_or(Broken::NotOpen(id))?;
        self.held -= transaction.held;
        Ok(transaction)
    }
}

/// Whether ITERATE of `path` comes to `key`.
fn lies_in(key: &str, path: &str, flags: u32) -> bool {
    if flags & flags::EXACT_KEY != 0 {
        return key == path;
    }
    let below = key.strip_prefix(path).filter(|_| path.is_empty() || path.ends_with('/'));
    below.is_some_and(|below| flags & flags::RECURSE != 0 || !below.contains('/'))
}
