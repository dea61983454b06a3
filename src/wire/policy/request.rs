//! The request: its attributes, its limits and the parser.

use memchr::memchr;

/// The longest line, its end not counted. Postfix documents four times its `line_length_limit` of 2048 for
/// an attribute; that limit also bounds the addresses that a stranger can send.
pub const LINE_LIMIT: usize = 8 * 1024;

/// The longest request, the empty line included. The some 35 attributes of Postfix 3.11 take about 1 KiB;
/// with sender, recipient and HELO name as long as SMTP lines can make them, and encoded certificate names,
/// they stay below 12 KiB. A session holds one buffer of this size.
pub const REQUEST_LIMIT: usize = 16 * 1024;

/// Stands for a value that is not UTF-8: it is not empty and equals no address, name or number.
pub const NOT_UTF8: &str = "\u{fffd}";

/// Where in the SMTP dialogue Postfix asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    Connect,
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    EndOfMessage,
    Vrfy,
    Etrn,
    /// Absent, or one that Postfix may invent later.
    #[default]
    Other,
}

impl State {
    fn read(value: &[u8]) -> State {
        match value {
            b"CONNECT" => State::Connect,
            b"EHLO" => State::Ehlo,
            b"HELO" => State::Helo,
            b"MAIL" => State::Mail,
            b"RCPT" => State::Rcpt,
            b"DATA" => State::Data,
            b"END-OF-MESSAGE" => State::EndOfMessage,
            b"VRFY" => State::Vrfy,
            b"ETRN" => State::Etrn,
            _ => State::Other,
        }
    }
}

/// One request. A text attribute that was not sent is empty and a number 0, which is also how Postfix sends
/// what it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    pub state: State,
    /// Empty for a bounce.
    pub sender: &'a str,
    /// As the client gave it: case and extension kept, no alias expanded. Empty at DATA and END-OF-MESSAGE
    /// where the message has several recipients.
    pub recipient: &'a str,
    /// Accepted recipients; 0 before DATA.
    pub recipient_count: u64,
    /// Bytes: what SIZE= announced up to DATA (0 if nothing), the real size at END-OF-MESSAGE. A number past
    /// 64 bits counts as the largest.
    pub size: u64,
    /// The same for all requests of one message; unique on one MTA host only. Empty outside of a message.
    pub instance: &'a str,
    pub queue_id: &'a str,
    pub client_address: &'a str,
    pub client_name: &'a str,
    pub helo_name: &'a str,
    pub sasl_username: &'a str,
    pub policy_context: &'a str,
    pub server_address: &'a str,
    pub server_port: &'a str,
}

/// Why bytes are no request. The protocol has no reply for this: log it and disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("a line is longer than {LINE_LIMIT} bytes")]
    LongLine,
    #[error("the request is longer than {REQUEST_LIMIT} bytes")]
    LongRequest,
    #[error("a line is not name=value")]
    NoEquals,
    #[error("the request does not hold request=smtpd_access_policy")]
    NotPolicy,
    #[error("size is not a number")]
    Size,
    #[error("recipient_count is not a number")]
    RecipientCount,
}

/// The attributes that are kept, as places in [`Parser::values`].
#[derive(Clone, Copy)]
enum Attribute {
    Request,
    State,
    Sender,
    Recipient,
    RecipientCount,
    Size,
    Instance,
    QueueId,
    ClientAddress,
    ClientName,
    HeloName,
    SaslUsername,
    PolicyContext,
    ServerAddress,
    ServerPort,
}

const ATTRIBUTES: usize = Attribute::ServerPort as usize + 1;

impl Attribute {
    /// By length first, so that hardly ever more than one comparison is made.
    fn read(name: &[u8]) -> Option<Attribute> {
        Some(match name.len() {
            4 if name == b"size" => Attribute::Size,
            6 if name == b"sender" => Attribute::Sender,
            7 if name == b"request" => Attribute::Request,
            8 if name == b"instance" => Attribute::Instance,
            8 if name == b"queue_id" => Attribute::QueueId,
            9 if name == b"recipient" => Attribute::Recipient,
            9 if name == b"helo_name" => Attribute::HeloName,
            11 if name == b"client_name" => Attribute::ClientName,
            11 if name == b"server_port" => Attribute::ServerPort,
            13 if name == b"sasl_username" => Attribute::SaslUsername,
            14 if name == b"protocol_state" => Attribute::State,
            14 if name == b"client_address" => Attribute::ClientAddress,
            14 if name == b"server_address" => Attribute::ServerAddress,
            14 if name == b"policy_context" => Attribute::PolicyContext,
            15 if name == b"recipient_count" => Attribute::RecipientCount,
            _ => return None,
        })
    }
}

/// Reads requests from bytes that arrive piecemeal.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    /// Where the line begins that has not ended yet.
    line: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// Begin and end of every value seen; (0, 0) is none, for a value always has its name before it.
    values: [(u32, u32); ATTRIBUTES],
}

impl Parser {
    /// Looks for a request at the beginning of `bytes` and yields it with its length. `None`: more bytes are
    /// needed; the next call must show the same bytes again with more behind them. After a request the parser
    /// is ready for the next one. After an error it is of no more use: there is no telling where a next
    /// request would begin.
    pub fn parse<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(Request<'a>, usize)>, Invalid> {
        let within = &bytes[..bytes.len().min(REQUEST_LIMIT)];
        while let Some(found) = memchr(b'\n', &within[self.searched..]) {
            let (begin, end) = (self.line, self.searched + found);
            (self.line, self.searched) = (end + 1, end + 1);
            let line = &within[begin..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                let request = self.request(&within[..=end])?;
                *self = Parser::default();
                return Ok(Some((request, end + 1)));
            }
            // Nearly always among the first bytes of the line, and a search that may look further than its
            // end needs no special case for its last bytes.
            let equals = memchr(b'=', &within[begin..]).filter(|equals| *equals < line.len());
            self.attribute(begin, line, equals)?;
        }
        self.searched = within.len();
        // One byte of grace for a CR whose LF has not come yet.
        if self.searched.saturating_sub(self.line) > LINE_LIMIT + 1 {
            return Err(Invalid::LongLine);
        }
        match within.len() == REQUEST_LIMIT {
            true => Err(Invalid::LongRequest),
            false => Ok(None),
        }
    }

    /// `equals`: where the first `=` of the line is.
    fn attribute(&mut self, begin: usize, line: &[u8], equals: Option<usize>) -> Result<(), Invalid> {
        if line.len() > LINE_LIMIT {
            return Err(Invalid::LongLine);
        }
        let equals = equals.ok_or(Invalid::NoEquals)?;
        if let Some(name) = Attribute::read(&line[..equals]) {
            let value = &mut self.values[name as usize];
            if *value == (0, 0) {
                // Both are at most REQUEST_LIMIT.
                *value = ((begin + equals + 1) as u32, (begin + line.len()) as u32);
            }
        }
        Ok(())
    }

    fn request<'a>(&self, bytes: &'a [u8]) -> Result<Request<'a>, Invalid> {
        let raw = |name: Attribute| {
            let (begin, end) = self.values[name as usize];
            &bytes[begin as usize..end as usize]
        };
        // Checked as a whole, which is several times faster than value by value.
        let whole = str::from_utf8(bytes);
        let text = |name: Attribute| match whole {
            Ok(whole) => {
                let (begin, end) = self.values[name as usize];
                whole.get(begin as usize..end as usize).unwrap_or(NOT_UTF8)
            }
            Err(_) => str::from_utf8(raw(name)).unwrap_or(NOT_UTF8),
        };
        if raw(Attribute::Request) != b"smtpd_access_policy" {
            return Err(Invalid::NotPolicy);
        }
        Ok(Request {
            state: State::read(raw(Attribute::State)),
            sender: text(Attribute::Sender),
            recipient: text(Attribute::Recipient),
            recipient_count: number(raw(Attribute::RecipientCount)).ok_or(Invalid::RecipientCount)?,
            size: number(raw(Attribute::Size)).ok_or(Invalid::Size)?,
            instance: text(Attribute::Instance),
            queue_id: text(Attribute::QueueId),
            client_address: text(Attribute::ClientAddress),
            client_name: text(Attribute::ClientName),
            helo_name: text(Attribute::HeloName),
            sasl_username: text(Attribute::SaslUsername),
            policy_context: text(Attribute::PolicyContext),
            server_address: text(Attribute::ServerAddress),
            server_port: text(Attribute::ServerPort),
        })
    }
}

/// Digits; nothing at all is 0. Stops at the largest number instead of wrapping round.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}
