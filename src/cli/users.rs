//! Numbers of the system's groups and users. They are looked for in `/etc/group` and `/etc/passwd` only: one that a
//! directory serves over the network must be given by its number, for at the start of a mail host that directory may
//! not answer yet.

use anyhow::{Context, Result};

/// The number of a group, from its name or as a number.
pub fn group(name: &str) -> Result<u32> {
    number("/etc/group", name).with_context(|| format!("the group `{name}`"))
}

/// The number of a user, from its name or as a number.
pub fn user(name: &str) -> Result<u32> {
    number("/etc/passwd", name).with_context(|| format!("the user `{name}`"))
}

fn number(file: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let number = |line: &str| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        fields.nth(1).filter(|_| found)?.parse().ok()
    };
    text.lines().find_map(number).with_context(|| format!("is not in {file}; accepted: a name from there, or a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_this_machine_and_numbers_anybodys() {
        assert_eq!((group("root").unwrap(), user("root").unwrap()), (0, 0));
        assert_eq!((group("117").unwrap(), user("4242").unwrap()), (117, 4242));
        assert!(group("").is_err());
        let said = format!("{:#}", user("no-such-user").unwrap_err());
        assert_eq!(said, "the user `no-such-user`: is not in /etc/passwd; accepted: a name from there, or a number");
    }
}
