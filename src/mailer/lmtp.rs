//! Notices straight into the mail store by LMTP (RFC 2033), over a unix socket or TCP.
//!
//! Where the store offers IGNOREQUOTA (draft-murchison-lmtp-ignorequota, as Cyrus does), it is asked to
//! take the notice although the mailbox is full. One connection a message: notices are few. Lines of the
//! server are bounded; what is not LMTP counts as an absent server.

use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use super::{Mail, MailError, Mailer};
use crate::wire::endpoint::Endpoint;

/// The longest reply line that is read (RFC 5321 section 4.5.3.1.5 allows 512).
const LONGEST_LINE: u64 = 2048;
/// The most lines of one reply.
const MOST_LINES: usize = 64;

#[derive(Clone, Debug)]
pub struct LmtpOptions {
    pub server: Endpoint,
    pub hello: String,
    /// For the whole dialog.
    pub timeout: Duration,
}

pub struct LmtpMailer {
    options: LmtpOptions,
}

impl LmtpMailer {
    pub fn new(options: LmtpOptions) -> LmtpMailer {
        LmtpMailer { options }
    }

    async fn deliver(&self, mail: &Mail) -> Result<(), MailError> {
        let away = |error: std::io::Error| MailError::Away(format!("{}: {error}", self.options.server));
        match &self.options.server {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(away)?;
                converse(stream, &self.options.hello, mail).await
            }
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((&**host, *port)).await.map_err(away)?;
                converse(stream, &self.options.hello, mail).await
            }
        }
    }
}

#[async_trait]
impl Mailer for LmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let late = || MailError::Away(format!("{} did not answer in {:?}", self.options.server, self.options.timeout));
        tokio::time::timeout(self.options.timeout, self.deliver(mail)).await.unwrap_or_else(|_| Err(late()))
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, hello: &str, mail: &Mail) -> Result<(), MailError> {
    let mut dialog = Dialog { stream: BufReader::new(stream) };
    dialog.reply().await?.expect_server()?;
    let offered = dialog.ask(&format!("LHLO {hello}")).await?.expect_server()?;
    // Keywords are the same in either case (RFC 5321 section 2.4).
    let named = |line: &str, name: &str| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(name));
    let offers = |name: &str| offered.lines.iter().any(|line| named(line, name));
    let from = mail.from.as_ref().map(ToString::to_string).unwrap_or_default();
    let utf8 = !(from.is_ascii() && mail.to.as_str().is_ascii());
    if utf8 && !offers("SMTPUTF8") {
        return Err(MailError::Refused(format!("{}: the server does not take such addresses", mail.to)));
    }
    let utf8 = if utf8 { " SMTPUTF8" } else { "" };
    // A sender that is refused is refused for all mail, until an admin has mended it.
    dialog.ask(&format!("MAIL FROM:<{from}>{utf8}")).await?.expect_server()?;
    let ignore = if offers("IGNOREQUOTA") { " IGNOREQUOTA" } else { "" };
    dialog.ask(&format!("RCPT TO:<{}>{ignore}", mail.to)).await?.expect()?;
    dialog.ask("DATA").await?.expect_code(3)?;
    dialog.send(&stuffed(&mail.text)).await?;
    dialog.reply().await?.expect()?;
    // The message is theirs; whether they hear the farewell does not matter.
    let _ = dialog.send(b"QUIT\r\n").await;
    Ok(())
}

/// RFC 5321 section 4.5.2, with the end of the data.
fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(text.len() + 16);
    for line in text.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

struct Dialog<S> {
    stream: BufReader<S>,
}

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialog<S> {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), MailError> {
        let stream = self.stream.get_mut();
        let sent = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        sent.await.map_err(|error: std::io::Error| MailError::Away(error.to_string()))
    }

    async fn ask(&mut self, line: &str) -> Result<Reply, MailError> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, MailError> {
        let mut lines = Vec::new();
        while lines.len() < MOST_LINES {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await;
            read.map_err(|error| MailError::Away(error.to_string()))?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..600).contains(code)) else {
                return Err(MailError::Away(format!("`{}` is no reply of an LMTP server", line.escape_debug())));
            };
            let last = !line[3..].starts_with('-');
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if last {
                return Ok(Reply { code, lines });
            }
        }
        Err(MailError::Away(format!("a reply of more than {MOST_LINES} lines")))
    }
}

impl Reply {
    fn told(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }

    fn expect(self) -> Result<Reply, MailError> {
        self.expect_code(2)
    }

    fn expect_code(self, class: u16) -> Result<Reply, MailError> {
        match self.code {
            code if code / 100 == class => Ok(self),
            421 => Err(MailError::Away(self.told())),
            500.. => Err(MailError::Refused(self.told())),
            _ => Err(MailError::Deferred(self.told())),
        }
    }

    /// A server that will not even talk is away, whatever code it says so with.
    fn expect_server(self) -> Result<Reply, MailError> {
        if self.code / 100 == 2 { Ok(self) } else { Err(MailError::Away(self.told())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled() {
        assert_eq!(stuffed(b"a\r\n.b\r\n..\r\nc.d"), b"a\r\n..b\r\n...\r\nc.d\r\n.\r\n");
        assert_eq!(stuffed(b""), b"\r\n.\r\n");
    }

    #[tokio::test]
    async fn what_a_server_offers_counts_in_either_case() {
        let (ours, theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            let mut theirs = BufReader::new(theirs);
            theirs.write_all(b"220 here\r\n").await.unwrap();
            let mut asked = Vec::new();
            for answer in ["250-here\r\n250 ignorequota\r\n", "250 ok\r\n", "250 ok\r\n", "354 go on\r\n", "250 ok\r\n"]
            {
                let mut line = String::new();
                while line.is_empty()
                    || asked.last().is_some_and(|last| last == "DATA\r\n") && !line.ends_with("\r\n.\r\n")
                {
                    theirs.read_line(&mut line).await.unwrap();
                }
                asked.push(line);
                theirs.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let mail =
            Mail { from: None, to: "anna@example.org".parse().unwrap(), text: b"Subject: x\r\n\r\nx\r\n".to_vec() };
        converse(ours, "localhost", &mail).await.unwrap();
        assert_eq!(server.await.unwrap()[2], "RCPT TO:<anna@example.org> IGNOREQUOTA\r\n");
    }
}
