//! The questions that an NFS server answers about quotas: ONC RPC (RFC 5531) in XDR (RFC 4506), program 100011
//! (`rquota.x`), and the port mapper (RFC 1833, version 2) that knows where it listens.
//!
//! Numbers are 32 bits, big-endian; strings and opaque data carry their length and are padded to four bytes. Over
//! TCP a message is a record of fragments, each behind four bytes: the top bit says that it is the last, the rest
//! is its length. The replies that are wanted here have no strings but the verifier, and fit in [`REPLY_LIMIT`].
//!
//! Not here: authentication beyond AUTH_UNIX, which rquotad takes at its word.

/// Longer replies are none that we have asked for.
pub const REPLY_LIMIT: usize = 1024;

/// `RQ_PATHLEN` of rquota.x.
pub const PATH_LIMIT: usize = 1024;

const PORTMAPPER: u32 = 100_000;
const RQUOTA: u32 = 100_011;
const RPC_VERSION: u32 = 2;
const GETPORT: u32 = 3;
const GETQUOTA: u32 = 1;
/// In the name of a group nobody in particular asks.
const NOBODY: u32 = 65_534;
const AUTH_NONE: u32 = 0;
const AUTH_UNIX: u32 = 1;
const CALL: u32 = 0;
const REPLY: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// Whose quota. Groups need version 2 of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    User,
    Group,
}

/// As rquotad counts: in blocks, with what is left of the grace periods in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub block_size: u32,
    pub active: bool,
    pub hard_blocks: u32,
    pub soft_blocks: u32,
    pub blocks: u32,
    pub hard_files: u32,
    pub soft_files: u32,
    pub files: u32,
    /// Negative once it has run out, 0 while it does not run.
    pub blocks_left: i32,
    pub files_left: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Quota(Quota),
    /// There is none for this user, or the file system has none at all.
    NoQuota,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the reply is cut off")]
    Short,
    #[error("it is no reply of RPC")]
    NotAReply,
    #[error("the server refuses the call (RPC version or authentication)")]
    Denied,
    #[error("the server has no such program, version or procedure (status {0})")]
    NotAccepted(u32),
    #[error("the server does not let us ask for this user (EPERM)")]
    NotPermitted,
    #[error("a status that rquota does not have: {0}")]
    Status(u32),
    #[error("the port mapper knows no rquota service; is rpc.rquotad running?")]
    NoPort,
    #[error("a port that is none: {0}")]
    BadPort(u32),
}

/// A call of the port mapper: where does rquota listen?
pub fn ask_port(xid: u32, transport: Transport, whose: Whose) -> Vec<u8> {
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    let protocol = if transport == Transport::Tcp { TCP } else { UDP };
    let mut call = call(xid, [PORTMAPPER, 2, GETPORT]);
    numbers(&mut call, &[AUTH_NONE, 0, AUTH_NONE, 0]);
    numbers(&mut call, &[RQUOTA, version(whose), protocol, 0]);
    call
}

/// A call of rquota: what is the quota of `id` on the file system of `path`? It is made in the name of that user,
/// because rquotad tells others nothing. A path longer than [`PATH_LIMIT`] is cut, which finds nothing.
pub fn ask_quota(xid: u32, whose: Whose, path: &str, id: u32) -> Vec<u8> {
    let mut call = call(xid, [RQUOTA, version(whose), GETQUOTA]);
    let (uid, gid) = if whose == Whose::User { (id, NOBODY) } else { (NOBODY, id) };
    // Stamp, machine name, uid, gid, no further groups; then no verifier.
    numbers(&mut call, &[AUTH_UNIX, 20, xid, 0, uid, gid, 0, AUTH_NONE, 0]);
    string(&mut call, path.as_bytes().get(..PATH_LIMIT).unwrap_or(path.as_bytes()));
    match whose {
        Whose::User => numbers(&mut call, &[id]),
        Whose::Group => numbers(&mut call, &[1, id]),
    }
    call
}

const fn version(whose: Whose) -> u32 {
    match whose {
        Whose::User => 1,
        Whose::Group => 2,
    }
}

fn call(xid: u32, [program, version, procedure]: [u32; 3]) -> Vec<u8> {
    let mut call = Vec::with_capacity(128);
    numbers(&mut call, &[xid, CALL, RPC_VERSION, program, version, procedure]);
    call
}

fn numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    numbers(out, &[u32::try_from(text.len()).unwrap_or(0)]);
    out.extend_from_slice(text);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The call that a message answers, to tell replies apart; `None` if it is too short to say.
pub fn xid(message: &[u8]) -> Option<u32> {
    Reader(message).number().ok()
}

/// Reads the port mapper's reply.
pub fn read_port(message: &[u8]) -> Result<u16, Invalid> {
    match accepted(message)?.number()? {
        0 => Err(Invalid::NoPort),
        port => u16::try_from(port).map_err(|_| Invalid::BadPort(port)),
    }
}

/// Reads rquota's reply.
pub fn read_quota(message: &[u8]) -> Result<Answer, Invalid> {
    let mut reader = accepted(message)?;
    match reader.number()? {
        1 => {}
        2 => return Ok(Answer::NoQuota),
        3 => return Err(Invalid::NotPermitted),
        status => return Err(Invalid::Status(status)),
    }
    Ok(Answer::Quota(Quota {
        block_size: reader.number()?,
        active: reader.number()? != 0,
        hard_blocks: reader.number()?,
        soft_blocks: reader.number()?,
        blocks: reader.number()?,
        hard_files: reader.number()?,
        soft_files: reader.number()?,
        files: reader.number()?,
        blocks_left: reader.number()?.cast_signed(),
        files_left: reader.number()?.cast_signed(),
    }))
}

/// What stands behind the head of a reply that was accepted.
fn accepted(message: &[u8]) -> Result<Reader<'_>, Invalid> {
    let mut reader = Reader(message);
    let (_xid, direction) = (reader.number()?, reader.number()?);
    if direction != REPLY {
        return Err(Invalid::NotAReply);
    }
    if reader.number()? != 0 {
        return Err(Invalid::Denied);
    }
    let (_flavour, length) = (reader.number()?, reader.number()?);
    reader.skip(usize::try_from(length).map_err(|_| Invalid::Short)?)?;
    match reader.number()? {
        0 => Ok(reader),
        status => Err(Invalid::NotAccepted(status)),
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Result<u32, Invalid> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or(Invalid::Short)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    fn skip(&mut self, length: usize) -> Result<(), Invalid> {
        let padded = length.checked_next_multiple_of(4).ok_or(Invalid::Short)?;
        self.0 = self.0.get(padded..).ok_or(Invalid::Short)?;
        Ok(())
    }
}

/// A message as a record of one fragment, for TCP.
pub fn record(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(0) | LAST;
    [&length.to_be_bytes(), message].concat()
}

const LAST: u32 = 1 << 31;

/// The length of the fragment behind this mark, and whether it is the last one.
pub fn fragment(mark: [u8; 4]) -> (usize, bool) {
    let mark = u32::from_be_bytes(mark);
    ((mark & !LAST) as usize, mark & LAST != 0)
}

#[cfg(test)]
#[path = "rquota_tests.rs"]
mod tests;
