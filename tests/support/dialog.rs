//! Plays dialog files against a server: what a client sends, and what it must hear.
//!
//! | line | means |
//! |---|---|
//! | `# text` | a remark; empty lines are for the eye only |
//! | `-> text` | send the text and a line feed; `->` alone sends an empty line |
//! | `<- text` | the next line that comes must be the text; with `...` at its end, must begin with it |
//! | `-- half a line: text` | send the text without a line feed |
//! | `-- repeat N: text` | send the text N times, without a line feed |
//! | `-- hang up` | close our sending side |
//! | `-- closed` | the server must close the connection, and send nothing more before it does |
//! | `-- connect` | go on with a new connection |
//!
//! In what is sent, `\r`, `\n`, `\\` and `\xNN` stand for the bytes that they stand for elsewhere. Lines to send are
//! gathered and sent in one piece before the next line that is no sending: so requests that follow one another
//! are pipelined. A dialog must have heard everything: bytes left over at its end are an error.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

use mailquotad::service::socket::Stream;
use mailquotad::wire::endpoint::Endpoint;

/// A server that has said nothing for so long will say nothing more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Plays the file. The error names file and line, what was to come and what came.
pub fn play(file: &Path, server: &Endpoint) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut client = Client::connect(server)?;
    let mut heard = 0;
    let mut numbers = 0;
    for (number, line) in (1..).zip(text.lines()) {
        numbers = number;
        let step = client.step(line.trim_end_matches(' '), server, &mut heard);
        step.map_err(|error| format!("{}:{number}: {error}", file.display()))?;
    }
    match (heard, client.closed()) {
        (0, _) => Err(format!("{}: the dialog hears nothing, so it cannot fail", file.display())),
        (_, end) => end.map_err(|error| format!("{}:{numbers}: at the end: {error}", file.display())),
    }
}

struct Client {
    reader: BufReader<Owned>,
    unsent: Vec<u8>,
}

/// `Stream` reads through a shared reference; a BufReader wants to own what it reads from.
struct Owned(Stream);

impl Read for Owned {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Client {
    fn connect(server: &Endpoint) -> Result<Client, String> {
        let stream = Stream::connect(server).map_err(|error| format!("cannot connect to {server}: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        Ok(Client { reader: BufReader::new(Owned(stream)), unsent: Vec::new() })
    }

    fn step(&mut self, line: &str, server: &Endpoint, heard: &mut usize) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(text) = operand(line, "->") {
            self.unsent.extend(unescape(text)?);
            self.unsent.push(b'\n');
            return Ok(());
        }
        if let Some(text) = line.strip_prefix("-- half a line: ") {
            self.unsent.extend(unescape(text)?);
            return Ok(());
        }
        if let Some((times, text)) = line.strip_prefix("-- repeat ").and_then(|rest| rest.split_once(": ")) {
            let times = times.parse().map_err(|_| format!("`{times}` is not a number"))?;
            self.unsent.extend(unescape(text)?.repeat(times));
            return Ok(());
        }
        self.send();
        *heard += 1;
        match line {
            "-- hang up" => {
                *heard -= 1;
                self.reader.get_ref().0.shutdown(Shutdown::Write).map_err(|error| error.to_string())
            }
            "-- closed" => self.at_end(),
            "-- connect" => {
                *heard -= 1;
                *self = Client::connect(server)?;
                Ok(())
            }
            _ => match operand(line, "<-") {
                Some(text) => self.hear(text),
                None => Err(format!("`{line}` is no step of a dialog")),
            },
        }
    }

    /// What a server that has hung up did not take shows in what it says.
    fn send(&mut self) {
        let _ = (&self.reader.get_ref().0).write_all(&self.unsent);
        self.unsent.clear();
    }

    fn hear(&mut self, expected: &str) -> Result<(), String> {
        let mut line = Vec::new();
        let count = self.reader.read_until(b'\n', &mut line);
        let line = String::from_utf8_lossy(&line);
        match (count, line.strip_suffix('\n')) {
            (Err(error), _) => Err(format!("expected `{expected}`, heard `{line}` and then: {error}")),
            (Ok(0), _) => Err(format!("expected `{expected}`, but the server hung up")),
            (Ok(_), None) => Err(format!("expected `{expected}`, but the server hung up after `{line}`")),
            (Ok(_), Some(line)) => {
                let same = expected.strip_suffix("...").map_or(line == expected, |start| line.starts_with(start));
                if same { Ok(()) } else { Err(format!("expected `{expected}`, heard `{line}`")) }
            }
        }
    }

    /// At the end of the dialog: we hang up, and then the server must have nothing more to say.
    fn closed(mut self) -> Result<(), String> {
        self.send();
        let _ = self.reader.get_ref().0.shutdown(Shutdown::Write);
        self.at_end()
    }

    fn at_end(&mut self) -> Result<(), String> {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            // The server hung up before it had read all that we sent.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(format!("expected the server to hang up: {error}")),
            Ok(_) => {}
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(format!("expected nothing more, heard `{}`", String::from_utf8_lossy(&rest).escape_debug())),
        }
    }
}

fn operand<'a>(line: &'a str, sign: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(sign)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend(plain.bytes());
        let (byte, length) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', _, _, ..] => {
                let digits = escape.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (digits.ok_or_else(|| format!("`\\{escape}` is no byte"))?, 3)
            }
            _ => return Err(format!("`\\{escape}` is no escape")),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend(rest.bytes());
    Ok(bytes)
}
