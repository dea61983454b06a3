//! A plain SMTP client that shows what the server said.
#![allow(dead_code, reason = "each test uses another part")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    pub fn connect(port: u16) -> Smtp {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // A server that says nothing for so long has forgotten us.
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        let mut smtp = Smtp { stream: BufReader::new(stream) };
        smtp.expect_reply("220");
        smtp.say("EHLO client.example", "250");
        smtp
    }

    fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            assert!(line.len() >= 4, "the server hung up after {reply:?}");
            reply.push_str(&line);
            if &line[3..4] == " " {
                return reply;
            }
        }
    }

    fn expect_reply(&mut self, code: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(code), "expected {code}, got {reply}");
        reply
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    pub fn say(&mut self, line: &str, code: &str) -> String {
        let reply = self.ask(line);
        assert!(reply.starts_with(code), "{line}: expected {code}, got {reply}");
        reply
    }

    /// Sends a message of about `size` bytes; the reply that decided: to RCPT if that refused, else to the end.
    pub fn send(&mut self, to: &[&str], size: usize) -> String {
        self.say("MAIL FROM:<sender@elsewhere.example>", "250");
        let mut refused = String::new();
        let mut accepted = 0;
        for recipient in to {
            let reply = self.ask(&format!("RCPT TO:<{recipient}>"));
            match reply.starts_with("250") {
                true => accepted += 1,
                false => refused = reply,
            }
        }
        if accepted == 0 {
            self.say("RSET", "250");
            return refused;
        }
        self.say("DATA", "354");
        let mut text = b"From: sender@elsewhere.example\r\nSubject: test\r\n\r\n".to_vec();
        while text.len() < size {
            text.extend_from_slice(b"This line is one of many that make a message long enough to count.\r\n");
        }
        text.extend_from_slice(b".\r\n");
        self.stream.get_mut().write_all(&text).unwrap();
        self.reply()
    }
}
