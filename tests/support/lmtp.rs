//! Hands messages to an LMTP server, as an MTA does.
#![allow(dead_code, reason = "each test uses another part")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

/// One message to one recipient; an error is a server that has gone away or that has refused.
pub fn deliver(port: u16, to: &str, text: &[u8]) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    let mut say = |line: &[u8], code: &str| {
        stream.get_mut().write_all(line)?;
        let mut answer = String::new();
        while answer.lines().last().is_none_or(|line| line.as_bytes().get(3) != Some(&b' ')) {
            if stream.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        match answer.starts_with(code) {
            true => Ok(()),
            false => {
                Err(io::Error::other(format!("{}: {answer}", String::from_utf8_lossy(&line[..line.len().min(60)]))))
            }
        }
    };
    say(b"", "220")?;
    say(b"LHLO mx.example.test\r\n", "250")?;
    say(b"MAIL FROM:<sender@elsewhere.example>\r\n", "250")?;
    say(format!("RCPT TO:<{to}>\r\n").as_bytes(), "250")?;
    say(b"DATA\r\n", "354")?;
    say(&[text, b".\r\n"].concat(), "250")?;
    say(b"QUIT\r\n", "221")
}
