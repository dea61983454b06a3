//! The API over its unix socket, on a connection that stays open: for tests that ask often.
#![allow(dead_code, reason = "each test uses another part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

pub struct Api(BufReader<UnixStream>);

impl Api {
    pub fn connect(socket: &Path) -> Api {
        Api(BufReader::new(UnixStream::connect(socket).unwrap()))
    }

    pub fn get(&mut self, path: &str) -> Value {
        let request = format!("GET {path} HTTP/1.1\r\nHost: mailquotad\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            chunked |= line.strip_prefix("transfer-encoding:").is_some_and(|value| value.trim() == "chunked");
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        while chunked {
            let size = usize::from_str_radix(&self.line(), 16).unwrap();
            let begin = body.len();
            body.resize(begin + size, 0);
            self.0.read_exact(&mut body[begin..]).unwrap();
            self.line();
            chunked = size > 0;
        }
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the daemon hung up");
        line.truncate(line.trim_end().len());
        line
    }

    /// What each folder of an account holds: bytes and messages.
    pub fn cells(&mut self, account: &str) -> BTreeMap<String, (u64, u64)> {
        let report = self.get(&format!("/v1/check?user={account}&folders=true"));
        let folders = report["folders"].as_array().into_iter().flatten();
        let number = |value: &Value| value.as_u64().unwrap();
        let cell = |folder: &Value| {
            let used = &folder["used"];
            (folder["folder"].as_str().unwrap().to_owned(), (number(&used["bytes"]), number(&used["messages"])))
        };
        folders.map(cell).collect()
    }

    pub fn cell(&mut self, account: &str, folder: &str) -> (u64, u64) {
        self.cells(account).get(folder).copied().unwrap_or_default()
    }
}
