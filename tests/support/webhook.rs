//! The other end of a webhook.
#![allow(dead_code, reason = "each test uses another part")]

use std::io::{Read, Write};

/// Reads a request, which ends with its JSON object, and answers it; what was in it. Nothing of who goes away before.
pub fn answer(stream: &mut (impl Read + Write), status: &str) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 => request.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    let _ = stream.flush();
    Some(String::from_utf8(request).unwrap())
}

/// What a request carries.
pub fn body(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}
