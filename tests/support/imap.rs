//! A plain IMAP client: commands, literals, and the lines that came back.
#![allow(dead_code, reason = "each test uses another part")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

pub struct Imap {
    stream: BufReader<TcpStream>,
    number: u32,
}

impl Imap {
    pub fn connect(port: u16) -> Imap {
        Imap::try_connect(port).unwrap()
    }

    pub fn try_connect(port: u16) -> io::Result<Imap> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let mut imap = Imap { stream: BufReader::new(stream), number: 0 };
        imap.line()?;
        Ok(imap)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// All lines of the answer, the tagged one last.
    pub fn ask(&mut self, command: &str) -> io::Result<String> {
        self.number += 1;
        let tag = format!("a{}", self.number);
        self.stream.get_mut().write_all(format!("{tag} {command}\r\n").as_bytes())?;
        self.answer(&tag)
    }

    fn answer(&mut self, tag: &str) -> io::Result<String> {
        let mut all = String::new();
        loop {
            let line = self.line()?;
            all.push_str(&line);
            if line.starts_with(&format!("{tag} ")) {
                return Ok(all);
            }
        }
    }

    pub fn ok(&mut self, command: &str) -> String {
        let answer = self.ask(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        let last = answer.lines().last().unwrap_or_default().to_owned();
        assert!(last.contains(" OK"), "{command}: {answer}");
        answer
    }

    /// The tagged answer to APPEND.
    pub fn append(&mut self, folder: &str, message: &[u8]) -> io::Result<String> {
        self.number += 1;
        let tag = format!("a{}", self.number);
        let head = format!("{tag} APPEND {folder} {{{}+}}\r\n", message.len());
        let mut all = head.into_bytes();
        all.extend_from_slice(message);
        all.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&all)?;
        self.answer(&tag)
    }
}

/// A message of exactly `size` bytes with CRLFs.
pub fn message(size: usize) -> Vec<u8> {
    let mut text = b"From: sender@elsewhere.example\r\nSubject: test\r\n\r\n".to_vec();
    assert!(text.len() + 2 <= size);
    while text.len() < size {
        let left = size - text.len();
        let line = if left >= 82 || left == 80 { 80 } else { left };
        text.resize(text.len() + line.saturating_sub(2), b'x');
        text.extend_from_slice(&b"\r\n"[2 - line.min(2)..]);
    }
    text
}
