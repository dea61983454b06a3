//! The stream of Postfix's showq(8), at `public/showq` below the queue directory: connect and read.
//!
//! Attributes are pairs of a name and a value, each ended by a NUL byte; an empty name ends a record, and an empty
//! record the stream. The first record names the protocol. Then comes one for each message: `queue_name`,
//! `queue_id`, `time`, `size`, `forced_expire`, `sender`, and `recipient` with its `reason`, over and over.
//! Postfix 3.11 has more names; there is no version, so unknown ones are passed over, and so is their order.
//!
//! A stream that ends without the empty record is not complete: showq died, and what it did not show is not gone.
//! Limits: [`VALUE_LIMIT`].

use super::listed::Listed;

/// The longest name or value, in bytes. A reason is some hundred; addresses are bound by SMTP's lines.
pub const VALUE_LIMIT: usize = 64 * 1024;

const PROTOCOL: &[u8] = b"mail_queue_list_protocol";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("this is not the list of a mail queue: its first attribute is another one")]
    Protocol,
    #[error("a value is longer than {VALUE_LIMIT} bytes")]
    Long,
    #[error("a message has no queue_id, or its time or size is no number")]
    Message,
    #[error("something follows the end of the list")]
    Trailing,
}

/// Reads the list from bytes that arrive piecemeal.
#[derive(Debug, Default)]
pub struct Reader {
    /// The name whose value comes next.
    name: Option<Name>,
    /// A name or value that has not ended yet.
    rest: Vec<u8>,
    message: Listed,
    begun: bool,
    /// Whether the record that names the protocol has ended.
    greeted: bool,
    filled: bool,
    broken: bool,
    complete: bool,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Protocol,
    Id,
    Time,
    Size,
    Sender,
    Recipient,
    Other,
}

impl Reader {
    /// Takes in more bytes and shows each message that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&mut Listed)) -> Result<(), Invalid> {
        while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            let (word, more) = (&bytes[..end], &bytes[end + 1..]);
            bytes = more;
            if self.rest.is_empty() {
                self.word(word, each)?;
            } else {
                self.keep(word)?;
                let rest = std::mem::take(&mut self.rest);
                self.word(&rest, each)?;
                self.rest = rest;
                self.rest.clear();
            }
        }
        self.keep(bytes)
    }

    /// Whether the list has come to its end.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > VALUE_LIMIT { Err(Invalid::Long) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8], each: &mut dyn FnMut(&mut Listed)) -> Result<(), Invalid> {
        if self.complete {
            return Err(Invalid::Trailing);
        }
        match self.name.take() {
            Some(name) => self.value(name, word),
            None if word.is_empty() => self.end(each),
            None => {
                self.name = Some(match word {
                    b"protocol" => Name::Protocol,
                    _ if !self.begun => return Err(Invalid::Protocol),
                    b"queue_id" => Name::Id,
                    b"time" => Name::Time,
                    b"size" => Name::Size,
                    b"sender" => Name::Sender,
                    b"recipient" => Name::Recipient,
                    _ => Name::Other,
                });
                Ok(())
            }
        }
    }

    fn value(&mut self, name: Name, value: &[u8]) -> Result<(), Invalid> {
        let number = || std::str::from_utf8(value).ok().and_then(|digits| digits.trim().parse().ok());
        // Addresses that are no UTF-8 are kept apart from each other as well as text can.
        let text = || String::from_utf8_lossy(value);
        match name {
            Name::Protocol if !self.begun && value != PROTOCOL => return Err(Invalid::Protocol),
            Name::Protocol => self.begun = true,
            Name::Id => self.message.id.push_str(&text()),
            Name::Time => self.message.arrival = number().unwrap_or_else(|| self.fail()),
            Name::Size => self.message.size = number().unwrap_or_else(|| self.fail()),
            Name::Sender => self.message.set_sender(&text()),
            Name::Recipient => self.message.add_recipient(&text()),
            Name::Other => {}
        }
        self.filled |= !matches!(name, Name::Protocol);
        Ok(())
    }

    fn fail(&mut self) -> u64 {
        self.broken = true;
        0
    }

    fn end(&mut self, each: &mut dyn FnMut(&mut Listed)) -> Result<(), Invalid> {
        if !self.begun {
            return Err(Invalid::Protocol);
        }
        match (self.greeted, self.filled) {
            (false, _) => self.greeted = true,
            (true, false) => self.complete = true,
            (true, true) if self.broken || self.message.id.is_empty() => return Err(Invalid::Message),
            (true, true) => {
                each(&mut self.message);
                self.message.clear();
            }
        }
        self.filled = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Postfix 3.7.11 sent it, shortened.
    const LIST: &[u8] = b"protocol\x00mail_queue_list_protocol\x00\x00\
        queue_name\x00active\x00queue_id\x004AB\x00time\x001795300000\x00size\x00348\x00forced_expire\x000\x00sender\x00a@x\x00\
        recipient\x00B@y\x00reason\x00\x00recipient\x00c@z\x00reason\x00connect to z: refused\x00\x00\
        queue_name\x00hold\x00queue_id\x004AC\x00time\x001795300001\x00size\x001000\x00sender\x00MAILER-DAEMON\x00\
        log_class\x00x\x00recipient\x00d@z\x00\x00\x00";

    fn read(pieces: &[&[u8]]) -> Result<(Vec<Listed>, bool), Invalid> {
        let (mut reader, mut shown) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, &mut |message| shown.push(message.clone()))?;
        }
        Ok((shown, reader.is_complete()))
    }

    fn told(message: &Listed) -> String {
        let recipients: Vec<_> = message.recipients().collect();
        format!("{} {} {} <{}> {recipients:?}", message.id, message.arrival, message.size, message.sender())
    }

    #[test]
    fn a_list_is_read() {
        let (shown, complete) = read(&[LIST]).unwrap();
        let told: Vec<_> = shown.iter().map(told).collect();
        assert_eq!(told, [r#"4AB 1795300000 348 <a@x> ["B@y", "c@z"]"#, r#"4AC 1795300001 1000 <> ["d@z"]"#]);
        assert!(complete);
        assert_eq!(read(&[b"protocol\x00mail_queue_list_protocol\x00\x00\x00"]).unwrap(), (vec![], true));
    }

    #[test]
    fn a_list_that_breaks_off_is_not_complete() {
        for end in 0..LIST.len() {
            let (shown, complete) = read(&[&LIST[..end]]).unwrap();
            assert!(!complete && shown.len() <= 2, "{end}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (bytes, expected) in [
            (&b"220 mail.example ESMTP\r\n\x00x"[..], Invalid::Protocol),
            (b"protocol\x00other\x00\x00", Invalid::Protocol),
            (b"\x00", Invalid::Protocol),
            (b"protocol\x00mail_queue_list_protocol\x00\x00size\x005\x00\x00", Invalid::Message),
            (b"protocol\x00mail_queue_list_protocol\x00\x00queue_id\x00A\x00size\x00-5\x00\x00", Invalid::Message),
            (b"protocol\x00mail_queue_list_protocol\x00\x00\x00x\x00", Invalid::Trailing),
            (&[b'x'; VALUE_LIMIT + 1], Invalid::Long),
        ] {
            assert_eq!(read(&[bytes]).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(0..LIST.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, LIST.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &LIST[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[LIST]));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = read(&[b"protocol\x00mail_queue_list_protocol\x00\x00", &bytes]);
        }
    }
}
