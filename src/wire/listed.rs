//! One message of an MTA's queue, as [`super::showq`] and [`super::postqueue`] show it.

/// The null sender, as Postfix shows it (`empty_address_recipient`).
const NULL_SENDER: &str = "MAILER-DAEMON";

/// Between recipients; no address holds it.
const BETWEEN: char = '\0';

/// A message in the queue. Made once and filled again and again: nothing is allocated for each message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    /// Seconds since 1970.
    pub arrival: u64,
    /// Bytes, with the headers that the MTA has added.
    pub size: u64,
    sender: String,
    /// Those that have not been served yet, each with [`BETWEEN`] behind it.
    recipients: String,
}

impl Listed {
    pub(super) fn clear(&mut self) {
        self.id.clear();
        self.sender.clear();
        self.recipients.clear();
        (self.arrival, self.size) = (0, 0);
    }

    pub(super) fn set_sender(&mut self, shown: &str) {
        self.sender.clear();
        if shown != NULL_SENDER {
            unquote(shown, &mut self.sender);
        }
    }

    pub(super) fn add_recipient(&mut self, shown: &str) {
        unquote(shown, &mut self.recipients);
        self.recipients.push(BETWEEN);
    }

    /// Empty for a bounce.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    pub fn recipients(&self) -> impl Iterator<Item = &str> + Clone {
        self.recipients.split_terminator(BETWEEN)
    }

    /// All recipients as one text, to tell one list of them from another.
    pub fn recipients_text(&self) -> &str {
        &self.recipients
    }

    pub fn make_lowercase(&mut self) {
        self.sender.make_ascii_lowercase();
        self.recipients.make_ascii_lowercase();
    }
}

/// `"a b"@example.org` is shown for what the policy protocol calls `a b@example.org` (RFC 5321 section 4.1.2).
fn unquote(shown: &str, out: &mut String) {
    let keep = |c: &char| *c != BETWEEN;
    let quoted = shown.strip_prefix('"').and_then(|rest| rest.rsplit_once("\"@"));
    let Some((local, domain)) = quoted else {
        return out.extend(shown.chars().filter(keep));
    };
    let mut escaped = false;
    for c in local.chars().filter(keep) {
        escaped = c == '\\' && !escaped;
        if !escaped {
            out.push(c);
        }
    }
    out.push('@');
    out.extend(domain.chars().filter(keep));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_in_the_policy_protocol() {
        let mut listed = Listed::default();
        listed.set_sender("MAILER-DAEMON");
        assert_eq!(listed.sender(), "");
        listed.set_sender("\"a b\\\"c\\\\\"@Example.org");
        assert_eq!(listed.sender(), "a b\"c\\@Example.org");
        listed.add_recipient("x@y");
        listed.add_recipient("evil\0z@y");
        listed.make_lowercase();
        assert_eq!(listed.recipients().collect::<Vec<_>>(), ["x@y", "evilz@y"]);
        assert_eq!(listed.sender(), "a b\"c\\@example.org");
    }
}
