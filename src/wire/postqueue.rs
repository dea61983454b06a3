//! A line of `postqueue -j` (Postfix 3.1 and later): one JSON object for each message, with `queue_id`,
//! `arrival_time`, `message_size`, `sender` and `recipients`, each of which has an `address`. Members that are not
//! known are passed over, as postqueue(1) asks for.
//!
//! Known bug: Postfix 3.1 to 3.8 loses what stands before a control character in a text.

use std::borrow::Cow;

use serde::Deserialize;

use super::listed::Listed;

/// The longest line, in bytes: some ten thousand recipients, each with the reason why it was deferred.
pub const LINE_LIMIT: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
#[error("not a line of postqueue -j: {0}")]
pub struct NotALine(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    queue_id: Cow<'a, str>,
    arrival_time: u64,
    message_size: u64,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow, default)]
    recipients: Vec<Recipient<'a>>,
}

#[derive(Deserialize)]
struct Recipient<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
}

/// Reads a line into `message`.
pub fn read(line: &[u8], message: &mut Listed) -> Result<(), NotALine> {
    message.clear();
    // Postfix passes bytes of addresses on as they are.
    let text = String::from_utf8_lossy(line);
    let line: Line = serde_json::from_str(&text)?;
    message.id.push_str(&line.queue_id);
    (message.arrival, message.size) = (line.arrival_time, line.message_size);
    message.set_sender(&line.sender);
    line.recipients.iter().for_each(|recipient| message.add_recipient(&recipient.address));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_refused() {
        let mut message = Listed::default();
        let line = br#"{"queue_name": "deferred", "queue_id": "4AB", "arrival_time": 1795300000, "message_size": 348,
            "forced_expire": false, "sender": "MAILER-DAEMON", "recipients": [{"address": "b@y", "delay_reason":
            "said: \"no\" \u0001"}, {"address": "\"c d\"@z", "orig_address": "x@z"}], "later": [1, {}]}"#;
        read(line, &mut message).unwrap();
        assert_eq!((&*message.id, message.arrival, message.size, message.sender()), ("4AB", 1795300000, 348, ""));
        assert_eq!(message.recipients().collect::<Vec<_>>(), ["b@y", "c d@z"]);
        read(b"{\"queue_id\":\"5\",\"arrival_time\":1,\"message_size\":2,\"sender\":\"\xe9@x\"}", &mut message)
            .unwrap();
        assert_eq!((message.sender(), message.recipients().count()), ("\u{fffd}@x", 0));
        for bad in [&b""[..], b"Mail queue is empty", b"{\"queue_id\": 5}", b"[]"] {
            let said = read(bad, &mut message).unwrap_err().to_string();
            assert!(said.starts_with("not a line of postqueue -j: "), "{said}");
        }
    }
}
