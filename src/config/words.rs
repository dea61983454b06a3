//! How the values of single keys are read. Each function returns the value, or what is wrong and what is
//! accepted.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::quota::Units;
use crate::quota::verdict::Allowance;

type Parsed<T> = Result<T, String>;

/// Where to listen: `host:port`, or `unix:` and an absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(super) fn endpoint(text: &str) -> Parsed<Endpoint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return absolute(path).map(Endpoint::Unix);
    }
    let accepted = || format!("`{text}` is no endpoint; accepted: host:port, or unix: and an absolute path");
    let (host, port) = text.rsplit_once(':').ok_or_else(accepted)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains(char::is_whitespace) || (host.contains(':') && !bracketed) {
        return Err(accepted());
    }
    port.parse::<u16>().map_err(|_| accepted())?;
    Ok(Endpoint::Tcp(text.to_owned()))
}

pub(super) fn absolute(text: &str) -> Parsed<PathBuf> {
    match text.starts_with('/') && !text.contains('\0') {
        true => Ok(PathBuf::from(text)),
        false => Err(format!("`{text}` is no absolute path; accepted: a path that begins with /")),
    }
}

pub(super) fn any(text: &str) -> Parsed<String> {
    match text.is_empty() || text.contains(['\0', '\n', '\r']) {
        true => Err("is empty or holds a control character; accepted: a text of one line".into()),
        false => Ok(text.to_owned()),
    }
}

/// `90s`, `15m`, `120h`, `7d`; `250ms` where that makes sense.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let accepted =
        || format!("`{text}` is no duration; accepted: a number and ms, s, m, h or d, as in 90s, 15m, 120h, 7d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| accepted())?;
    let millis = match &text[end..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(accepted()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(accepted)
}

/// A duration that is not nothing.
pub(super) fn delay(text: &str) -> Parsed<Duration> {
    let delay = duration(text)?;
    match delay.is_zero() {
        true => Err(format!("`{text}` is no time at all; accepted: at least 1ms")),
        false => Ok(delay),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("`{text}` is not accepted; accepted: {}", words.join(", "))
        })
    }
}

/// Bytes; `-1` is no limit. Nothing at all would refuse every message, so it is taken for a mistake.
pub(super) fn maximum(units: Units) -> impl Fn(&str) -> Parsed<Option<u64>> {
    move |text| match (text, units.parse(text)) {
        ("-1", _) => Ok(None),
        (_, Ok(0)) => Err("`0` would refuse every message; accepted: a size as in 50M, or -1 for no limit".into()),
        (_, Ok(bytes)) => Ok(Some(bytes)),
        (_, Err(error)) => Err(format!("`{text}`, at character {}: {}", error.at + 1, error.fault)),
    }
}

/// A plain number is refused: it is more often a forgotten percent sign than a count of bytes.
pub(super) fn allowance(units: Units) -> impl Fn(&str) -> Parsed<Allowance> {
    move |text| {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let allowance = match (text, text.strip_suffix('%')) {
            ("none", _) => Some(Allowance::None),
            ("one-message", _) => Some(Allowance::OneMessage),
            (_, Some(percent)) if digits(percent) => percent.parse().ok().map(Allowance::Percent),
            _ if digits(text) => None,
            _ => units.parse(text).ok().map(Allowance::Bytes),
        };
        let wrong =
            || format!("`{text}` is no allowance; accepted: none, one-message, a part as in 10%, a size as in 50M");
        allowance.ok_or_else(wrong)
    }
}

/// The rights of a socket, in octal.
pub(super) fn mode(text: &str) -> Parsed<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| (0o600..=0o777).contains(mode) && text.len() <= 4);
    mode.ok_or_else(|| format!("`{text}` is no mode that leaves the socket usable; accepted: octal from 0600 to 0777"))
}

/// The name of a group; whether it exists is seen when the socket is made.
pub(super) fn group(text: &str) -> Parsed<String> {
    let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is no name of a group; accepted: a name as in postfix"))
}

/// An LDAP filter: only that its brackets pair up; the server says the rest.
pub(super) fn filter(text: &str) -> Parsed<String> {
    let mut depth = 0usize;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => match depth.checked_sub(1) {
                Some(left) => depth = left,
                None => return Err(format!("`{text}` closes a bracket too many at character {}", index + 1)),
            },
            _ if depth == 0 => {
                return Err(format!("`{text}` is no filter; accepted: as in (objectClass=inetMailUser)"));
            }
            _ => {}
        }
    }
    match depth == 0 && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` does not close its brackets; accepted: as in (objectClass=inetMailUser)")),
    }
}

/// The name of an LDAP attribute (RFC 4512 section 1.4), options included.
pub(super) fn attribute(text: &str) -> Parsed<String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-;.".contains(&b));
    let fits = letters && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no attribute; accepted: a name as in mailQuota"))
}

pub(super) fn ldap_url(text: &str) -> Parsed<String> {
    let known = ["ldap://", "ldaps://", "ldapi://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    });
    known.then(|| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is no address of a server; accepted: ldap://, ldaps:// or ldapi:// and a host")
    })
}

/// A Content-Type, whole or with any subtype: `audio/*`. In lower case, as types are compared.
pub(super) fn content_type(text: &str) -> Parsed<String> {
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let fits = text.split_once('/').is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)));
    let wrong = || format!("`{text}` is no content type; accepted: as in multipart/voice-message or audio/*");
    fits.then(|| text.to_ascii_lowercase()).ok_or_else(wrong)
}

/// The place of a mailbox: `%u` the address, `%n` its local part, `%d` its domain, `%{attribute}` a directory
/// attribute, `%%` a percent sign. Whatever else follows a `%` is refused rather than taken literally: in
/// Dovecot it would be a modifier that mailquotad does not know.
pub(super) fn template(text: &str) -> Parsed<String> {
    absolute(text)?;
    template_attributes(text)?;
    Ok(text.to_owned())
}

/// The directory attributes that a template names.
pub(super) fn template_attributes(text: &str) -> Parsed<Vec<String>> {
    let wrong = |at: &str| {
        format!(
            "`%{at}` is not known in a path; accepted: %u (address), %n (local part), %d (domain), %{{attribute}}, %%"
        )
    };
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        rest = match after.chars().next() {
            Some('u' | 'n' | 'd' | '%') => &after[1..],
            Some('{') => {
                let (name, rest) = after[1..].split_once('}').ok_or_else(|| wrong("{"))?;
                names.push(attribute(name)?);
                rest
            }
            other => return Err(wrong(&other.map_or(String::new(), String::from))),
        };
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(text).map(|d| d.as_secs());
        assert_eq!([seconds("90s"), seconds("15m"), seconds("120h")], [Ok(90), Ok(900), Ok(432_000)]);
        assert_eq!([seconds("7d"), seconds("0s"), seconds("2500ms")], [Ok(604_800), Ok(0), Ok(2)]);
        for bad in
            ["", "5", "h", "-1s", "1.5h", "1h30m", "5 s", "5S", "999999999999999999d", "99999999999999999999s", "５s"]
        {
            assert!(duration(bad).unwrap_err().contains("accepted: a number and ms, s, m, h or d"), "{bad}");
        }
        assert!(delay("0m").is_err());
    }

    #[test]
    fn endpoints() {
        for good in ["127.0.0.1:12340", "[::1]:0", "localhost:25", "unix:/run/x.sock"] {
            assert_eq!(endpoint(good).unwrap().to_string(), good);
        }
        for bad in ["", "12340", ":25", "::1:25", "a b:25", "host:", "host:65536", "unix:", "unix:run/x", "unix"] {
            assert!(endpoint(bad).unwrap_err().contains("accepted: "), "{bad}");
        }
    }

    #[test]
    fn allowances() {
        let read = allowance(Units::Binary);
        assert_eq!(read("none"), Ok(Allowance::None));
        assert_eq!(read("one-message"), Ok(Allowance::OneMessage));
        assert_eq!(read("10%"), Ok(Allowance::Percent(10)));
        assert_eq!(read("50M"), Ok(Allowance::Bytes(50 << 20)));
        for bad in ["", "%", "10", "-1", "-5%", "10 %", "10%%", "99999999999%", "some"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates() {
        assert_eq!(template_attributes("/var/mail/%d/%n/%%/%{mailHost}/%u"), Ok(vec!["mailHost".into()]));
        for bad in ["mail/%d", "/mail/%Ld", "/mail/%", "/mail/%{", "/mail/%{}", "/mail/%{a b}", "/mail/%é"] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_attributes_types_and_modes() {
        assert!(filter("(&(objectClass=inetMailUser)(mail=*))").is_ok());
        for bad in ["", "objectClass=x", "(a=b", "(a=b))", "(a=b)c"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
        assert!(attribute("mailQuota;x-1").is_ok() && attribute("").is_err() && attribute("a b").is_err());
        assert_eq!(content_type("Audio/*"), Ok("audio/*".into()));
        for bad in ["voice", "*/*", "a/", "/b", "a/b; c=d"] {
            assert!(content_type(bad).is_err(), "{bad}");
        }
        assert_eq!((mode("0660"), mode("666")), (Ok(0o660), Ok(0o666)));
        for bad in ["", "0", "0999", "01777", "rw", "00000660"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!((maximum(Units::Binary)("50M"), maximum(Units::Binary)("-1")), (Ok(Some(50 << 20)), Ok(None)));
        assert!(maximum(Units::Binary)("0").is_err() && maximum(Units::Binary)("1X").is_err());
    }
}
